from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from reld.core.verdict.sample import LAST_BUCKET, Sample, Tally, bucket
from reld.core.verdict.settings import VerdictSettings
from reld.core.verdict.slowness import (
    Slowness,
    begin_slowness,
    slowness_seen,
    slowness_step,
    slowness_times,
)
from reld.store import codec

STEPS = ((5, 60), (25, 60), (50, 60), (95, 60))
SETTINGS = VerdictSettings()


def cold(second):
    return 1 + 4 * math.exp(-second / 60)


def healthy(_):
    return 1.0


class Traffic:
    """Lognormal times, 50 ms in the middle; the candidate's are longer by `slower(second)`."""

    def __init__(self, seed, rate, slower=healthy, both=healthy, tail=0.0, spread=0.6):
        self.rng = random.Random(seed)
        self.rate, self.slower, self.both = rate, slower, both
        self.tail, self.spread = tail, spread

    def time(self, factor=1.0):
        return factor * self.rng.lognormvariate(math.log(0.05), self.spread)

    def history(self, many=10_000):
        return histogram(self.time() for _ in range(many))

    def second(self, number, share):
        rng, times = self.rng, ([], [])
        for _ in range(max(0, round(rng.gauss(self.rate, math.sqrt(self.rate))))):
            new = rng.random() < share / 100
            factor = self.both(number) * (self.slower(number) if new else 1.0)
            late = 2.0 if new and rng.random() < self.tail else 0.0
            times[new].append(self.time(factor) + late)
        old, new = (Tally(len(one), 0, 0, histogram(one)) for one in times)
        return Sample(number, share, old, new)


def histogram(times):
    return tuple(sorted(Counter(bucket(time) for time in times).items()))


def shares(steps):
    for share, seconds in steps:
        yield from [share] * seconds
    while True:
        yield steps[-1][0]


def watch(traffic, seconds, steps=STEPS, settings=SETTINGS):
    """(the state, when it was found: seconds or None)."""
    state = slowness_times(begin_slowness(settings), traffic.history())
    now = None
    for number, share in zip(range(seconds), shares(steps), strict=False):
        if share != now:
            now = share
            state = slowness_step(state, share)
        state = slowness_seen(state, traffic.second(number, share))
        if state.worse:
            return state, number
    return state, None


@pytest.mark.parametrize("rate", [1, 10, 60])
def test_a_healthy_release_is_not_blamed(rate):
    assert [watch(Traffic(seed, rate), 300)[1] for seed in range(6)] == [None] * 6


@pytest.mark.parametrize("rate", [1, 10, 60])
def test_a_cold_start_that_goes_away_is_not_blamed(rate):
    assert [watch(Traffic(seed, rate, cold), 300)[1] for seed in range(8)] == [None] * 8


def test_a_period_in_which_both_slots_are_slow_is_not_blamed():
    def slow(second):
        return 10.0 if 100 <= second < 130 or 200 <= second < 205 else 1.0

    assert [watch(Traffic(seed, 60, both=slow), 300)[1] for seed in range(6)] == [None] * 6


def test_a_stall_of_two_seconds_is_not_blamed():
    def stalls(second):
        return 20.0 if 150 <= second < 152 else 1.0

    for seed in range(6):
        state, found = watch(Traffic(seed, 60, stalls), 200)
        assert found is None
        assert state.level < 1


@pytest.mark.parametrize("spread", [0.6, 0.03])
def test_a_tenth_slower_is_nothing_to_go_back_for_however_narrow_the_times_are(spread):
    traffic = Traffic(1, 60, lambda _: 1.1, spread=spread)
    assert watch(traffic, 400, steps=((25, 400),))[1] is None


def test_a_candidate_that_stays_twice_as_slow_is_found_after_the_warm_up():
    for seed in range(3):
        state, found = watch(Traffic(seed, 60, lambda _: 2.0), 600)
        assert found is not None
        assert 60 <= found < 300
        assert state.odds >= 1000


def test_without_a_warm_up_it_is_found_at_once():
    settings = replace(SETTINGS, warmup=0.0)
    found = watch(Traffic(1, 60, lambda _: 2.0), 600, ((25, 600),), settings)[1]
    assert found is not None
    assert found < 60


def test_a_slow_tail_of_three_percent_is_found_where_the_mean_hardly_moves():
    traffic = Traffic(2, 100, tail=0.03)
    state, found = watch(traffic, 900, steps=((5, 60), (25, 60), (50, 780)))
    assert found is not None
    assert "of {new}'s requests took longer than " in state.clause


def test_the_clause_has_the_rates_of_both_and_the_cut():
    state, found = watch(Traffic(3, 60, lambda _: 3.0), 600)
    assert found is not None
    new, old = state.clause.split(" of {new}'s requests took longer than ")
    assert new.endswith(" %")
    assert old.endswith(" of {old}'s")
    assert " ms, " in old


def test_while_nothing_is_proven_there_is_no_clause_and_no_odds():
    state, _ = watch(Traffic(4, 20), 30)
    assert state.clause == ""
    assert state.odds == 0
    assert state.hold == ""


def test_a_cold_start_holds_the_share_until_it_is_over():
    state, _ = watch(Traffic(5, 60, cold), 59)
    assert state.hold == "{new} is slower than {old}: a cold start, or it stays so"


