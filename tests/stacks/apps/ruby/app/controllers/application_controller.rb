class ApplicationController < ActionController::Base
  helper_method :buyer

  private

  def buyer
    session[:buyer]
  end
end
