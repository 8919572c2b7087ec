from __future__ import annotations

import pytest

from reld.core.verdict import words
from reld.core.verdict.sample import Tally


def test_both_names_are_filled_in_and_other_braces_stay():
    text = "{new} failed on /a/{id}, {old} did not; {new}"
    assert words.named(text, "v2", "v1") == "v2 failed on /a/{id}, v1 did not; v2"


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.0, "0 %"),
        (0.05, "5.0 %"),
        (3 / 2660, "0.1 %"),
        (0.00003, "0.003 %"),
        (0.000096, "0.01 %"),
        (0.00094, "0.09 %"),
        (0.00096, "0.1 %"),
        (0.12, "12 %"),
        (0.0996, "10 %"),
        (0.9999, "99.99 %"),
        (0.9961, "99.6 %"),
        (1.0, "100 %"),
    ],
)
def test_a_percentage_is_short_and_never_nothing_or_everything_by_rounding(fraction, text):
    assert words.percent(fraction) == text


def test_no_rate_between_nothing_and_all_reads_as_nothing_or_all():
    for exponent in range(1, 100):
        small = 10 ** (-exponent / 10)
        assert words.percent(small) != "0 %"
        assert float(words.percent(small).removesuffix(" %")) > 0
    assert words.percent(1 - 1e-9) != "100 %"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1 ms"),
        (0.18, "180 ms"),
        (0.99999, "1 s"),
        (2.42, "2.4 s"),
        (40, "40 s"),
        (100, "2 min"),
        (720, "12 min"),
        (7200, "2 h"),
    ],
)
def test_a_time_is_said_in_the_unit_that_people_use(seconds, text):
    assert words.span(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.1, "0.1"), (1, "1"), (5.34, "5.3"), (9.99, "10"), (40, "40"), (5312.4, "5300")],
)
def test_a_number_has_two_digits_that_count(number, text):
    assert words.amount(number) == text


def test_the_verdict_on_errors_reads_as_the_documentation_says():
    clause = words.failed(Tally(140, 7), Tally(2660, 3))
    where = words.place((("checkout (POST)", 6), ("home (GET)", 1)), 7)
    text = words.named(words.sentence(clause, 5312.4, where), "v2", "v1")
    assert text == (
        "v2 failed 7 of 140 requests (5.0 %), v1 3 of 2660 (0.1 %); "
        "by chance once in 5300 releases; 6 of 7 on checkout (POST)"
    )


def test_one_and_none_and_all_are_words():
    assert (
        words.failed(Tally(1, 1), Tally(300, 0))
        == "{new} failed all of 1 request, {old} none of 300"
    )
    assert (
        words.failed(Tally(9, 9), Tally())
        == "{new} failed all of 9 requests, {old} had no requests"
    )


def test_a_place_is_only_named_when_it_has_most_of_the_failures():
    assert words.place((("a", 2), ("b", 1), ("c", 2)), 5) == ""
    assert words.place((("a", 5),), 5) == "all on a"
    assert words.place((), 5) == ""


def test_without_odds_none_are_said():
    assert words.sentence("{new} hangs", 0.0) == "{new} hangs"


def test_no_failure_says_what_the_rule_of_three_says():
    assert words.known(212, 0) == (
        "no failure in 212 requests: error rate below 1.4 % with 95 % confidence"
    )


def test_few_requests_are_said_to_be_few():
    assert words.known(0, 0) == "no request yet: nothing is known"
    assert words.known(1, 1) == "1 failure in 1 request: too few to say anything"
    assert (
        words.known(1, 0) == "no failure in 1 request: error rate below 95 % with 95 % confidence"
    )


@pytest.mark.parametrize(
    ("failures", "requests", "bound"),
    [(0, 100, 0.02951), (1, 20, 0.21611), (5, 100, 0.10225), (10, 10000, 0.00169)],
)
def test_the_bound_is_that_of_clopper_and_pearson(failures, requests, bound):
    assert words.upper_bound(failures, requests) == pytest.approx(bound, rel=0.01)


def test_the_bound_of_many_failures_is_found_as_well():
    assert words.upper_bound(3000, 100_000) == pytest.approx(0.0309, rel=0.01)
