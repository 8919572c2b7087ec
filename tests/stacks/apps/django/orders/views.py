from django.contrib.auth.decorators import login_required
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from .models import Order


def home(request):
    mine = Order.objects.filter(buyer=request.user.pk).order_by("-pk")[:10]
    return render(request, "home.html", {"orders": mine})


@login_required
@require_POST
def order(request):
    Order.objects.create(buyer=request.user, item=request.POST["item"])
    return redirect("home")
