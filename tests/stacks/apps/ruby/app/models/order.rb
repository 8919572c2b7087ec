class Order < ApplicationRecord
  before_create { self.release = ENV["RELCTL_RELEASE"] }

  def bill
    Rails.root.join("storage", "bill-#{id}.txt")
  end
end
