class OrdersController < ApplicationController
  def index
    @orders = Order.where(buyer: buyer).order(id: :desc).limit(5)
  end

  def create
    return redirect_to root_path if buyer.nil?

    order = Order.create!(buyer: buyer, item: params.require(:item))
    ActionCable.server.broadcast("orders", { ordered: order.item })
    redirect_to root_path
  end

  def bill
    send_file Order.where(buyer: buyer).find(params[:id]).bill, disposition: :inline, type: "text/plain"
  end
end
