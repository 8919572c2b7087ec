import os

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


def release():
    return os.environ.get("RELCTL_RELEASE", "")


class Order(models.Model):
    buyer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    item = models.CharField(max_length=100)
    fax = models.CharField(max_length=30, null=True)
    release = models.CharField(max_length=64, default=release)
    ordered = models.DateTimeField(db_default=Now())
    mails = models.IntegerField(default=0)


class Mailer(models.Model):
    """A run of the mailer, by the database's clock; `refused`: another one was at it."""

    release = models.CharField(max_length=64, default=release)
    began = models.DateTimeField(db_default=Now())
    last = models.DateTimeField(db_default=Now())
    refused = models.BooleanField(default=False)
