"""What can happen during a rollout, and what the product promises for each."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.detector.rollout import BAKE, COARSE, FINE, shifting
from tests.bench.detector.traffic import Times, Trouble, World

RATES = (0.1, 1, 10, 100, 1000)
STALL_EVERY, STALL, STALL_FAILS = 600.0, 2.0, 0.3


@dataclass(frozen=True)
class Scenario:
    """`good`: the release is fine, and going back is wrong. `most`: the part of the rollouts that may
    go back wrongly, or the mean of failed requests of a bad release; None: shown and no more.
    `least`: the part of the bad ones that must be found. `runs`: of the full bench."""

    name: str
    rate: float
    world: Callable[[float, random.Random], World]
    runs: int
    good: bool = True
    most: float | None = None
    least: float | None = None
    tick: float = COARSE


def _fine(rate: float, rng: random.Random) -> World:
    return World(rate)


def _hiccup(part: float) -> Callable[[float, random.Random], World]:
    """The shared database for 20 s, at random; three of four before 100 %, where there is a choice."""

    def world(rate: float, rng: random.Random) -> World:
        before = shifting(rate)
        start = rng.uniform(0, before) if rng.random() < 0.75 else before + rng.uniform(0, BAKE)
        return World(rate, troubles=(Trouble(start, start + 20, part, part),))

    return world


def _stalls(rate: float, rng: random.Random) -> World:
    """Each slot's process for itself: 30 % fail for 2 s, every 10 min on average."""
    found = []
    for old, new in ((STALL_FAILS, 0.0), (0.0, STALL_FAILS)):
        at = rng.expovariate(1 / STALL_EVERY)
        while at < 5 * 600:
            found.append(Trouble(at, at + STALL, old, new))
            at += rng.expovariate(1 / STALL_EVERY)
    return World(rate, troubles=tuple(found))


def _bot(rate: float, rng: random.Random) -> World:
    """2 % of the requests are of one client that always fails and stays on its slot. All others ask
    every 10 s; counted once in 10 s and slot, that is half of their requests. The failing one is
    counted once a step."""
    return World(rate * 0.98 / 2, lane=rng.random())


def _outage(part: float) -> Callable[[float, random.Random], World]:
    """The shared database for 120 s, while the candidate has everything."""

    def world(rate: float, rng: random.Random) -> World:
        start = shifting(rate) + rng.uniform(0, BAKE - 120)
        trouble = Trouble(start, start + 120, part, part)
        return World(rate, troubles=(trouble,), probe_fails=((start, start + 120),))

    return world


def _cold(rate: float, rng: random.Random) -> World:
    return World(rate, times=Times(cold=5.0, decay=60.0))


def _tail(rate: float, rng: random.Random) -> World:
    """3 % take 2 s more: the median does not move."""
    return World(rate, times=Times(tail=0.03, extra=2.0))


def _bad(part: float) -> Callable[[float, random.Random], World]:
    return lambda rate, rng: World(rate, new=part)


def _good(name: str, world: Callable[[float, random.Random], World], rates, runs, most) -> list:
    return [Scenario(name, rate, world, runs, most=most) for rate in rates]


ALL: tuple[Scenario, ...] = (
    *_good("healthy", _fine, RATES, 10_000, 0.001),
    *_good("20-s hiccup of both, 5 % fail", _hiccup(0.05), (1, 10, 100, 1000), 4_000, 0.001),
    *_good("20-s hiccup of both, 50 % fail", _hiccup(0.5), (1, 10, 100, 1000), 4_000, 0.001),
    *_good("processes stall", _stalls, (1, 10, 30, 100, 300, 1000), 2_000, 0.02),
    *_good("bad bot, sticky split", _bot, (1, 10, 100, 1000), 2_000, 0.02),
    *_good("120-s outage at 100 %, all fail", _outage(1.0), (1, 10, 100, 1000), 2_000, 0.01),
    *_good("120-s outage at 100 %, 50 % fail", _outage(0.5), (1, 10, 100, 1000), 2_000, 0.01),
    *_good("cold start, 5 times as slow", _cold, (10,), 2_000, 0.001),
    *_good("cold start, 5 times as slow", _cold, (100,), 1_000, 0.001),
    *(
        Scenario(f"fails {part:.1%}", rate, _bad(part), 2_000, good=False, most=most, tick=FINE)
        for part, most in (
            (0.005, None),
            (0.01, 8.0),
            (0.02, None),
            (0.05, 6.0),
            (0.2, None),
            (1.0, 15.0),
        )
        for rate in (100,)
    ),
    *(
        Scenario(
            f"fails {part:.1%}",
            rate,
            _bad(part),
            500,
            good=False,
            tick=COARSE if rate < 1 else FINE,
        )
        for part in (0.01, 0.05, 1.0)
        for rate in (0.1, 1, 10, 1000)
    ),
    Scenario("3 % take 2 s more", 100, _tail, 200, good=False, least=0.95),
)
