"""The advice of a rehearsal: pure numbers, in words that can be typed into the config."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relctl.asking import seconds
from reld.core.model import Counts
from reld.core.rehearsal_result import Setting, beyond, nice, said, shown
from reld.host.longest import longest

LONGEST = "the longest request took"


@pytest.mark.parametrize(
    ("now", "measured", "advice"),
    [
        (30.0, 0.4, 'drain = "30s": as it is (the longest request took 400 ms)'),
        (30.0, 15.0, 'drain = "30s": as it is (the longest request took 15 s)'),
        (30.0, 22.5, 'drain = "45s": the longest request took 22.5 s, it should be twice that'),
        (30.0, 70.0, 'drain = "3m": the longest request took 70 s, it should be twice that'),
        (0.0, 0.0, 'drain = "0ms": as it is (the longest request took 0 s)'),
        (300.0, 0.02, 'drain = "5s" would do: the longest request took 20 ms, 300 s is much'),
    ],
)
def test_the_advice_for_a_setting(now, measured, advice):
    assert said(Setting("drain", now, measured, LONGEST, 5.0)) == advice


@given(st.floats(0, 5000), st.floats(0, 5000))
def test_what_is_advised_is_never_less_than_twice_what_was_measured(now, measured):
    told = said(Setting("drain", now, measured, LONGEST, 5.0))
    if "as it is" in told:
        assert now >= 2 * measured
    else:
        value = float(seconds(told.split('"')[1]))
        assert value >= 2 * measured
        # Following it is the end of it.
        assert "as it is" in said(Setting("drain", value, measured, LONGEST, 5.0))


@given(st.floats(0.001, 100_000))
def test_a_nice_number_is_never_less(number):
    assert number <= nice(number)
    assert shown(nice(number)).strip('"')[-1] in "sm"


def test_errors_of_the_copy_are_lost_only_beyond_those_of_the_live_slot():
    assert beyond(Counts(0), Counts(0)) == 0
    assert beyond(Counts(1000, 0), Counts(50, 2)) == 2
    assert beyond(Counts(1000, 10), Counts(50, 1)) == 0
    assert beyond(Counts(1000, 10), Counts(50, 4)) == 3
    assert beyond(Counts(0, 0), Counts(3, 1)) == 1


def line(seconds: str, address: str = "127.0.0.1:21003", kind: str = "plain") -> str:
    return f"1700000000.123|{seconds}|0.001|-|{address}|200|200|GET|{kind}|-|7|3|-"


def test_the_longest_request_is_one_that_an_app_answered_in_the_end():
    lines = [
        line("0.120"),
        line("2.500"),
        line("9.000", kind="stream"),
        line("8.000", address="-"),
        "1700000000.123|-|12|-|beat",
        line("nan"),
        line("1e9"),
        "",
    ]
    assert longest(lines) == 2.5
    assert longest([]) == 0.0
