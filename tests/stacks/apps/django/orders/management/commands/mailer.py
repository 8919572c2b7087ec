"""Mails a confirmation of every order, one mailer at a time: python manage.py mailer"""

import signal
import sys
import time

from django.core.management.base import BaseCommand
from django.db import connection, transaction
from django.db.models.functions import Now

from orders.models import Mailer, Order

ONE_AT_A_TIME = 4711  # the number of the lock in the database


class Command(BaseCommand):
    def handle(self, *args, **options):
        self.over = False
        signal.signal(signal.SIGTERM, self.stop)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [ONE_AT_A_TIME])
            alone = cursor.fetchone()[0]
        run = Mailer.objects.create(refused=not alone)
        if not alone:
            sys.exit("another mailer is at it")
        while not self.over:
            Mailer.objects.filter(pk=run.pk).update(last=Now())
            if not self.mail_one():
                time.sleep(0.2)

    def stop(self, *_):
        self.over = True

    @transaction.atomic
    def mail_one(self):
        order = Order.objects.select_for_update().filter(mails=0).order_by("pk").first()
        if order is None:
            return False
        print(f"mail about {order.item} to {order.buyer.username}", flush=True)
        order.mails += 1
        order.save(update_fields=["mails"])
        return True
