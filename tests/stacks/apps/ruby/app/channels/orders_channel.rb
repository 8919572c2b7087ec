class OrdersChannel < ApplicationCable::Channel
  def subscribed
    stream_from "orders"
  end

  # How many this buyer has, and who counted.
  def count(asked)
    orders = Order.where(buyer: buyer).count
    transmit({ number: asked["number"], orders: orders, release: ENV["RELCTL_RELEASE"] })
  end
end
