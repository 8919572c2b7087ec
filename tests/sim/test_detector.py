"""A few hundred simulated rollouts; `python -m tests.bench detector` tells many thousands."""

from __future__ import annotations

import pytest

from tests.bench.detector import ALL, Score, one

RUNS = {"fails 100.0%": 50, "fails 5.0%": 50, "fails 1.0%": 30}
FEW = 8


def numbers(good, rates):
    return [n for n, s in enumerate(ALL) if s.good is good and s.rate in rates and not _timed(s)]


def _timed(scenario):
    """Those draw every single time: for the bench."""
    return "cold" in scenario.name or "more" in scenario.name


def scored(number, runs):
    score = Score()
    for run in range(runs):
        score.add(one(number, run).ours)
    return score


@pytest.mark.parametrize(
    "number", numbers(True, (0.1, 10, 100)), ids=lambda n: f"{ALL[n].name}, {ALL[n].rate:g}"
)
def test_a_good_release_is_let_through(number):
    # One of eight is more than bad luck wherever 2 % are allowed.
    assert scored(number, FEW).back <= (1 if (ALL[number].most or 0) >= 0.01 else 0)


@pytest.mark.parametrize(
    "number", [n for n in numbers(False, (100,)) if ALL[n].name in RUNS], ids=lambda n: ALL[n].name
)
def test_a_bad_release_is_found_with_few_victims(number):
    runs = RUNS[ALL[number].name]
    score = scored(number, runs)
    assert score.back == runs
    # The mean of so few runs strays; the bench holds it to the number itself.
    assert score.victims / runs <= 1.35 * ALL[number].most
