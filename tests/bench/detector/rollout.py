"""One simulated rollout by the product's default policy, judged by the product's own detector."""

from __future__ import annotations

import random
from dataclasses import dataclass

from reld.core.verdict.baseline import doubtful
from reld.core.verdict.detector import begin, find, known_times, next_step, observe, old_fails_too
from reld.core.verdict.finding import Verdict
from reld.core.verdict.sample import Sample
from reld.core.verdict.settings import VerdictSettings
from tests.bench.detector.rivals import Repeated, Threshold
from tests.bench.detector.traffic import Stream, World

STEPS = (5, 25, 50, 95, 100)
STEP_TIME, STEP_REQUESTS, STEP_MAX, BAKE = 60.0, 300, 600.0, 600.0
LEAST = 10
"""Steps that could give the candidate fewer requests than this are skipped."""
COARSE, FINE = 2.0, 0.2
"""Seconds of a sample: whole blocks where nothing is to be found, the sensor's own rhythm where it is."""


@dataclass(frozen=True)
class Seen:
    """How one judge ended: `at` seconds (None: it let it pass), after so many failed requests."""

    at: float | None
    share: int
    victims: int


@dataclass(frozen=True)
class Told:
    """A rollout: its length in seconds, and how each judge ended."""

    seconds: float
    ours: Seen
    threshold: Seen
    repeated: Seen
    why: str = ""


def steps_at(rate: float) -> tuple[int, ...]:
    return tuple(share for share in STEPS if rate * share / 100 * STEP_MAX >= LEAST)


def shifting(rate: float) -> float:
    """Seconds until 100 %, without holds."""
    return (len(steps_at(rate)) - 1) * min(STEP_MAX, max(STEP_TIME, STEP_REQUESTS / rate))


class _Judge:
    def __init__(self) -> None:
        self.seen: Seen | None = None

    def back(self, at: float, share: int, victims: int) -> None:
        if self.seen is None:
            self.seen = Seen(at, share, victims)


def roll(world: World, seed: str, tick: float) -> Told:
    """`tick`: seconds of a sample, COARSE or FINE."""
    rng = random.Random(seed)
    stream = Stream(world, rng)
    detector = begin(VerdictSettings(planned=shifting(world.rate) + BAKE))
    if world.times is not None:
        detector = known_times(detector, stream.an_hour())
    rivals = (Threshold(), Repeated())
    ours, threshold, repeated = _Judge(), _Judge(), _Judge()
    phase = rng.randrange(10) * 2  # seconds on the log's clock when it begins
    sparse = world.rate * tick < 1
    at, victims, why = 0.0, 0, ""
    for share in steps_at(world.rate):
        detector = next_step(detector, share)
        stream.step(at)
        began, dealt = at, 0
        while True:
            if sparse:
                end = began + (BAKE if share == 100 else STEP_MAX)
                at = min(at + tick * int(stream.quiet() / tick), end - tick)
                old, new = stream.got_some(at, tick, share / 100)
            else:
                old, new = stream.got(at, tick, share / 100)
            if ours.seen is None:
                detector = observe(detector, Sample(phase + int(at + 1e-6), share, old, new))
            at += tick
            victims += new.failures
            dealt += old.requests + new.requests
            if ours.seen is None:
                if detector.worse:
                    ours.back(at, share, victims)
                    why = detector.worse
                elif share == 100 and new.failures and doubtful(detector.baseline):
                    finding = find(detector)
                    if finding.verdict is Verdict.DOUBT:
                        if world.old_slot_fails_its_probe(at):
                            detector = old_fails_too(detector)
                        else:
                            ours.back(at, share, victims)
                            why = finding.sentence
            pair = (old.requests, old.failures), (new.requests, new.failures)
            for rival, judge in zip(rivals, (threshold, repeated), strict=True):
                if judge.seen is None and rival.back(at, *pair):
                    judge.back(at, share, victims)
            if ours.seen and threshold.seen and repeated.seen:
                return Told(at, ours.seen, threshold.seen, repeated.seen, why)
            if ours.seen and tick < COARSE and int(at) % 2 == 0:
                tick, at = COARSE, float(int(at))
            if share == 100:
                if at - began >= BAKE:
                    break
            elif at - began >= STEP_MAX:
                break
            elif at - began >= STEP_TIME and dealt >= STEP_REQUESTS:
                if ours.seen:
                    break
                if tick < COARSE and int(at + 1e-6) == int(at - tick + 1e-6):
                    continue  # the core looks once a second
                finding = find(detector)
                if not finding.hold and finding.verdict is Verdict.FINE:
                    break
    passed = Seen(None, 100, victims)
    return Told(at, ours.seen or passed, threshold.seen or passed, repeated.seen or passed, why)
