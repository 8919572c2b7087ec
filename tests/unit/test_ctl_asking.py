from __future__ import annotations

import math

import pytest

from relctl import asking
from relctl.errors import UsageError


@pytest.mark.parametrize("name", ["v2", "2026-11-23.1", "a_b", "V.2", "x" * 64, "v..", "a-"])
def test_a_release_name_of_the_pattern_is_taken(name):
    assert asking.release_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("../x", "'/' is none of"),
        ("a b", "' ' is none of"),
        ("v2\n", "none of"),
        ("vé", "'é' is none of"),
        ("٣", "none of"),
        ("x" * 65, "65 characters"),
        ("-x", "begins with a dash"),
        (".", "a dot"),
        ("..", "a dot"),
        (".v2", "a dot"),
    ],
)
def test_a_name_that_no_release_can_have_is_refused_with_the_reason(name, why):
    with pytest.raises(UsageError) as caught:
        asking.release_name(name)
    assert why in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("200ms", 0.2),
        ("0", 0),
        ("1.5", 1.5),
        ("1d", 86400),
    ],
)
def test_durations_are_seconds(text, seconds):
    assert asking.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "x", "-5s", "5 weeks", "1m30", "s", "1..2s", "nan", "inf"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(UsageError):
        asking.seconds(text)


def test_wait_lock_without_a_duration_waits_for_ever():
    assert asking.lock_seconds("") == math.inf


def test_steps_are_percents():
    assert asking.steps("5,25%,100") == [5, 25, 100]


@pytest.mark.parametrize("text", ["", "5", "100,5", "5,5,100", "0,100", "5,101", "a,100", "5;100"])
def test_steps_that_do_not_rise_to_100_are_refused(text):
    with pytest.raises(UsageError):
        asking.steps(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1/1000", 0.001),
        ("5%", 0.05),
        ("5 %", 0.05),
        ("0.05", 0.05),
        ("1/1", 1.0),
        (" 1 / 4 ", 0.25),
    ],
)
def test_a_share_is_a_ratio_a_percentage_or_a_number(text, value):
    assert asking.fraction(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "0", "-1/2", "2", "101%", "1/0", "5%/2", "nan", "inf", "one"])
def test_what_is_no_share_is_a_usage_error(text):
    with pytest.raises(UsageError, match="as a share"):
        asking.fraction(text)
