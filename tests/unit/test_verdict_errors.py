"""The bet on failures: what it wins, what it may not win, and when it speaks."""

from __future__ import annotations

import math
import random

import pytest

from reld.core.verdict import eprocess
from reld.core.verdict.eprocess import NOTHING, Bet, Counts
from reld.core.verdict.errors import (
    BET,
    begin_errors,
    charge,
    counted,
    errors_judged,
    errors_rested,
    errors_seen,
    errors_step,
    level,
    slight,
)
from reld.core.verdict.refusals import begin_refusals, more_refusals, refusals_judged
from reld.core.verdict.sample import RouteTally, Tally


def begun(share=5, routes=(), false_alarm=0.001):
    return errors_step(begin_errors(false_alarm, routes, 1200.0), share)


def seen(errors, old=(0, 0), new=(0, 0), routes=()):
    return errors_seen(errors, Tally(*old), Tally(*new), routes)


def blocks(errors, number, old, new):
    for _ in range(number):
        errors = errors_judged(seen(errors, old, new), 2)
    return errors


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.95])
def test_an_innocent_wins_nothing_on_average(share):
    """One failure: the stake times the chance of each outcome is the stake."""
    process = eprocess.moved(eprocess.begin(BET, 1e-9, 1200.0), share)
    on_new = math.exp(eprocess.peek(process, BET, Counts(100, 0, 100, 1)))
    on_old = math.exp(eprocess.peek(process, BET, Counts(100, 1, 100, 0)))
    assert share * on_new + (1 - share) * on_old == pytest.approx(1.0)


def test_twice_as_often_is_fair_when_twice_is_allowed():
    bet, share = Bet((4.0, 10.0), fair=2.0), 0.25
    process = eprocess.moved(eprocess.begin(bet, 1e-9, 1200.0), share)
    chance = 2 * share / (1 - share + 2 * share)
    on_new = math.exp(eprocess.peek(process, bet, Counts(100, 0, 100, 1)))
    on_old = math.exp(eprocess.peek(process, bet, Counts(100, 1, 100, 0)))
    assert chance * on_new + (1 - chance) * on_old == pytest.approx(1.0)


def test_the_stake_reaches_a_tenth_of_the_way_for_a_tenth_of_the_innocents_at_most():
    """Ville's inequality, with 1/20 for 1/alpha, over the steps of a rollout."""
    rng, over = random.Random(7), 0
    for _ in range(1000):
        process = eprocess.begin(BET, 1 / 20, 300.0)
        highest = 0.0
        for share in (0.05, 0.25, 0.5):
            process = eprocess.moved(process, share)
            for _ in range(40):
                failed = sum(rng.random() < 0.3 for _ in range(2))
                new = sum(rng.random() < share for _ in range(failed))
                block = Counts(200 * (1 - share), failed - new, 200 * share, new)
                process = eprocess.judged(process, BET, block, 2)
                highest = max(highest, process.value)
        over += highest >= process.needed - 1e-9
    assert over <= 50


def test_a_block_brings_a_third_of_what_is_needed_at_most():
    one = errors_judged(seen(begun(25), (150, 0), (50, 15)), 2)
    assert level(one) == pytest.approx(1 / 3)
    assert charge(one) is None


def test_failures_that_go_on_are_found():
    errors = blocks(begun(25), 2, (150, 0), (50, 5))
    assert charge(errors) is None
    errors = seen(blocks(errors, 1, (150, 0), (50, 5)), (150, 0), (50, 5))
    found = charge(errors)
    assert found is not None
    assert found.odds >= 2500 * (1 - 1e-9)
    assert found.counts == Counts(600, 0, 200, 20)


def test_two_failures_are_never_enough():
    errors = blocks(begun(5), 1, (500, 0), (26, 1))
    errors = blocks(errors, 1, (500, 0), (26, 0))
    assert charge(seen(errors, (500, 0), (26, 1))) is None


def test_both_failing_alike_is_no_evidence():
    errors = blocks(begun(25), 20, (150, 75), (50, 25))
    assert level(errors) == 0.0


def test_a_tiny_difference_is_proven_and_does_not_matter():
    """0.02 % against 0.00 %, at thousands of requests a second."""
    errors = begun(25)
    for _ in range(12):
        errors = blocks(errors, 4, (7500, 0), (2500, 0))
        errors = blocks(errors, 1, (7500, 0), (2500, 2))
    assert slight(errors)
    assert charge(errors) is None


