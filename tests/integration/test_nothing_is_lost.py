"""The main job at a small size: every kind of client, through the site's nginx and the gate.

`make bench` does the same with 20 switches and 5 rollbacks, and next to it what a plain reload loses.
"""

from __future__ import annotations

import pytest

from tests.bench import crowd, switches
from tests.bench.switches import Course

pytestmark = pytest.mark.timeout(240)  # four rollouts in one fixture

SMALL = switches.MIX | {"upload_seconds": 1.0}


@pytest.fixture(scope="module")
def course() -> Course:
    """Three switches and a rollback under load."""
    return switches.run(3, 1, pause=0.3, drain_max=1.5, mix=SMALL)


def test_three_switches_and_a_rollback_under_load_lose_no_request(course: Course):
    assert crowd.lost(course.whole) == 0, course.wrong


def test_all_kinds_of_clients_took_part(course: Course):
    asked = {kind: seen["total"] for kind, seen in course.whole["kinds"].items()}
    assert asked.keys() == {"keepalive", "oneshot", "http2", "websocket", "upload"}
    assert min(asked.values()) > 3, asked


def test_each_of_them_was_done(course: Course):
    assert [receipt.get("outcome") for receipt in course.receipts] == ["done"] * 4, course.wrong


def test_no_receipt_counts_an_error(course: Course):
    errors = [r["requests"][color]["errors"] for r in course.receipts for color in r["requests"]]
    assert sum(errors) == 0


def test_websockets_live_until_the_end_of_the_drain_and_are_told_to_go(course: Course):
    closed = course.whole["kinds"]["websocket"]["closed"]
    assert closed, "no websocket was ever asked to move"
    assert course.early_closes() == []
    assert {code for code, _, _ in closed} == {1001}
