"""packaging/doc/ruby.md, followed word for word: Rails, puma, PostgreSQL, a kitchen, and websockets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.stacks.postgres import rows
from tests.stacks.story import Stack, Story
from tests.stacks.told import Bug, Told, tell
from tests.vm import machine, roots

pytestmark = pytest.mark.timeout(900)

RUBY = Stack("ruby")
BUG = Bug("app/controllers/orders_controller.rb", "Order.create!(", "Order.created!(")
SUITES = [suite for suite in roots.SUITES if suite != "trixie"]  # it has no ruby-sprockets-rails
WATCHERS = 20  # in visits_ruby.py
AT_ONCE = 6  # of 20 that are closed within 10 s, the most that may meet in one second


@pytest.fixture(scope="module", params=SUITES)
def told(
    request: pytest.FixtureRequest, deb: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Told]:
    with Story(RUBY, request.param, deb, tmp_path_factory.mktemp("laptop")) as story:
        yield tell(story, BUG)


def noted(told: Told, event: str) -> list[dict[str, Any]]:
    found = [note for note in told.load.said["noted"] if note["event"] == event]
    return sorted(found, key=lambda note: float(note["at"]))


def test_no_request_of_any_visitor_is_lost(told: Told):
    told.nothing_is_lost()


def test_nothing_of_the_how_to_is_left_out(told: Told):
    told.all_is_told()


def test_the_bad_release_went_back_by_itself_and_said_why(told: Told):
    told.the_bad_one_went_back()


def test_a_column_comes_before_the_release_that_wants_it_and_goes_after_all_that_knew_it(
    told: Told,
):
    first = dict(rows(told.story, "release, min(ordered) FROM orders GROUP BY release"))
    last = dict(rows(told.story, "release, max(ordered) FROM orders GROUP BY release"))
    columns = told.story.box.sh("sudo -u postgres psql web -c '\\d orders'")
    assert "email" in columns
    assert "fax" not in columns
    # v3 cannot write without the new column; v2 had it all once more after the rollback.
    assert first["v2"] < first["v3"] < last["v2"] < first["v5"]
    dropped, _ = told.story.window("relctl contract")
    assert datetime.fromisoformat(last["v2"]).replace(tzinfo=UTC).timestamp() < dropped


def test_after_the_second_half_there_is_no_way_back_before_it(told: Told):
    told.no_way_back()


def test_no_two_kitchens_are_ever_at_it_and_each_order_is_served_once(told: Told):
    runs = rows(told.story, "release, began, last, refused FROM kitchens ORDER BY id")
    assert [run for run in runs if run[3]] == []
    ended = [datetime.fromisoformat(run[2]) for run in runs]
    began = [datetime.fromisoformat(run[1]) for run in runs]
    assert all(end <= start for end, start in zip(ended, began[1:], strict=False))
    assert [run[0] for run in runs] == ["v1", "v2", "v3", "v2", "v3", "v5"]
    served = "served, count(*) FROM orders GROUP BY served"
    machine.until("the last orders", lambda: [r[0] for r in rows(told.story, served)] == [1])


def test_watchers_follow_each_switch_one_by_one(told: Told):
    """v1 to v2 to v3, back to v2, to v3, to v5: each closes all that there are, over some seconds."""
    connected, closed = noted(told, "connected"), noted(told, "closed")
    assert Counter(end["release"] for end in closed) == {
        "v1": WATCHERS, "v2": 2 * WATCHERS, "v3": 2 * WATCHERS
    }  # fmt: skip
    for who in {note["who"] for note in connected}:
        served_by = [note["release"] for note in connected if note["who"] == who]
        assert served_by == ["v1", "v2", "v3", "v2", "v3", "v5"]
    times = [float(end["at"]) for end in closed]
    met = [sum(1 for other in times if at <= other < at + 1.0) for at in times]
    assert max(met) <= AT_ONCE, times


def test_hardly_a_watcher_is_closed_while_it_waits_for_an_answer(told: Told):
    """Only what is said in the very moment of the close, with a hundred of them, may get none."""
    closed = noted(told, "closed")
    assert len([end for end in closed if end["unanswered"]]) <= 5
    assert [end for end in closed if "in the middle" in end["why"]] == []


def test_what_the_kitchen_wrote_is_there_for_all_releases(told: Told):
    for release in ("v1", "v5"):
        where = told.story.box.sh(f"readlink /srv/web/releases/{release}/storage").strip()
        assert where == "/srv/web/shared/storage"
    assert " served by v1" in told.story.box.sh("cat /srv/web/shared/storage/bill-*.txt")
