Rails.application.routes.draw do
  root "orders#index"
  resource :session, only: [:create, :destroy]
  resources :orders, only: [:create] do
    get :bill, on: :member
  end
end
