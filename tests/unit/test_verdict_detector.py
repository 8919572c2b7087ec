"""Samples in, findings out."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest

from reld.core.verdict.detector import (
    Detector,
    begin,
    find,
    known_times,
    next_step,
    observe,
    old_fails_too,
)
from reld.core.verdict.finding import Verdict
from reld.core.verdict.sample import RouteTally, Sample, Tally
from reld.core.verdict.settings import VerdictSettings
from reld.store import codec

START = 1_700_000_000


def begun(share=25, **settings):
    return next_step(begin(VerdictSettings(**settings)), share)


def fed(detector, seconds, old=(0, 0), new=(0, 0), first=None, **more):
    """The same in each of so many seconds."""
    first = (detector.last + 1 if detector.last else START) if first is None else first
    for second in range(first, first + seconds):
        sample = Sample(second, detector.share, Tally(*old), Tally(*new), **more)
        detector = observe(detector, sample)
    return detector


def test_a_healthy_release_is_fine_and_what_is_known_is_said():
    found = find(fed(begun(), 60, (75, 0), (25, 0)))
    assert (found.verdict, found.sentence, found.hold) == (Verdict.FINE, "", "")
    assert found.known == (
        "no failure in 1500 requests: error rate below 0.2 % with 95 % confidence"
    )


def test_a_bad_release_is_named_with_numbers_odds_and_the_place():
    detector = fed(begun(), 20, (75, 0), (25, 1), failed_at=(("checkout (POST)", 1),))
    found = find(detector)
    assert found.verdict is Verdict.WORSE
    assert found.sentence.startswith("{new} failed ")
    assert ", {old} none of " in found.sentence
    assert found.sentence.endswith("; all on checkout (POST)")
    assert "; by chance once in " in found.sentence
    assert found.odds >= 2500 * (1 - 1e-9)


def test_a_verdict_stays():
    bad = fed(begun(), 20, (75, 0), (25, 2))
    later = fed(bad, 60, (75, 0), (25, 0))
    assert find(later).verdict is Verdict.WORSE
    assert find(later).sentence == find(bad).sentence


def test_open_evidence_holds_the_share():
    found = find(fed(fed(begun(5), 10, (95, 0), (5, 0)), 1, (95, 0), (5, 2)))
    assert found.verdict is Verdict.FINE
    assert found.hold == "not clear yet: {new} failed 2 of 55 requests (3.6 %), {old} none of 1045"
    assert 0 < found.errors < 1


def test_both_failing_is_the_environment_until_it_is_over():
    calm = fed(begun(), 30, (75, 0), (25, 0))
    bad = fed(calm, 6, (75, 37), (25, 13))
    found = find(bad)
    assert found.verdict is Verdict.ENVIRONMENT
    assert found.sentence.startswith(
        "both slots are failing: the environment, not the release ({new} 52 %, {old} 49 %"
    )
    assert find(fed(bad, 16, (75, 0), (25, 0))).verdict is Verdict.FINE


def test_no_evidence_is_taken_while_the_environment_is_bad():
    bad = fed(fed(begun(), 30, (75, 0), (25, 0)), 6, (75, 37), (25, 13))
    before = bad.errors.process.value
    worse = fed(bad, 60, (75, 20), (25, 18))
    assert find(worse).verdict is Verdict.ENVIRONMENT
    assert worse.errors.process.value == pytest.approx(before)


def test_an_app_that_always_fails_a_little_is_not_in_trouble():
    detector = begun()
    for second in range(300):
        detector = fed(detector, 1, (75, 4), (25, 1 + second % 2))
    assert find(detector).verdict is Verdict.FINE


def test_a_candidate_that_fails_far_more_is_no_environment():
    calm = fed(begun(), 30, (75, 0), (25, 0))
    assert find(fed(calm, 8, (75, 3), (25, 20))).verdict is Verdict.WORSE


def test_trouble_that_does_not_end_becomes_usual():
    bad = fed(fed(begun(), 30, (75, 0), (25, 0)), 100, (75, 8), (25, 3))
    assert find(bad).verdict is Verdict.ENVIRONMENT
    assert find(fed(bad, 900, (75, 8), (25, 3))).verdict is Verdict.FINE


def test_a_candidate_that_gets_nothing_blinds():
    found = find(fed(begun(5), 5, (95, 0)))
    assert found.verdict is Verdict.BLIND
    assert found.sentence == (
        "the gate gives {new} nothing: not one request at 5 %, about 25 were to be expected"
    )
    assert find(fed(begun(5), 3, (95, 0))).verdict is Verdict.FINE


def test_what_was_expected_begins_anew_with_each_step():
    assert find(next_step(fed(begun(5), 30, (95, 0)), 25)).verdict is Verdict.FINE


def everything(seconds=60):
    return next_step(fed(begun(50), seconds, (50, 0), (50, 0)), 100)


def test_failures_at_100_percent_raise_doubt_and_no_more():
    detector = everything()
    assert find(fed(detector, 40, (0, 0), (100, 5))).verdict is Verdict.FINE
    found = find(fed(detector, 70, (0, 0), (100, 5)))
    assert found.verdict is Verdict.DOUBT
    assert "{old} gets no traffic to compare with" in found.sentence


def test_a_collapse_at_100_percent_raises_doubt_within_half_a_minute():
    assert find(fed(everything(), 30, (0, 0), (100, 100))).verdict is Verdict.DOUBT


def test_a_hiccup_of_20_seconds_at_100_percent_raises_no_doubt():
    detector = fed(everything(), 15, (0, 0), (100, 0))
    for _ in range(24):
        detector = fed(detector, 1, (0, 0), (100, 50 if _ < 20 else 0))
        assert find(detector).verdict is Verdict.FINE


def test_doubt_that_the_old_slot_shares_needs_as_much_again():
    doubted = fed(everything(), 30, (0, 0), (100, 100))
    shared = old_fails_too(doubted)
    assert find(shared).verdict is Verdict.FINE
    assert find(fed(shared, 30, (0, 0), (100, 100))).verdict is Verdict.FINE
    over = fed(fed(shared, 10, (0, 0), (100, 100)), 20, (0, 0), (100, 0))
    assert find(fed(over, 40, (0, 0), (100, 100))).verdict is Verdict.DOUBT


def test_more_refusals_hold_and_ask_and_never_go_back():
    detector = fed(begun(), 90, (75, 0, 1), (25, 0, 10))
    found = find(detector)
    assert (found.verdict, found.asks) == (Verdict.FINE, True)
    assert found.hold == ("{new} refuses more often (4xx): 40 % of its requests, {old} 1.3 %")


def test_a_slow_candidate_is_found_and_not_before_it_is_warm():
    times = tuple((number, 20) for number in range(30, 50))
    detector = next_step(known_times(begin(VerdictSettings(warmup=30.0)), times), 25)
    old = (75, 0, 0, ((35, 74), (49, 1)))
    slow = (25, 0, 0, ((60, 25),))
    early = fed(fed(detector, 1, (75, 0, 0, ((35, 75),)), (25, 0, 0, ((35, 25),))), 20, old, slow)
    assert find(early).verdict is Verdict.FINE
    calm = fed(detector, 120, old, (25, 0, 0, ((35, 25),)))
    found = find(fed(calm, 60, old, slow))
    assert found.verdict is Verdict.WORSE
    assert "took longer than" in found.sentence


def test_requests_that_pile_up_are_found():
    detector = fed(begun(), 10, (75, 0), (25, 0), old_waiting=0, new_waiting=0)
    for waiting in range(1, 8):
        detector = fed(detector, 1, (75, 0), (0, 0), old_waiting=0, new_waiting=25 * waiting)
    assert find(detector).verdict is Verdict.WORSE


def test_a_limit_of_the_config_is_kept():
    calm = fed(begun(max_error_rate=0.05), 30, (75, 2), (25, 1))
    assert find(fed(calm, 30, (75, 2), (25, 4))).verdict is Verdict.WORSE


def test_a_clock_that_is_set_back_or_leaps_costs_nothing():
    detector = fed(begun(), 10, (75, 0), (25, 0))
    back = fed(detector, 10, (75, 0), (25, 1), first=START - 3600)
    assert back.clock == detector.clock + 9
    leap = fed(detector, 10, (75, 0), (25, 1), first=START + 10**6)
    assert leap.clock - detector.clock <= 60 + 9
    assert find(leap).verdict is not Verdict.BLIND


def test_late_lines_belong_to_now():
    detector = fed(begun(), 10, (75, 0), (25, 0))
    late = fed(detector, 1, (75, 0), (25, 0), first=detector.last - 3)
    assert (late.clock, late.last) == (detector.clock, detector.last)


def test_nothing_is_judged_before_the_candidate_has_a_share():
    detector = begin(VerdictSettings())
    assert find(fed(detector, 60, (100, 0), (10, 10))).verdict is Verdict.FINE


def stream(seed, bad):
    rng = random.Random(seed)
    for second in range(START, START + 200):
        old = sum(rng.random() < 0.002 for _ in range(75))
        new = sum(rng.random() < bad for _ in range(25))
        routes = (RouteTally("a", Tally(30, old and rng.randrange(old + 1)), Tally(10, new)),)
        yield Sample(second, 25, Tally(75, old), Tally(25, new), routes)


def parted(sample, rng):
    """Two parts of a sample; the failures fall into either."""

    def cut(tally):
        requests = rng.randint(tally.failures, tally.requests)
        first = Tally(requests, rng.choice((0, tally.failures)))
        return first, Tally(tally.requests - requests, tally.failures - first.failures)

    (old, old_rest), (new, new_rest) = cut(sample.old), cut(sample.new)
    routes = tuple(RouteTally(r.name, Tally(), r.new) for r in sample.routes)
    rest = tuple(RouteTally(r.name, r.old, Tally()) for r in sample.routes)
    yield replace(sample, old=old, new=new, routes=routes)
    yield replace(sample, old=old_rest, new=new_rest, routes=rest)


@pytest.mark.parametrize("bad", [0.002, 0.01, 0.03, 0.3])
def test_neither_parts_nor_a_restart_change_the_verdict(bad):
    rng = random.Random(3)
    for seed in range(5):
        whole = parts = kept = begun(routes=("a",))
        for sample in stream(seed, bad):
            whole = observe(whole, sample)
            for part in parted(sample, rng):
                parts = observe(parts, part)
            kept = codec.loads(Detector, codec.dumps(observe(kept, sample)))
            if whole.worse or parts.worse:
                break
            assert parts.errors.process.value == pytest.approx(whole.errors.process.value)
        assert kept == whole
        assert bool(parts.worse) == bool(whole.worse)


def test_the_order_within_a_second_does_not_matter():
    both = fed(begun(), 9, (75, 0), (25, 0))
    old, new = Tally(75, 3), Tally(25, 2)
    second = both.last + 1
    one = observe(observe(both, Sample(second, 25, old)), Sample(second, 25, new=new))
    other = observe(observe(both, Sample(second, 25, new=new)), Sample(second, 25, old))
    assert find(one) == find(other) == find(observe(both, Sample(second, 25, old, new)))


def test_the_state_does_not_grow_and_holds_only_numbers():
    def size(value):
        if isinstance(value, dict):
            return sum(map(size, value.values()))
        if isinstance(value, list):
            return sum(map(size, value))
        return 1

    def look(detector):
        text = codec.dumps(detector)
        return size(json.loads(text, parse_constant=pytest.fail))

    rng = random.Random(1)
    detector = fed(begun(), 60, (75, 1), (25, 0))
    early = look(detector)
    for share in (5, 25, 50, 95, 100):
        detector = next_step(detector, share)
        for number in range(200):
            failed = rng.choice((0, 0, 0, 1000))
            places = ((f"page {number}", failed),) if failed else ()
            detector = fed(detector, 1, (1000, failed), (1000, failed), failed_at=places)
            found = find(detector)
            assert math.isfinite(found.errors)
            assert math.isfinite(found.odds)
    assert look(detector) <= early + 120


@pytest.mark.parametrize("stragglers", [0, 9])
def test_at_100_percent_stragglers_of_before_are_no_control(stragglers):
    detector = next_step(begin(VerdictSettings()), 50)
    for second in range(60):
        detector = observe(detector, Sample(second, 50, Tally(200), Tally(200)))
    detector = next_step(detector, 100)
    detector = observe(detector, Sample(60, 100, Tally(stragglers)))
    found = []
    for second in range(61, 200):
        detector = observe(detector, Sample(second, 100, Tally(), Tally(400, 260)))
        found.append(find(detector).verdict)
    assert Verdict.WORSE not in found
    assert found[-1] is Verdict.DOUBT
