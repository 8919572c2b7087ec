"""packaging/doc/django.md, followed word for word: Django, gunicorn, PostgreSQL, and a mailer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.stacks import supplies
from tests.stacks.postgres import rows
from tests.stacks.story import Stack, Story
from tests.stacks.told import Bug, Told, tell
from tests.vm import machine, roots

pytestmark = pytest.mark.timeout(900)

DJANGO = Stack("django", lambda suite: [supplies.wheels("django", suite)])
USERS = """\
from django.contrib.auth.models import User
for name in ("buyer", "regular"):
    User.objects.create_user(name, password="correct horse battery staple")
"""
BUG = Bug("orders/views.py", "    return redirect(", "    return redirected(")


@pytest.fixture(scope="module", params=roots.SUITES)
def told(
    request: pytest.FixtureRequest, deb: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Told]:
    with Story(DJANGO, request.param, deb, tmp_path_factory.mktemp("laptop")) as story:

        def people() -> None:
            story.box.write("/tmp/users.py", USERS)
            story.box.sh("relctl run -- .venv/bin/python manage.py shell < /tmp/users.py")

        yield tell(story, BUG, people=people)


def test_no_request_of_any_visitor_is_lost(told: Told):
    told.nothing_is_lost()


def test_nothing_of_the_how_to_is_left_out(told: Told):
    told.all_is_told()


def test_the_bad_release_went_back_by_itself_and_said_why(told: Told):
    told.the_bad_one_went_back()


def test_a_column_comes_before_the_release_that_wants_it_and_goes_after_all_that_knew_it(
    told: Told,
):
    at = dict(rows(told.story, "name, applied FROM django_migrations WHERE app = 'orders'"))
    first = dict(rows(told.story, "release, min(ordered) FROM orders_order GROUP BY release"))
    last = dict(rows(told.story, "release, max(ordered) FROM orders_order GROUP BY release"))
    assert first["v2"] < at["0002_order_email"] < first["v3"]
    # v2 had it all once more after the rollback, with the new column there.
    assert at["0002_order_email"] < last["v2"] < at["0003_no_fax"] < first["v5"]


def test_after_the_second_half_there_is_no_way_back_before_it(told: Told):
    told.no_way_back()


def test_no_two_mailers_are_ever_at_it_and_each_order_is_mailed_once(told: Told):
    runs = rows(told.story, "release, began, last, refused FROM orders_mailer ORDER BY id")
    assert [run for run in runs if run[3]] == []
    ended = [datetime.fromisoformat(run[2]) for run in runs]
    began = [datetime.fromisoformat(run[1]) for run in runs]
    assert all(end <= start for end, start in zip(ended, began[1:], strict=False))
    assert [run[0] for run in runs] == ["v1", "v2", "v3", "v2", "v3", "v5"]
    machine.until(
        "the last mails",
        lambda: rows(told.story, "mails, count(*) FROM orders_order GROUP BY mails")[0][0] == 1,
    )
    assert len(rows(told.story, "mails, count(*) FROM orders_order GROUP BY mails")) == 1
