"""The four questions before a release: what was seen or declared is yes or no, the rest is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from reld.core.model import Kind
from reld.planning.questions import (
    Asked,
    Smokes,
    WayBack,
    gate_drains,
    last_cut,
    rollback_ready,
    side_by_side,
    slow_endpoints,
)
from tests.unit.core_driver import steady

NOW = 1_790_000_000.0
DAY = 86_400.0


@pytest.mark.parametrize(
    ("declared", "from_", "to", "stop_first", "answer", "why"),
    [
        (None, "v1", "v2", False, "unknown", "nobody has declared"),
        (True, "v1", "v2", False, "yes", "declared: [rollout] side_by_side = true"),
        (False, "v1", "v2", False, "no", "declared: [rollout] side_by_side = false"),
        (False, "v1", "v2", True, "yes", "they need not: v1 is stopped before v2 starts"),
        (None, "v1", "v2", True, "yes", "they need not"),
        (False, "", "v2", False, "yes", "nothing is live: v2 runs alone"),
        (None, "v1", "v1", False, "yes", "it is the same release"),
    ],
)
def test_side_by_side_is_what_was_declared(
    declared: bool | None, from_: str, to: str, stop_first: bool, answer: str, why: str
) -> None:
    found = side_by_side(declared, from_, to, stop_first=stop_first)
    assert (found.answer, why in found.why) == (answer, True), found
    assert bool(found.mend) == (answer != "yes")


def rehearsed(**changed: Any) -> dict[str, Any]:
    told = {"release": "v1", "at": NOW - DAY, "id": 7, "outcome": "done", "lost": 0, "found": None}
    return {**told, **changed}


@pytest.mark.parametrize(
    ("rehearsal", "answer", "why"),
    [
        (None, "unknown", "never rehearsed"),
        (rehearsed(), "yes", "the last rehearsal (rollout 7, v1, 2026-09-20) lost no request"),
        (rehearsed(at="2026-09-20T14:13:20.000Z"), "yes", "lost no request"),
        (rehearsed(lost=1), "no", "lost 1 request"),
        (rehearsed(lost=3), "no", "lost 3 requests"),
        (rehearsed(lost=None), "unknown", "ended done"),
        (rehearsed(outcome="failed", lost=3), "no", "lost 3 requests"),
        (rehearsed(outcome="failed", reason="not ready"), "unknown", "ended failed: not ready"),
        (rehearsed(outcome="rolled_back", found=True), "yes", "lost no request"),
        (rehearsed(outcome="aborted"), "unknown", "ended aborted"),
        (rehearsed(release="v0"), "unknown", "was of another release than v1"),
        (rehearsed(release="v0", lost=9), "unknown", "was of another release than v1"),
        (rehearsed(at=NOW - 40 * DAY), "unknown", "is long ago"),
        (rehearsed(at=None), "unknown", "is long ago"),
        (rehearsed(at="yesterday"), "unknown", "is long ago"),
    ],
)
def test_the_gate_drains_as_the_last_rehearsal_of_the_live_release_did(
    rehearsal: dict[str, Any] | None, answer: str, why: str
) -> None:
    found = gate_drains(rehearsal, "v1", NOW)
    assert (found.answer, why in found.why) == (answer, True), found
    assert ("relctl rehearse" in found.mend) == (answer != "yes")


def test_what_the_last_drain_cut_is_said_where_nobody_rehearsed() -> None:
    found = gate_drains(None, "v1", NOW, "the drain of rollout 3 cut nothing")
    assert found.why == "never rehearsed; the drain of rollout 3 cut nothing"
    assert last_cut(None) == ""
    driver = steady().begin(Kind.SWITCH, "v2").ended()
    assert last_cut(driver.state.last) == "the drain of rollout 2 cut nothing"
    assert last_cut(steady().state.last) == ""
    assert gate_drains(None, "", NOW).why == "nothing is live that could be drained"


GOOD = Asked("login", True, "login: 2 answers, the slowest took 80 ms")
BAD = Asked("report", False, "report: answer 1 of 1: status 500, wanted 200")
NEW = Asked("search", False, "search: answer 1 of 1: status 404, wanted 200", known=False)


@pytest.mark.parametrize(
    ("smokes", "answer", "why"),
    [
        (Smokes(0), "unknown", "the config has no [[smoke]] check"),
        (Smokes(1, why_not="operators can run the checks"), "unknown", "operators can run"),
        (Smokes(1, (GOOD,)), "yes", "v1 passes now: login: 2 answers, the slowest took 80 ms"),
        (Smokes(2, (GOOD, BAD)), "no", "v1 fails a check now: report: answer 1 of 1: status 500"),
        (Smokes(2, (GOOD, NEW)), "unknown", "it is new in the config"),
        (Smokes(3, (NEW, BAD)), "no", "report"),
        (Smokes(2, (GOOD,), late=True), "unknown", "only 1 of 2 checks ended in time"),
        (Smokes(2, (BAD,), late=True), "no", "report"),
    ],
)
def test_the_slow_endpoints_are_as_the_checks_found_them(
    smokes: Smokes, answer: str, why: str
) -> None:
    found = slow_endpoints(smokes, "v1")
    assert (found.answer, why in found.why) == (answer, True), found


@pytest.mark.parametrize(
    ("way", "answer", "why"),
    [
        (WayBack(""), "unknown", "v2 would be the first release"),
        (WayBack("v1"), "yes", "one rename until it is committed, then v1 starts again from"),
        (WayBack("v1", sealed=True), "no", "a contract migration has run since v1"),
        (WayBack("v1", missing=("release v1 is not there any more",)), "no", "not there any more"),
        (WayBack("v1", occupied="slot green is locked"), "no", "slot green is locked"),
        (WayBack("v1", external="the app at 127.0.0.1:8000"), "unknown", "not started by reld"),
        (WayBack("v1", unsettled="rollout 4 (v2) is shifting"), "unknown", "rollout 4 (v2)"),
    ],
)
def test_the_rollback_is_ready_when_all_that_it_needs_is_there(
    way: WayBack, answer: str, why: str
) -> None:
    found = rollback_ready(way, "v2", bakes=True)
    assert (found.answer, why in found.why) == (answer, True), found


def test_without_a_bake_no_way_back_is_at_once() -> None:
    assert "one rename" not in rollback_ready(WayBack("v1"), "v2", bakes=False).why
    external = WayBack("v1", external="the app at 127.0.0.1:8000")
    assert "one rename" not in rollback_ready(external, "v2", bakes=False).why
