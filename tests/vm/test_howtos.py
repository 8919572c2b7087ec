"""The how-tos that share one small app, typed as they stand, one after the other, on one machine."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stacks.howto import DOCS, HowTo
from tests.vm import roots
from tests.vm.box import Box
from tests.vm.howtos import Machine

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=roots.SUITES)
def vm(request: pytest.FixtureRequest, deb: Path) -> Iterator[Machine]:
    with Box([roots.build(roots.server(request.param))]) as box:
        box.boot()
        machine = Machine(box, deb)
        yield machine
        for title, seconds in machine.took.items():
            print(f"{seconds:5.1f} s  {title}")


def met(vm: Machine) -> dict[str, int]:
    """What the visitors met so far; they go on with nothing of it."""
    found: dict[str, int] = ast.literal_eval(vm.type("tail -n 1 ~/visitors.log"))
    return found


def live(vm: Machine, app: str = "guestbook") -> str:
    return str(json.loads(vm.type(f"relctl --app {app} status --json"))["release"])


def test_from_an_app_that_was_started_by_hand_to_a_release_that_was_rolled_back_and_why(
    vm: Machine,
):
    told = HowTo(DOCS / "first-app.md")
    vm.follow(told, "The app as it is")
    vm.follow(told, "A place for releases")
    assert "external" in vm.follow(told, "relctl")
    assert "rollout 1  done" in vm.follow(told, "The first switch")
    assert "rollout 2  done" in vm.follow(told, "A release")
    bad = vm.follow(told, "A bad release, and why it was rolled back")
    assert "it ended with 3" in bad
    assert "going back to v2: v3 failed" in bad
    assert "all on POST" in bad
    shown = bad.partition("it ended with 3")[2]
    assert re.search(r"error +KeyError: 'nmae' \(traceback, \d deep\)", shown)
    assert "rolled back" in shown
    assert "rollout 4  done" in bad
    vm.follow(told, "And if it is found out later")
    assert told.untold == []
    assert live(vm) == "v2"
    answers = met(vm)
    assert {f"200 by {who}" for who in ("none", "v1", "v2", "v4")} <= set(answers), answers
    assert set(answers) <= {"500 by v3", *(f"200 by {w}" for w in ("none", "v1", "v2", "v3", "v4"))}
    assert answers["500 by v3"] < 100, answers


def test_a_column_is_renamed_under_two_releases_and_no_visitor_notices(vm: Machine):
    told = HowTo(DOCS / "migrations.md")
    vm.follow(told, "")
    vm.follow(told, "The two halves")
    assert "rollout 6  done" in vm.follow(told, "The first half")
    there_and_back = vm.follow(told, "There and back")
    assert "v5 → v2" in there_and_back
    assert "v2 → v5" in there_and_back
    said = vm.follow(told, "The second half")
    assert "it ended with" in said
    assert told.untold == []
    assert live(vm) == "v5"
    assert set(met(vm)) == {"200 by v2", "200 by v5"}
    columns = "import sqlite3; print(sqlite3.connect('/srv/guestbook/guestbook.db').execute("
    columns += "\"SELECT group_concat(name) FROM pragma_table_info('entries')\").fetchone()[0])"
    assert vm.box.run("/usr/bin/python3", "-c", columns).stdout.strip() == "id,guest"


def test_users_are_moved_once_and_a_session_outside_of_the_process_stays(vm: Machine):
    told = HowTo(DOCS / "sessions.md")
    memory = vm.follow(told, "A session in memory")
    outside = vm.follow(told, "A session that stays")
    assert told.untold == []
    assert live(vm) == "v9"
    for said, least, most in ((memory, 10, 20), (outside, 0, 0)):
        users = ast.literal_eval(said.splitlines()[-1])
        assert users.pop("visits") > 100
        assert least <= users.pop("forgotten") <= most  # once each; who came late met v7 alone
        assert users == {"sent back": 0, "failed": 0}


def test_a_second_app_is_nothing_to_the_first(vm: Machine):
    told = HowTo(DOCS / "two-apps.md")
    vm.follow(told, "The second app")
    which = vm.follow(told, "Which one is meant")
    assert "it ended with 2" in which
    assert "there are blog, guestbook" in which
    both = vm.follow(told, "Both at once")
    assert "done, restart" in both
    assert told.untold == []
    assert (live(vm), live(vm, "blog")) == ("v9", "b2")


def test_websockets_are_closed_one_by_one_and_come_back(vm: Machine):
    told = HowTo(DOCS / "websockets.md")
    vm.follow(told, "An app with a live page")
    said = vm.follow(told, "Thirty people watch, and a release")
    assert told.untold == []
    assert live(vm, "live") == "w2"
    closed = re.search(r"drain .*, 0 cut, (\d+) closed one by one", said)
    assert closed, said
    people = ast.literal_eval(said.splitlines()[-1])
    assert people.pop("words") > 300
    assert people.pop("in one second at most") <= 20
    assert people.pop("hung up") == int(closed[1]) >= 15
    assert people == {"in the middle of a word": 0, "refused": 0}


def test_the_explanation_types_nothing():
    assert HowTo(DOCS / "how-it-loses-nothing.md").untold == []
