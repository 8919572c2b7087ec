class SessionsController < ApplicationController
  def create
    reset_session
    session[:buyer] = params.require(:buyer)
    redirect_to root_path
  end

  def destroy
    reset_session
    redirect_to root_path
  end
end
