"""How far a phase is with what it waits for, as a status tells it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld.api.progress import progress
from reld.core.model import Kind, Phase, Watch
from reld.core.policy import Policy
from tests.states import BEGUN, NOW, STATES

STEP = STATES["shifting"]().rollout
BAKE = STATES["baking"]().rollout
DRAIN = STATES["draining"]().rollout
assert STEP is not None
assert BAKE is not None
assert DRAIN is not None


def test_a_step_has_its_time_its_requests_and_what_both_need():
    assert progress(STEP, NOW) == {
        "seconds": 34.0,
        "needs_seconds": 60.0,
        "at_most": 600.0,
        "requests": 241,
        "needs_requests": 300,
    }


def test_time_that_said_nothing_and_a_log_that_is_not_read_do_not_count():
    unwatched = replace(STEP, watch=replace(STEP.watch, unwatched=10.0))
    assert progress(unwatched, NOW)["seconds"] == 24.0
    silent = replace(STEP, watch=Watch(NOW - 20.0))
    assert progress(silent, NOW)["seconds"] == 16.0
    unread = replace(STEP, watch=Watch())
    assert progress(unread, NOW)["seconds"] == 2.0


def test_a_bake_counts_what_the_candidate_was_dealt_unless_nobody_asks():
    found = progress(BAKE, NOW)
    assert (found["seconds"], found["needs_seconds"], found["at_most"]) == (214.0, 600.0, None)
    assert (found["requests"], found["needs_requests"]) == (741, 300)
    for never_judged in (replace(BAKE, unproven=True), replace(BAKE, kind=Kind.ROLLBACK)):
        assert progress(never_judged, NOW)["needs_requests"] is None


def test_a_drain_begins_when_nobody_comes_any_more():
    found = progress(DRAIN, NOW)
    assert (found["seconds"], found["needs_seconds"], found["at_most"]) == (12.0, 30.0, 300.0)
    assert progress(replace(DRAIN, drain_since=None), NOW)["seconds"] == 0.0


@pytest.mark.parametrize(
    ("phase", "most"), [(Phase.STARTING, 60.0), (Phase.PROVING, Policy().smoke_deadline)]
)
def test_before_any_traffic_there_is_only_a_deadline(phase, most):
    found = progress(replace(BEGUN, phase=phase, since=NOW - 3.0), NOW)
    assert (found["seconds"], found["needs_seconds"], found["at_most"]) == (3.0, None, most)


@pytest.mark.parametrize(
    "rollout",
    [
        BEGUN,
        replace(BEGUN, phase=Phase.PROVING, smoke=True),
        replace(STEP, step_since=None),
        replace(STEP, step=-1),
        *(
            replace(BEGUN, phase=phase)
            for phase in (Phase.ADMITTING, Phase.COMMITTING, Phase.REVERTING, Phase.STOPPING)
        ),
    ],
)
def test_what_waits_for_nothing_that_is_counted_has_none(rollout):
    assert progress(rollout, NOW) is None
