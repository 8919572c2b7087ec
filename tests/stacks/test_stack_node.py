"""packaging/doc/node.md, followed word for word: Express, two instances, event streams, a mailer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.stacks import npm
from tests.stacks.postgres import rows
from tests.stacks.story import Stack, Story
from tests.stacks.told import Bug, Told, tell
from tests.vm import machine, roots

pytestmark = pytest.mark.timeout(900)

NODE = Stack("node", lambda _: [npm.packages("node")])
BUG = Bug("app.js", "const { name } = request.session;", "const { name } = request.sesion;")


@pytest.fixture(scope="module", params=roots.SUITES)
def told(
    request: pytest.FixtureRequest, deb: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Told]:
    with Story(NODE, request.param, deb, tmp_path_factory.mktemp("laptop")) as story:
        yield tell(story, BUG)


def test_no_request_of_any_visitor_is_lost(told: Told):
    told.nothing_is_lost()


def test_nothing_of_the_how_to_is_left_out(told: Told):
    told.all_is_told()


def test_the_bad_release_went_back_by_itself_and_said_why(told: Told):
    told.the_bad_one_went_back()


def test_a_column_comes_before_the_release_that_wants_it_and_goes_after_all_that_knew_it(
    told: Told,
):
    at = dict(rows(told.story, "name, applied FROM migrations"))
    first = dict(rows(told.story, "release, min(at) FROM posts GROUP BY release"))
    last = dict(rows(told.story, "release, max(at) FROM posts GROUP BY release"))
    assert first["v2"] < at["0002_mood.sql"] < first["v3"]
    # v2 had it all once more after the rollback, with the new column there.
    assert at["0002_mood.sql"] < last["v2"] < at["0001_no_color.sql"] < first["v5"]


def test_after_the_second_half_there_is_no_way_back_before_it(told: Told):
    told.no_way_back()


def test_no_two_mailers_are_ever_at_it_and_each_post_is_mailed_once(told: Told):
    runs = rows(told.story, "release, began, last, refused FROM mailer ORDER BY id")
    assert [run for run in runs if run[3]] == []
    ended = [datetime.fromisoformat(run[2]) for run in runs]
    began = [datetime.fromisoformat(run[1]) for run in runs]
    assert all(end <= start for end, start in zip(ended, began[1:], strict=False))
    assert [run[0] for run in runs] == ["v1", "v2", "v3", "v2", "v3", "v5"]
    mailed = "mails, count(*) FROM posts GROUP BY mails"
    machine.until("the last mails", lambda: [m for m, _ in rows(told.story, mailed)] == [1])


def test_event_streams_go_on_with_the_next_release_and_tell_everything_once(told: Told):
    """That nothing was told twice or left out is the listeners' own word: they would be lost."""
    noted = told.load.said["noted"]
    assert len(noted) == 2
    assert all(listener["heard"] > 100 and listener["streams"] >= 5 for listener in noted), noted


def test_node_ends_by_itself_when_it_is_asked_to(told: Told):
    """Nobody waits for a stream or an idle connection until the kill."""
    said = told.story.box.sh("journalctl --no-pager --output cat --unit reld@web")
    ended = re.findall(r"(?:instance|worker) \w+ of v\d \(\w+\) exited: (.*)", said)
    assert len(ended) > 10
    assert set(ended) == {"exit code 0"}
