from __future__ import annotations

import math
import random

import pytest

from reld.core.verdict.limits import Limits, begin_limits, limits_seen
from reld.core.verdict.sample import Sample, Tally, bucket
from reld.core.verdict.settings import VerdictSettings
from reld.store import codec

FAST, SLOW = bucket(0.05), bucket(2.0)


def tally(requests, failures=0, slow=0):
    times = tuple((at, n) for at, n in ((FAST, requests - slow), (SLOW, slow)) if n > 0)
    return Tally(requests, failures, 0, times)


def run(settings, seconds, new, old=lambda _: tally(100), state=None, start=0):
    state = begin_limits(settings) if state is None else state
    for second in range(start, start + seconds):
        state = limits_seen(state, Sample(second, 25, old(second), new(second)))
        if state.worse:
            return state, second - start
    return state, None


RATE = VerdictSettings(max_error_rate=0.01)
P95 = VerdictSettings(max_p95=0.5, warmup=60.0)


def test_without_limits_nothing_is_ever_broken():
    state, found = run(VerdictSettings(), 60, lambda _: tally(30, 30, 30))
    assert found is None
    assert not state.both
    assert state.clause == ""


def test_three_failures_of_twenty_break_no_limit_of_one_percent():
    state = begin_limits(RATE)
    state = limits_seen(state, Sample(0, 5, Tally(), tally(20, 3)))
    for second in range(1, 60):
        state = limits_seen(state, Sample(second, 5, tally(100)))
        assert not state.worse


def test_four_percent_break_a_limit_of_one_percent():
    state, found = run(RATE, 120, lambda _: tally(25, 1))
    assert found is not None
    assert found < 60
    assert state.clause == (
        "4.0 % of {new}'s requests failed lately, the limit is 1.0 %; {old}: 0 %"
    )


def test_a_candidate_just_below_its_limit_keeps_it():
    rng = random.Random(20240607)
    broken = 0
    for _ in range(40):
        _, found = run(RATE, 300, lambda _: tally(40, sum(rng.random() < 0.009 for _ in range(40))))
        broken += found is not None
    assert broken == 0


def test_when_the_old_slot_breaks_it_too_it_is_the_environment():
    state, found = run(RATE, 60, lambda _: tally(25, 5), old=lambda _: tally(75, 15))
    assert found is None
    assert state.both
    assert not state.worse


def test_one_burst_is_not_enough():
    state, found = run(RATE, 300, lambda second: tally(25, 25 if second == 200 else 0))
    assert state.errors is not None
    assert found is None or found >= 203


def test_what_is_over_is_forgotten():
    state, _ = run(RATE, 60, lambda _: tally(25, 3))
    assert state.worse
    for second in range(60, 900):
        state = limits_seen(state, Sample(second, 25, tally(75), tally(25)))
    assert not state.worse
    assert state.clause == ""


def test_a_slow_tenth_breaks_a_p95():
    state, found = run(P95, 300, lambda _: tally(50, 0, 5))
    assert found is not None
    assert 60 <= found < 200
    assert state.clause == (
        "10 % of {new}'s requests took longer than 500 ms lately, the limit is 5.0 %; {old}: 0 %"
    )


def test_a_p95_is_not_judged_before_the_warm_up_nor_while_it_shrinks():
    def cold(second):
        return tally(100, 0, round(100 * math.exp(-second / 60)))

    _, found = run(P95, 600, cold)
    assert found is None


def test_at_a_share_of_100_percent_limits_are_judged_alone():
    state, found = run(RATE, 60, lambda _: tally(100, 5), old=lambda _: Tally())
    assert found is not None
    assert state.clause == "5.0 % of {new}'s requests failed lately, the limit is 1.0 %"


def test_a_limit_of_nothing_is_broken_by_five_failures():
    _, found = run(VerdictSettings(max_error_rate=0.0), 60, lambda _: tally(50, 1))
    assert found is not None


@pytest.mark.parametrize("leap", [10**9, -(10**9)])
def test_a_clock_that_leaps_is_survived(leap):
    state, _ = run(RATE, 10, lambda _: tally(25, 0))
    state, found = run(RATE, 10, lambda _: tally(25, 0), state=state, start=leap)
    assert found is None
    assert state.clock <= 10 + 120 + 10


def test_the_state_can_be_kept():
    settings = VerdictSettings(max_error_rate=0.01, max_p95=0.5)
    state, _ = run(settings, 30, lambda _: tally(25, 1, 1))
    assert codec.loads(Limits, codec.dumps(state)) == state
