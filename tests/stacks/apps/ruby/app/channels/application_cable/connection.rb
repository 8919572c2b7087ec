module ApplicationCable
  class Connection < ActionCable::Connection::Base
    identified_by :buyer

    def connect
      self.buyer = request.session[:buyer] || reject_unauthorized_connection
    end
  end
end
