"""packaging/doc/fastapi.md, followed word for word: FastAPI, uvicorn on sockets, SQLite, a counter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stacks import supplies
from tests.stacks.story import Stack, Story
from tests.stacks.told import Bug, Told, tell
from tests.vm import machine, roots

pytestmark = pytest.mark.timeout(900)

FASTAPI = Stack("fastapi", lambda suite: [supplies.wheels("fastapi", suite)])
BUG = Bug("app/main.py", "    session.add(new)", "    session.add(bug)")


@pytest.fixture(scope="module", params=roots.SUITES)
def told(
    request: pytest.FixtureRequest, deb: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Told]:
    with Story(FASTAPI, request.param, deb, tmp_path_factory.mktemp("laptop")) as story:
        yield tell(story, BUG)


def rows(story: Story, query: str) -> list[list[Any]]:
    """As the database tells it; times are its own text and sort as they are."""
    said = story.box.sh(f'sqlite3 -json /srv/web/shared/data/notes.db "{query}"')
    return [list(row.values()) for row in json.loads(said or "[]")]


def test_no_request_of_any_visitor_is_lost(told: Told):
    told.nothing_is_lost()


def test_nothing_of_the_how_to_is_left_out(told: Told):
    told.all_is_told()


def test_the_bad_release_went_back_by_itself_and_said_why(told: Told):
    told.the_bad_one_went_back()


def test_a_column_comes_before_the_release_that_wants_it_and_goes_after_all_that_knew_it(
    told: Told,
):
    at = dict(rows(told.story, "SELECT revision, at FROM migrations"))
    first = dict(rows(told.story, "SELECT release, min(at) FROM notes GROUP BY release"))
    last = dict(rows(told.story, "SELECT release, max(at) FROM notes GROUP BY release"))
    assert first["v2"] < at["0002"] < first["v3"]
    # v2 had it all once more after the rollback, with the new column there.
    assert at["0002"] < last["v2"] < at["c0001"] < first["v5"]


def test_after_the_second_half_there_is_no_way_back_before_it(told: Told):
    told.no_way_back()


def test_every_note_is_counted_once_though_counters_overlap(told: Told):
    counted = "SELECT counted, count(*) FROM notes GROUP BY counted"
    machine.until("the last notes", lambda: [c for c, _ in rows(told.story, counted)] == [1])
    units = told.story.box.sh("systemctl list-units --plain --no-legend 'relctl-web-*'")
    assert units.count("counter") == 1, units


def test_all_releases_have_one_data_directory(told: Told):
    for release in ("v1", "v5"):
        where = told.story.box.sh(f"readlink /srv/web/releases/{release}/data").strip()
        assert where == "/srv/web/shared/data"
