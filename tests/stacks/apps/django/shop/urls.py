from django.urls import include, path

from orders import views

urlpatterns = [
    path("", views.home, name="home"),
    path("order", views.order, name="order"),
    path("accounts/", include("django.contrib.auth.urls")),
]