def test_without_a_control_nothing_is_held():
    state, _ = watch(Traffic(5, 60, cold), 59)
    assert slowness_step(state, 100).hold == ""


def test_before_the_warm_up_is_over_nothing_is_judged():
    state, found = watch(Traffic(6, 100, lambda _: 50.0), 59)
    assert found is None
    assert state.level == 0


def test_the_warm_up_begins_with_the_first_request():
    state = slowness_times(begin_slowness(SETTINGS), Traffic(7, 1).history())
    state = slowness_step(state, 25)
    for second in range(300):
        state = slowness_seen(state, Sample(second, 25, Tally(1, 0, 0, ((40, 1),))))
    assert state.born < 0
    traffic = Traffic(8, 100, lambda _: 50.0)
    for second in range(300, 358):
        state = slowness_seen(state, traffic.second(second, 25))
        assert not state.worse


def test_at_100_percent_there_is_no_control_and_nothing_is_judged():
    settings = replace(SETTINGS, warmup=0.0)
    state, found = watch(Traffic(9, 60, lambda _: 10.0), 120, ((100, 120),), settings)
    assert found is None
    assert state.level == 0


def test_without_enough_times_no_line_is_drawn_and_then_one_is():
    state = slowness_step(begin_slowness(SETTINGS), 5)
    for second in range(20):
        state = slowness_seen(state, Sample(second, 5, Tally(9, 0, 0, ((40, 9),))))
    assert {line.cut for line in state.lines} == {-1}
    for second in range(20, 30):
        state = slowness_seen(state, Sample(second, 5, Tally(9, 0, 0, ((40, 9),))))
    assert {line.cut for line in state.lines} == {40}


def test_what_happens_within_ten_milliseconds_is_not_slow():
    settings = replace(SETTINGS, warmup=0.0)
    state = slowness_times(begin_slowness(settings), ((0, 100_000),))
    state = slowness_step(state, 25)
    for second in range(120):
        old, new = Tally(75, 0, 0, ((0, 75),)), Tally(25, 0, 0, ((bucket(0.008), 25),))
        state = slowness_seen(state, Sample(second, 25, old, new))
        assert not state.worse


def test_nine_slow_requests_are_too_few():
    settings = replace(SETTINGS, warmup=0.0)
    state = slowness_times(begin_slowness(settings), ((40, 100_000),))
    state = slowness_step(state, 1)
    for second in range(100):
        slow = 1 if second % 10 == 9 and second < 90 else 0
        new = Tally(slow, 0, 0, ((90, slow),) if slow else ())
        state = slowness_seen(state, Sample(second, 1, Tally(100, 0, 0, ((40, 100),)), new))
        assert not state.worse
    assert state.level > 0.9


def test_parts_of_a_second_are_judged_as_the_whole():
    traffic, settings = Traffic(10, 60, lambda _: 2.0), replace(SETTINGS, warmup=0.0)
    history = traffic.history()
    whole = slowness_step(slowness_times(begin_slowness(settings), history), 25)
    parts = whole
    for second in range(30):
        sample = traffic.second(second, 25)
        whole = slowness_seen(whole, sample)
        parts = slowness_seen(parts, replace(sample, old=Tally()))
        parts = slowness_seen(parts, replace(sample, new=Tally()))
        parts = slowness_seen(parts, Sample(second, 25))
    assert whole == parts


@pytest.mark.parametrize("leap", [10**10, -(10**10), 100_000, -3])
def test_a_clock_that_leaps_is_survived(leap):
    traffic = Traffic(11, 20)
    state = slowness_step(slowness_times(begin_slowness(SETTINGS), traffic.history()), 25)
    for second in range(20):
        state = slowness_seen(state, traffic.second(second, 25))
    for second in range(20):
        state = slowness_seen(state, replace(traffic.second(0, 25), second=second + leap))
    assert not state.worse
    assert state.clock <= 19 + 120 + 19


def test_weeks_without_traffic_break_nothing():
    state = slowness_step(slowness_times(begin_slowness(SETTINGS), ((40, 1000),)), 25)
    state = slowness_seen(state, Sample(0, 25, Tally(1), Tally(1)))
    for second in range(0, 1_200_000, 115):
        state = slowness_seen(state, Sample(second, 25))
    assert not state.worse
    assert all(math.isfinite(line.bet.value) for line in state.lines)


def test_everything_slow_on_both_slots_or_on_one_gives_finite_numbers():
    settings = replace(SETTINGS, warmup=0.0)
    for old_at, new_at in ((LAST_BUCKET, LAST_BUCKET), (0, LAST_BUCKET), (LAST_BUCKET, 0)):
        state = slowness_step(slowness_times(begin_slowness(settings), ((40, 1000),)), 50)
        for second in range(200):
            old, new = (Tally(9999, 0, 0, ((at, 9999),)) for at in (old_at, new_at))
            state = slowness_seen(state, Sample(second, 50, old, new))
        assert codec.loads(Slowness, codec.dumps(state)) == state


def test_the_state_can_be_kept_and_is_small():
    state, _ = watch(Traffic(12, 60), 100)
    text = codec.dumps(state)
    assert codec.loads(Slowness, text) == state
    assert len(text) < 4000
