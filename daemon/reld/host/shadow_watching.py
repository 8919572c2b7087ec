"""The shadow of a rollout under watch: copies against the live slot's GETs, by a detector of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from reld.core.model import Mirrored, Rollout
from reld.core.shadowing import mirrors
from reld.core.verdict import detector as judge
from reld.core.verdict.detector import Detector
from reld.core.verdict.finding import Finding, Verdict
from reld.core.verdict.sample import Sample, Tally, upper
from reld.nginx.counting import Counting
from reld.nginx.shadow_lines import compared

_NOT_SLOWER = 0.95


@dataclass(frozen=True, slots=True)
class KeptShadow:
    """What a reld that comes back goes on from. `detector` None: nothing was mirrored."""

    detector: Detector | None = None
    old: Tally = Tally()
    new: Tally = Tally()


class ShadowWatch:
    """Of one rollout; not safe for threads. `counting` knows both slots and tells no clients apart."""

    def __init__(self, counting: Counting, kept: KeptShadow = KeptShadow()) -> None:
        self._counting = counting
        self.kept = kept
        self.times: tuple[tuple[int, int], ...] = ()
        """How long the live slot took lately, as `Tally.times`."""

    def follows(self, rollout: Rollout) -> None:
        if self.kept.detector is None and watched(rollout):
            fresh = judge.known_times(judge.begin(rollout.policy.verdict), self.times)
            share = nominal_share(rollout.policy.shadow)
            self.kept = KeptShadow(judge.next_step(fresh, share))

    def feed(self, lines: Iterable[str], rollout: Rollout) -> None:
        if not watched(rollout) or self.kept.detector is None:
            return
        for sample in self._counting.feed(compared(lines)).samples:
            self.saw(sample)

    def saw(self, sample: Sample) -> None:
        """Also one without requests: time has passed, or somebody waits."""
        kept = self.kept
        if kept.detector is not None:
            seen = judge.observe(kept.detector, sample)
            self.kept = replace(
                kept, detector=seen, old=kept.old + sample.old, new=kept.new + sample.new
            )

    def finding(self) -> Finding | None:
        """None: nothing was mirrored yet. That no copy came is no trouble: then it shows nothing."""
        if self.kept.detector is None:
            return None
        found = judge.find(self.kept.detector)
        return Finding(known=found.known) if found.verdict is Verdict.BLIND else found

    def mirrored(self) -> Mirrored:
        old, new = self.kept.old, self.kept.new
        return Mirrored(new.requests, new.failures, _p95(new), _p95(old))


def watched(rollout: Rollout) -> bool:
    """Copies are made, as far as is known."""
    return mirrors(rollout) and rollout.shadow.since is not None


def nominal_share(shadow: float) -> int:
    """Percent of the copies among both, never too low: then failures of the copies are no surprise."""
    return max(1, min(99, math.ceil(100 * shadow / (1 + shadow) - 1e-9)))


def _p95(tally: Tally) -> float | None:
    left = (1 - _NOT_SLOWER) * tally.timed
    for number, count in reversed(tally.times):
        left -= count
        if left < 0:
            seconds = upper(number)
            return round(seconds, 4) if math.isfinite(seconds) else None
    return None
