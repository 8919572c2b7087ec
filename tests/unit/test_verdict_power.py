from __future__ import annotations

import math
import random

import pytest

from reld.core.verdict import errors
from reld.core.verdict.power import noticed, noticed_in, promise
from reld.core.verdict.sample import Tally

STEPS = ((5.0, 60.0), (25.0, 60.0), (50.0, 60.0), (95.0, 60.0))


def poisson(rng, mean):
    """Knuth's; fine for small means."""
    left, count = math.exp(-mean), 0
    product = rng.random()
    while product > left:
        count, product = count + 1, product * rng.random()
    return count


def found_after(rng, rate, share, p1, p0, seconds):
    """(seconds, failures) of the real thing, on failures alone."""
    state = errors.errors_step(errors.begin_errors(0.001, (), 1200.0), round(share))
    s = share / 100
    failures = 0
    for second in range(seconds):
        if second and second % 2 == 0:
            state = errors.errors_judged(state, 2)
        old, new = poisson(rng, rate * (1 - s) * p0), poisson(rng, rate * s * p1)
        failures += new
        state = errors.errors_seen(
            state, Tally(round(rate * (1 - s)), old), Tally(round(rate * s), new), ()
        )
        if new and errors.charge(state) is not None:
            return second + 1, failures
    return None


@pytest.mark.parametrize(
    ("rate", "share", "p1"), [(40.0, 5.0, 0.02), (40.0, 25.0, 0.02), (100.0, 5.0, 0.01)]
)
def test_what_is_promised_is_what_the_test_does(rate, share, p1):
    said = noticed(rate, share, p1, 0.001, 0.001)
    assert said is not None
    rng = random.Random(7)
    runs = [found_after(rng, rate, share, p1, 0.001, 900) for _ in range(150)]
    done = [run for run in runs if run is not None]
    in_time = sum(seconds <= said.seconds for seconds, _ in done) / len(runs)
    few = sum(failed <= said.failed for _, failed in done) / len(runs)
    assert 0.89 <= in_time <= 1
    assert 0.89 <= few <= 1
    # … and not by being careful without end.
    assert said.seconds < 2 * sorted(seconds for seconds, _ in done)[len(done) * 9 // 10]


def test_more_traffic_and_a_larger_fault_are_found_sooner():
    def seconds(rate, p1):
        found = noticed(rate, 5.0, p1, 0.001, 0.001)
        assert found is not None
        return found.seconds

    assert seconds(1000, 0.02) < seconds(100, 0.02) < seconds(10, 0.02)
    assert seconds(100, 1.0) < seconds(100, 0.05) < seconds(100, 0.01)


def test_a_stricter_budget_takes_longer():
    strict, loose = (noticed(100, 5.0, 0.02, 0.001, alarm) for alarm in (0.0001, 0.01))
    assert strict is not None
    assert loose is not None
    assert strict.seconds > loose.seconds
    assert strict.failed > loose.failed


def test_a_fault_that_is_no_fault_is_never_noticed():
    assert noticed(0.0, 5.0, 1.0) is None
    assert noticed(100.0, 5.0, 0.0) is None
    assert noticed_in(100.0, ((5.0, 60.0),), 0.001, 0.001) is None


def test_nothing_is_compared_at_100_percent():
    assert noticed(100.0, 100.0, 1.0) is None
    assert noticed_in(100.0, ((100.0, 900.0),), 1.0) is None


def test_later_steps_find_what_the_first_is_too_short_for():
    assert noticed_in(40.0, STEPS[:1], 0.02) is None
    found = noticed_in(40.0, STEPS, 0.02)
    assert found is not None
    assert 60 < found.seconds < 240


def test_before_the_start_a_switch_says_what_it_can_find():
    assert promise(40.0, STEPS, 0.001, 720.0, 10.0) == (
        "will notice 2 % errors with 95 % probability after about 11 failed requests; "
        "about 12 min at 40 req/s (`--now`: 10 s)"
    )


def test_too_little_traffic_is_said():
    assert promise(0.01, STEPS, 0.001, 720.0, 10.0) == (
        "too little traffic to notice anything by its errors; "
        "about 12 min at 0.01 req/s (`--now`: 10 s)"
    )
    assert promise(0.0, STEPS, 0.001, 720.0, 10.0).startswith("no traffic lately")
