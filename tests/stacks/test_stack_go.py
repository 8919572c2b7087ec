"""packaging/doc/go.md, followed word for word: a binary with its assets in it, on a Unix socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.stacks.story import Stack, Story
from tests.stacks.told import Bug, Told, tell
from tests.vm import machine, roots

pytestmark = pytest.mark.timeout(900)

GO = Stack("go")
DATA = "/srv/web/shared/data"
BUG = Bug("pages.go", 'r.PostFormValue("item")', 'r.PostFormValue("Item")')


@pytest.fixture(scope="module", params=roots.SUITES)
def told(
    request: pytest.FixtureRequest, deb: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Told]:
    with Story(GO, request.param, deb, tmp_path_factory.mktemp("laptop")) as story:
        yield tell(story, BUG)


def rows(story: Story, of: str) -> list[dict[str, Any]]:
    """What the store has in one of its directories."""
    said = story.box.sh(f"find {DATA}/{of} -type f ! -name '*.new' -exec cat {{}} +")
    return [json.loads(line) for line in said.splitlines()]


def migrated(story: Story, name: str) -> int:
    """Nanoseconds since 1970, as all times of the store."""
    return int(story.box.sh(f"cat {DATA}/migrations/{name}"))


def test_no_request_of_any_visitor_is_lost(told: Told):
    told.nothing_is_lost()


def test_nothing_of_the_how_to_is_left_out(told: Told):
    told.all_is_told()


def test_the_bad_release_went_back_by_itself_and_said_why(told: Told):
    told.the_bad_one_went_back()


def test_the_gate_reaches_it_by_a_socket_and_no_port_is_open(told: Told):
    sockets = told.story.box.sh("ss --listening --no-header --unix --processes")
    assert '"shop"' in sockets
    assert "/run/relctl/web/sockets/" in sockets
    assert '"shop"' not in told.story.box.sh("ss --listening --no-header --tcp --processes")


def test_a_column_comes_before_the_release_that_wants_it_and_goes_after_all_that_knew_it(
    told: Told,
):
    orders = rows(told.story, "orders")
    came, went = migrated(told.story, "0002_email"), migrated(told.story, "0003_no_fax")
    at = {r: [o["ordered"] for o in orders if o["release"] == r] for r in ("v2", "v3", "v5")}
    assert min(at["v2"]) < came < min(at["v3"])
    # v2 had it all once more after the rollback, with the new column there.
    assert came < max(at["v2"]) < went < min(at["v5"])
    assert [o for o in orders if "fax" in o["columns"]] == []


def test_after_the_second_half_there_is_no_way_back_before_it(told: Told):
    told.no_way_back()


def test_no_two_mailers_are_ever_at_it_and_each_order_is_mailed_once(told: Told):
    runs = sorted(rows(told.story, "mailers"), key=lambda run: run["began"])
    assert [run for run in runs if run["refused"]] == []
    assert all(old["last"] <= new["began"] for old, new in pairwise(runs))
    assert [run["release"] for run in runs] == ["v1", "v2", "v3", "v2", "v3", "v5"]
    machine.until("the last mails", lambda: rows(told.story, "outbox") == [])
    assert {order["mails"] for order in rows(told.story, "orders")} == {1}
