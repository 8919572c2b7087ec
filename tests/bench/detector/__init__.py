"""Many simulated rollouts, judged by the product's detector and beside it by two rules of others.

    python -m tests.bench detector                   the full numbers
    python -m tests.bench.detector --runs 500        at most 500 rollouts of each kind
    python -m tests.bench.detector --only stall      some of the kinds

Seeded: the same numbers come out each time. What is simulated is described in `traffic`, `scenarios`
(what happens) and `rollout` (the default policy).
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.bench.detector.rollout import Seen, Told, roll
from tests.bench.detector.scenarios import ALL, Scenario
from tests.bench.verdicts import Line

_CHUNK = 25


@dataclass
class Score:
    """Of one judge: how often it went back, when, and how many requests failed on the candidate."""

    runs: int = 0
    back: int = 0
    victims: int = 0
    seconds: float = 0.0

    def add(self, seen: Seen) -> None:
        self.runs += 1
        self.victims += seen.victims
        if seen.at is not None:
            self.back += 1
            self.seconds += seen.at


@dataclass
class Scores:
    ours: Score
    threshold: Score
    repeated: Score

    def add(self, told: Told) -> None:
        self.ours.add(told.ours)
        self.threshold.add(told.threshold)
        self.repeated.add(told.repeated)


def one(number: int, run: int) -> Told:
    """A rollout of scenario `number`; the same for the same numbers."""
    scenario = ALL[number]
    seed = f"{scenario.name}, {scenario.rate}/s, {run}"
    world = scenario.world(scenario.rate, random.Random(f"world: {seed}"))
    return roll(world, seed, scenario.tick)


def measure(most: int | None = None, only: str = "") -> tuple[Line, ...]:
    """`most`: rollouts of each scenario, None: as many as it wants. `only`: those with this in their
    names.
    """
    jobs = [
        (number, runs)
        for number, scenario in enumerate(ALL)
        if only in scenario.name
        for runs in _chunks(_runs(scenario, most))
    ]
    scores = {number: Scores(Score(), Score(), Score()) for number in range(len(ALL))}
    # Not forked: threads may run in this process.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(2, os.cpu_count() or 1)) as pool:
        done: list[Line] = []
        # In order, so that each scenario is told as soon as it is over: all of them take a while.
        for (number, runs), told in zip(jobs, pool.imap(_several, jobs), strict=True):
            for each in told:
                scores[number].add(each)
            if runs.stop == _runs(ALL[number], most):
                done.append(_line(ALL[number], scores[number]))
                print(f"  {done[-1].what}: {done[-1].measured}", file=sys.stderr, flush=True)
    return tuple(done)


def _runs(scenario: Scenario, most: int | None) -> int:
    return min(scenario.runs, most or scenario.runs)


def _chunks(runs: int) -> Iterator[range]:
    return (range(first, min(runs, first + _CHUNK)) for first in range(0, runs, _CHUNK))


def _several(job: tuple[int, Iterable[int]]) -> list[Told]:
    number, runs = job
    return [one(number, run) for run in runs]


def _line(scenario: Scenario, scores: Scores) -> Line:
    ours = scores.ours
    what = f"{scenario.name}, {scenario.rate:g}/s"
    others = f"Flagger's rule {_short(scenario, scores.threshold)}, z-test {_short(scenario, scores.repeated)}"
    if scenario.good:
        measured = f"rolled back {ours.back} of {ours.runs}"
        met = None if scenario.most is None else ours.back <= scenario.most * ours.runs
        target = "" if scenario.most is None else f"≤ {scenario.most:.1%}"
    else:
        mean = ours.victims / ours.runs
        when = f" after {ours.seconds / ours.back:.0f} s" if ours.back else ""
        measured = f"{mean:.1f} requests failed, found {ours.back} of {ours.runs}{when}"
        target = "" if scenario.most is None else f"≤ {scenario.most:g}"
        met = None if scenario.most is None else mean <= scenario.most
        if scenario.least is not None:
            target, met = f"≥ {scenario.least:.0%} found", ours.back >= scenario.least * ours.runs
    return Line(what, f"{measured} ({others})", target, met, binding=met is not None)


def _short(scenario: Scenario, score: Score) -> str:
    if scenario.good:
        return f"{score.back / score.runs:.1%}"
    return f"{score.victims / score.runs:.0f} failed, {score.back / score.runs:.0%} found"
