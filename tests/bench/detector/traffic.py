"""Simulated requests: what each slot got and what failed, span by span, with what goes wrong when.

Requests are a Poisson process that is dealt by the lanes' share; each fails on its own with the chance
that its slot has just then. Times are seconds since the rollout began.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from reld.core.verdict.sample import LAST_BUCKET, Tally

BASE = 0.001
FOREVER = math.inf


@dataclass(frozen=True)
class Trouble:
    """From `start` to `end` this part of the requests fails, beside what fails anyway."""

    start: float
    end: float
    old: float
    new: float

    def __call__(self, since: float, seconds: float) -> float:
        """How much of a span it lasts, 0 … 1."""
        overlap = min(since + seconds, self.end) - max(since, self.start)
        return max(0.0, overlap) / seconds


@dataclass(frozen=True)
class Times:
    """Times to the first byte: lognormal around `median` seconds. The candidate's are `cold` times as
    long when it starts, which decays with `decay` seconds; `tail` of its requests take `extra` more."""

    median: float = 0.05
    sigma: float = 0.6
    cold: float = 1.0
    decay: float = 60.0
    tail: float = 0.0
    extra: float = 0.0

    def factor(self, age: float) -> float:
        return 1 + (self.cold - 1) * math.exp(-age / self.decay)


@dataclass(frozen=True)
class World:
    """One rollout's traffic. `rate`: requests a second. `troubles`: in time. `lane`: with a sticky
    split, the lane (0 … 1) of a bot all of whose requests fail, None: no bot."""

    rate: float
    old: float = BASE
    new: float = BASE
    troubles: tuple[Trouble, ...] = ()
    lane: float | None = None
    times: Times | None = None
    probe_fails: tuple[tuple[float, float], ...] = ()

    def old_slot_fails_its_probe(self, at: float) -> bool:
        return any(start <= at < end for start, end in self.probe_fails)


class Stream:
    """`got(since, seconds, share)`: (old, new) tallies of a span; call it in the order of time."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.bot_due = 0.0

    def quiet(self) -> float:
        """Seconds until the next request of all."""
        return self.rng.expovariate(self.world.rate)

    def step(self, at: float) -> None:
        """The lanes were moved: a client that fails is counted once more."""
        # The bot asks 2 % as often as all together.
        self.bot_due = at + self.rng.expovariate(0.02 * self.world.rate)

    def got(self, since: float, seconds: float, share: float) -> tuple[Tally, Tally]:
        world = self.world
        all_of_it = world.rate * seconds
        old_bad, new_bad = world.old, world.new
        for trouble in world.troubles:
            part = trouble(since, seconds)
            if part:
                old_bad += part * trouble.old * (1 - world.old)
                new_bad += part * trouble.new * (1 - world.new)
        old = self._dealt(all_of_it * (1 - share), min(1.0, old_bad))
        new = self._dealt(all_of_it * share, min(1.0, new_bad))
        if world.lane is not None and since <= self.bot_due < since + seconds:
            if world.lane < share:
                new = (new[0] + 1, new[1] + 1)
            else:
                old = (old[0] + 1, old[1] + 1)
        if world.times is None:
            return Tally(*old), Tally(*new)
        return (
            Tally(*old, 0, self._timed(old[0], 1.0, 0.0)),
            Tally(*new, 0, self._timed(new[0], world.times.factor(since), world.times.tail)),
        )

    def an_hour(self) -> tuple[tuple[int, int], ...]:
        """What was known of the old slot's times before (thinned)."""
        return self._timed(3000, 1.0, 0.0)

    def got_some(self, since: float, seconds: float, share: float) -> tuple[Tally, Tally]:
        """The same, of a span in which something came."""
        while True:
            old, new = self.got(since, seconds, share)
            if old.requests or new.requests:
                return old, new

    def _dealt(self, requests: float, bad: float) -> tuple[int, int]:
        failed = poisson(self.rng, requests * bad)
        return poisson(self.rng, requests * (1 - bad)) + failed, failed

    def _timed(self, requests: int, factor: float, tail: float) -> tuple[tuple[int, int], ...]:
        times = self.world.times
        assert times is not None
        counts: dict[int, int] = {}
        rng, log = self.rng, math.log(1.1)
        middle, sigma = math.log(times.median * factor / 0.001), times.sigma
        for _ in range(requests):
            place = rng.gauss(middle, sigma)
            if tail and rng.random() < tail:
                place = math.log(math.exp(place) + times.extra / 0.001)
            number = min(LAST_BUCKET, max(0, math.ceil(place / log)))
            counts[number] = counts.get(number, 0) + 1
        return tuple(sorted(counts.items()))


def poisson(rng: random.Random, mean: float) -> int:
    """By Knuth's product of chances; from 30 on the normal law is near enough."""
    if mean <= 0:
        return 0
    if mean > 30:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    least, number, product = math.exp(-mean), 0, rng.random()
    while product > least:
        product *= rng.random()
        number += 1
    return number
