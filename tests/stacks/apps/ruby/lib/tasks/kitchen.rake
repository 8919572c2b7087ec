desc "Serves what was ordered"
task kitchen: :environment do
  Kitchen.open
end
