"""How many long connections may still be open, at any moment of a drain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld.core import events as ev
from reld.core import pacing
from reld.core.model import Color, Kind, Phase, Rollout, Thinning
from reld.core.policy import Policy, StreamPolicy

POLICY = Policy(drain_max=100.0, streams=StreamPolicy(keep=60.0, close_over=30.0))
FORTH = Rollout(
    id=1,
    kind=Kind.SWITCH,
    phase=Phase.DRAINING,
    since=1000.0,
    began=900.0,
    policy=POLICY,
    old=Color.BLUE,
    candidate=Color.GREEN,
    leaving=Color.BLUE,
    drain_since=1000.0,
)
BACK = replace(FORTH, leaving=Color.GREEN)
CHANGING = replace(
    FORTH,
    phase=Phase.SHIFTING,
    leaving=None,
    drain_since=None,
    thinning=Thinning(Color.BLUE, 7, 1000.0, left=0),
)


def test_they_are_kept_and_then_closed_evenly():
    pace = pacing.pace(FORTH, 60, 1000.0)
    assert pace is not None
    assert [pace.allowed(1000.0 + t) for t in (0, 60, 61, 75, 89, 90, 95)] == [
        60, 60, 58, 30, 2, 0, 0,
    ]  # fmt: skip


def test_after_going_back_they_are_closed_at_once_and_within_ten_seconds():
    assert pacing.window(BACK) == (1000.0, 1010.0)
    short = replace(BACK, policy=replace(POLICY, streams=StreamPolicy(60.0, 3.0)))
    assert pacing.window(short) == (1000.0, 1003.0)


@pytest.mark.parametrize("change", [{"stop_first": True}, {"kind": Kind.STOP}])
def test_nobody_is_kept_where_everybody_else_waits_for_them(change: dict[str, object]):
    assert pacing.window(replace(FORTH, **change)) == (1000.0, 1030.0)


def test_a_shorter_drain_of_one_rollout_shortens_what_they_are_kept():
    hasty = replace(FORTH, policy=replace(POLICY, drain_max=40.0))
    assert pacing.window(hasty) == (1010.0, 1040.0)
    assert pacing.window(replace(FORTH, policy=replace(POLICY, drain_max=20.0))) == (1000.0, 1020.0)


def test_without_the_setting_nothing_is_closed():
    as_ever = replace(FORTH, policy=replace(POLICY, streams=None))
    assert pacing.pace(as_ever, 60, 1075.0) is None
    assert pacing.patience(as_ever) == 100.0


def test_a_reld_that_was_away_catches_up_at_twice_the_pace_at_most():
    seen = replace(FORTH, streams_most=60)
    on_time = pacing.pace(seen, 30, 1075.0)
    assert on_time is not None
    assert on_time.until == 1090.0
    late = pacing.pace(seen, 60, 1085.0)
    assert late is not None
    assert late.until == 1100.0
    assert late.allowed(1086.0) == 56


def test_counts_are_kept_for_the_receipt_and_the_status():
    rollout = pacing.noted(pacing.counted(FORTH, 60), ev.StreamsClosed(1, 3, 57))
    rollout = pacing.noted(rollout, ev.StreamsClosed(1, 2, 55))
    assert (rollout.closed, rollout.streams, rollout.streams_most) == (5, 55, 60)
    late = replace(rollout, phase=Phase.STOPPING)
    assert pacing.noted(late, ev.StreamsClosed(1, 2, 53)) is late


def test_why_they_cannot_be_closed_is_a_warning():
    warned = pacing.noted(FORTH, ev.StreamsStay(1, "no right"))
    assert warned.warning == "no right"


def test_old_workers_that_serve_the_other_slot_do_not_hold_the_drain_for_ever():
    free = replace(FORTH, left=0)
    assert not pacing.streams_over(free, 1091.0)
    assert pacing.streams_over(free, 1092.0)
    assert not pacing.streams_over(replace(FORTH, left=1), 1095.0)


def test_the_drain_waits_for_what_an_old_worker_could_still_bring_for_a_second_try():
    patient = replace(FORTH, left=0, policy=replace(POLICY, gate_timeout=95.0))
    assert not pacing.streams_over(patient, 1096.0)  # all streams were closed by 1090
    assert pacing.streams_over(patient, 1097.0)
    assert pacing.streams_over(replace(patient, leaving=Color.GREEN), 1012.0)


def test_an_instance_that_changes_places_keeps_nobody():
    assert pacing.window(CHANGING) == (1000.0, 1030.0)
    assert pacing.window(replace(CHANGING, phase=Phase.RETURNING)) == (1000.0, 1010.0)
    hasty = replace(CHANGING, policy=replace(POLICY, drain_max=20.0))
    assert pacing.window(hasty) == (1000.0, 1020.0)
    as_ever = replace(CHANGING, policy=replace(POLICY, streams=None))
    assert (pacing.window(as_ever), pacing.over_at(as_ever)) == (None, None)


def test_an_instance_changes_places_once_its_streams_were_closed_and_nothing_can_come_any_more():
    free = replace(CHANGING, policy=replace(POLICY, gate_timeout=40.0))
    assert not pacing.streams_over(free, 1041.0)
    assert pacing.streams_over(free, 1042.0)
    assert pacing.streams_over(replace(free, phase=Phase.RETURNING), 1012.0)
    for left in (1, None):
        uncertain = replace(free, thinning=replace(CHANGING.thinning, left=left))
        assert not pacing.streams_over(uncertain, 1050.0)


def test_what_an_instance_that_changes_places_loses_is_counted_until_it_is_told_to_stop():
    rollout = pacing.noted(pacing.counted(CHANGING, 4), ev.StreamsClosed(1, 1, 3))
    assert (rollout.closed, rollout.streams, rollout.streams_most) == (1, 3, 4)
    late = replace(rollout, thinning=replace(CHANGING.thinning, over=True))
    assert pacing.noted(late, ev.StreamsClosed(1, 1, 2)) is late
