# Serves what was ordered, one kitchen at a time: bin/rails kitchen
class Kitchen < ApplicationRecord
  LOCK = 4711

  def self.open
    alone = connection.select_value("SELECT pg_try_advisory_lock(#{LOCK})")
    kitchen = create!(release: ENV["RELCTL_RELEASE"], refused: !alone)
    abort "another kitchen is at it" unless alone

    over = false
    trap("TERM") { over = true }
    until over
      where(id: kitchen.id).update_all("last = clock_timestamp()")
      sleep 0.2 unless kitchen.serve_one
    end
  end

  def serve_one
    Order.transaction do
      order = Order.where(served: 0).order(:id).lock.first or return false
      order.bill.write("#{order.item} for #{order.buyer}, served by #{release}\n")
      order.increment!(:served)
    end
    true
  end
end
