from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reld.core.verdict.finding import Verdict
from reld.core.verdict.replay import (
    merged,
    replay,
    row,
    sample_of,
    step_row,
    times_row,
)
from reld.core.verdict.sample import LAST_BUCKET, RouteTally, Sample, Tally
from reld.core.verdict.settings import VerdictSettings

counts = st.integers(0, 10**6)
tallies = st.builds(
    Tally,
    counts,
    counts,
    counts,
    st.dictionaries(st.integers(0, LAST_BUCKET), st.integers(1, 10**6), max_size=5).map(
        lambda times: tuple(sorted(times.items()))
    ),
)
names = st.text(max_size=8)
samples = st.builds(
    Sample,
    st.integers(-(10**10), 10**10),
    st.integers(0, 100),
    tallies,
    tallies,
    st.lists(st.builds(RouteTally, names, tallies, tallies), max_size=2).map(tuple),
    st.lists(st.tuples(names, counts), max_size=2).map(tuple),
    st.none() | counts,
    st.none() | counts,
)


def rollout(every=0, seconds=120):
    """100 requests a second at 5 %; the candidate fails one of its five in every so many seconds."""
    rows = [times_row(((40, 5000), (45, 300))), step_row(1000, 5)]
    for second in range(1000, 1000 + seconds):
        failures = 1 if every and second % every == 0 else 0
        rows.append(row(Sample(second, 5, Tally(95), Tally(5, failures))))
    return rows


@given(samples)
def test_a_row_says_all_of_a_sample(sample):
    assert sample_of(json.loads(json.dumps(row(sample)))) == sample


def test_an_empty_second_is_a_short_row():
    assert row(Sample(17, 5)) == [17, 5]


def test_parts_of_a_second_add_up():
    one = Sample(
        3,
        5,
        Tally(5, 1, 0, ((4, 2),)),
        Tally(1),
        (RouteTally("a", Tally(1), Tally(2, 1)),),
        (("x", 1),),
        4,
        5,
    )
    more = Sample(
        3,
        25,
        Tally(2, 0, 1, ((3, 1), (4, 1))),
        Tally(1, 1),
        (RouteTally("a", Tally(1)),),
        (("x", 2),),
    )
    assert merged(one, more) == Sample(
        3,
        25,
        Tally(7, 1, 1, ((3, 1), (4, 3))),
        Tally(2, 1),
        (RouteTally("a", Tally(2), Tally(2, 1)),),
        (("x", 3),),
        4,
        5,
    )


def test_a_healthy_rollout_would_not_have_gone_back():
    again = replay(rollout(), VerdictSettings())
    assert again.worse is None
    assert again.found == ()
    assert again.last.verdict is Verdict.FINE
    assert again.seconds == 119


def test_a_bad_one_would_have_gone_back_and_it_is_said_when_and_at_which_share():
    again = replay(rollout(every=1), VerdictSettings())
    assert again.worse is not None
    assert again.worse.share == 5
    assert 0 < again.worse.seconds < 60
    assert "{new} failed" in again.worse.finding.sentence


def test_a_stricter_budget_finds_it_later():
    loose = replay(rollout(every=4), VerdictSettings(false_alarm=0.05)).worse
    strict = replay(rollout(every=4), VerdictSettings(false_alarm=0.00001)).worse
    assert loose is not None
    assert strict is not None
    assert loose.seconds < strict.seconds


def test_a_rollout_without_rows_says_nothing():
    again = replay([], VerdictSettings())
    assert again.found == ()
    assert again.seconds == 0


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        ("x", "a row is not a list but str"),
        (None, "a row is not a list but NoneType"),
        ([], "a row has 2 to 8 fields, this one has 0"),
        ([1], "a row has 2 to 8 fields, this one has 1"),
        ([1.5, 5], "the second is not a whole number but 1.5"),
        ([True, 5], "the second is not a whole number but True"),
        ([1, 101], "the share is not between 0 and 100 but 101"),
        ([1, 5, [1]], "the old slot has 1 counts, 3 at least are needed"),
        ([1, 5, [1, 0, -1]], "a count of the old slot is not between"),
        ([1, 5, [], [1, 0, 0, 4]], "the candidate: a bucket has no count"),
        ([1, 5, [], [1, 0, 0, 999, 1]], "a bucket of the candidate is not between"),
        ([1, 5, [], [1, 0, 0, 4, 1, 4, 1]], "the candidate: the buckets are not in order"),
        ([1, 5, [], [], [["a"]]], "a route is a name and the counts of two slots"),
        ([1, 5, [], [], [], [["a", "b"]]], "the count of a is not a whole number but 'b'"),
        (["step", 5], "a step has 3 fields, this one has 2"),
        (["step", 5, 400], "the share is not between 0 and 100 but 400"),
        (["times", [3]], "the times: a bucket has no count"),
        (["times"], "a row of times has 2 fields, this one has 1"),
    ],
)
def test_a_damaged_row_is_an_error_that_says_which_and_why(damaged, why):
    with pytest.raises(ValueError) as caught:
        replay([*rollout()[:4], damaged], VerdictSettings())
    assert str(caught.value).startswith("cannot replay: row 5: ")
    assert why in str(caught.value)


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats() | st.booleans(), st.lists))
def test_any_nonsense_is_an_error_or_a_sample(nonsense):
    try:
        sample_of(nonsense)
    except ValueError:
        pass