def test_nearly_everything_failing_needs_six_requests():
    five = seen(begun(5), (100, 0), (5, 5))
    assert charge(five) is None
    found = charge(seen(five, (0, 0), (1, 1)))
    assert found is not None
    assert found.odds > 1000


def test_eighty_percent_of_ten_are_enough():
    assert charge(seen(begun(5), (190, 0), (10, 7))) is None
    assert charge(seen(begun(5), (190, 0), (10, 8))) is not None


@pytest.mark.parametrize("old", [(0, 0), (9, 0), (100, 11)])
def test_the_old_slot_must_be_proven_healthy_for_the_fast_path(old):
    assert charge(seen(begun(50), old, (100, 100))) is None


def test_a_collapse_is_seen_across_two_blocks_but_not_across_a_gap():
    first = seen(begun(5), (100, 0), (4, 4))
    near, far = errors_judged(first, 2), errors_judged(first, 4)
    assert charge(seen(near, (100, 0), (3, 3))) is not None
    assert charge(seen(far, (100, 0), (3, 3))) is None


def test_a_route_alone_is_found_with_its_own_counts():
    errors = begun(25, ("checkout", "search"))
    for _ in range(4):
        checkout = RouteTally("checkout", Tally(15, 0), Tally(5, 2))
        errors = seen(errors, (15, 0), (5, 2), (checkout,))
        # All the rest fails on the old slot: together there is nothing to see.
        errors = errors_judged(seen(errors, (3000, 30), (1000, 0)), 2)
    errors = seen(errors, (15, 0), (5, 2), (checkout,))
    found = charge(errors)
    assert found is not None
    assert (found.route, found.counts) == ("checkout", Counts(75, 0, 25, 10))


def test_an_unnamed_route_is_nobodys():
    errors = begun(25, ("checkout",))
    assert seen(errors, routes=(RouteTally("gone", Tally(1), Tally(1)),)).routes == errors.routes


def test_the_routes_share_the_budget():
    alone, shared = begin_errors(0.001, (), 1200.0), begin_errors(0.001, ("a", "b"), 1200.0)
    assert math.exp(-alone.process.needed) == pytest.approx(0.0004)
    parts = [shared.process, *(route.process for route in shared.routes)]
    assert sum(math.exp(-p.needed) for p in parts) == pytest.approx(0.0004)


def test_a_block_that_rests_changes_no_stake():
    errors = blocks(begun(25), 1, (150, 0), (50, 2))
    rested = errors_rested(seen(errors, (150, 100), (50, 20)), 2)
    assert rested.process.value == pytest.approx(errors.process.value)
    assert counted(rested).new_failed == 22


def test_without_a_share_nothing_is_judged():
    errors = blocks(begun(0), 5, (100, 0), (10, 10))
    assert level(errors) == 0.0
    assert charge(seen(errors, (100, 0), (10, 10))) is None
    assert counted(errors) == NOTHING


def test_a_fault_that_begins_after_an_hour_is_found():
    errors = blocks(begun(25), 1800, (150, 1), (50, 0))
    errors = blocks(errors, 12, (150, 0), (50, 3))
    assert charge(seen(errors, (150, 0), (50, 3))) is not None


def test_any_number_of_failures_stays_a_number():
    for old, new in (((10**6, 10**6), (10**6, 0)), ((10**6, 0), (10**6, 10**6))):
        errors = blocks(begun(50), 200, old, new)
        assert all(math.isfinite(log) for log in errors.process.logs)
        assert math.isfinite(errors.process.value)


def test_the_share_is_what_is_counted_drawn_to_the_lanes():
    process = eprocess.moved(eprocess.begin(BET, 0.001, 1200.0), 0.5)
    assert eprocess.share(process) == 0.5
    for _ in range(100):
        process = eprocess.judged(process, BET, Counts(75, 0, 25, 0), 2)
    assert eprocess.share(process) == pytest.approx(0.25, abs=0.005)


def refusing(old, new):
    process = eprocess.moved(begin_refusals(0.001, 1200.0), 0.25)
    for _ in range(20):
        process = refusals_judged(process, Counts(150, old, 50, new), 2)
    return process


def test_twice_as_many_refusals_are_all_right():
    assert not more_refusals(refusing(6, 4))


def test_ten_times_as_many_refusals_are_told():
    assert more_refusals(refusing(3, 10))
