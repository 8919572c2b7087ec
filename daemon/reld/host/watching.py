"""One rollout under watch: log lines in, totals, evidence and a finding out; and what of it is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reld.core.model import Color, Counts, Rollout
from reld.core.verdict import detector as judge
from reld.core.verdict import words
from reld.core.verdict.detector import Detector
from reld.core.verdict.finding import Finding
from reld.core.verdict.replay import merged, row, step_row, times_row
from reld.core.verdict.sample import Sample
from reld.host.longest import longest
from reld.host.shadow_watching import KeptShadow, ShadowWatch, watched
from reld.nginx.counting import Counted, Counting, Seen

_OPEN_FOR = 3
"""Seconds after which no line of a second is expected any more, and its row is written."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a reld that comes back goes on from: written together with the place in the log.

    `rows`: bytes of the rows' file that belong to it; `open`: seconds that may still get lines.
    The addresses are kept, because a slot may be gone from the state before its last line is read.
    """

    rollout: int
    detector: Detector
    step: tuple[int, int] = (-1, 0)
    old: Seen = Seen()
    new: Seen = Seen()
    unattributed: int = 0
    nonsense: int = 0
    rows: int = 0
    open: tuple[Sample, ...] = ()
    old_addresses: tuple[str, ...] = ()
    new_addresses: tuple[str, ...] = ()
    turned_away: int = 0
    shadow: KeptShadow = KeptShadow()
    longest: float = 0.0


@dataclass(slots=True)
class Watching:
    """Of one rollout; not safe for threads. `counting` knows both slots' addresses."""

    rollout: Rollout
    counting: Counting
    kept: Kept
    lines: list[str] = field(default_factory=list)
    """Rows that are not in the file yet."""
    shadow: ShadowWatch = field(init=False)

    def __post_init__(self) -> None:
        self.shadow = ShadowWatch(self.counting.of_all(), self.kept.shadow)

    @classmethod
    def begun(
        cls,
        rollout: Rollout,
        counting: Counting,
        times: tuple[tuple[int, int], ...],
        old: tuple[str, ...] = (),
        new: tuple[str, ...] = (),
    ) -> Watching:
        """`times`: how long the live slot took lately; `old`, `new`: addresses of the slots."""
        fresh = judge.known_times(judge.begin(rollout.policy.verdict), times)
        watching = cls(
            rollout, counting, Kept(rollout.id, fresh, old_addresses=old, new_addresses=new)
        )
        watching._write(times_row(times))
        watching.shadow.times = times
        return watching

    def follows(self, rollout: Rollout, second: int) -> None:
        """The rollout went on meanwhile: a new share is a new step of the test.

        `second` of the wall clock.
        """
        if rollout.old_answers is False and self.rollout.old_answers is not False:
            told = judge.old_fails_too(self.kept.detector)
            self.kept = replace(self.kept, detector=told)
        self.rollout = rollout
        self.shadow.follows(rollout)
        now = (rollout.step, rollout.share)
        if now == self.kept.step:
            return
        # Going back is no step: what was found stays as it is.
        if rollout.share and rollout.outcome is None:
            fresh = judge.next_step(self.kept.detector, rollout.share)
            self.kept = replace(self.kept, detector=fresh)
            self.counting.step_begun()
            self.close_rows(None)
            self._write(step_row(second, rollout.share))
        self.kept = replace(self.kept, step=now)

    @property
    def judging(self) -> bool:
        return self.rollout.outcome is None and self.rollout.share > 0

    def feed(self, lines: Sequence[str]) -> Counted:
        counted = self.counting.feed(lines, self.rollout.share)
        self.shadow.feed(lines, self.rollout)
        kept = self.kept
        self.kept = replace(
            kept,
            shadow=self.shadow.kept,
            longest=self._longest(lines),
            old=kept.old + counted.old,
            new=kept.new + counted.new,
            unattributed=kept.unattributed + counted.unattributed,
            nonsense=kept.nonsense + counted.nonsense,
            turned_away=kept.turned_away + counted.turned_away,
        )
        for sample in counted.samples:
            self.saw(sample)
        if counted.samples:  # an hour of backlog is not kept open
            self.close_rows(counted.samples[-1].second)
        return counted

    def _longest(self, lines: Sequence[str]) -> float:
        """Of a rehearsal: what the advice for the drain rests on."""
        if self.rollout.rehearsal is None:
            return 0.0
        return max(self.kept.longest, longest(lines))

    def saw(self, sample: Sample) -> None:
        """Also one without requests: time has passed, or somebody waits."""
        if self.judging:
            seen = judge.observe(self.kept.detector, sample)
            self.kept = replace(self.kept, detector=seen)
        self._noted(sample)

    def waited(self, sample: Sample) -> None:
        """A second is over; `sample` says who waits. For a copy of a request that is nobody."""
        if watched(self.rollout):
            self.shadow.saw(sample)
            self.kept = replace(self.kept, shadow=self.shadow.kept)
            sample = replace(sample, old_waiting=None, new_waiting=None)
        self.saw(sample)

    def finding(self) -> Finding:
        in_shadow = self.shadow.finding() if self.rollout.step < 0 else None
        found = in_shadow or judge.find(self.kept.detector)
        again = self.rollout.rehearsal is not None
        names = (f"the copy of {self.rollout.to}" if again else self.rollout.to, self.rollout.from_)
        return replace(
            found,
            sentence=words.named(found.sentence, *names),
            hold=words.named(found.hold, *names),
            known=words.named(found.known, *names),
        )

    def counts(self) -> dict[Color, Counts]:
        """What users saw of each slot, so far."""
        old, new = _counts(self.kept.old), _counts(self.kept.new)
        if self.rollout.candidate is None:
            return {self.rollout.old or Color.BLUE: old}
        return {self.rollout.candidate: new, self.rollout.candidate.other: old}

    @property
    def turned_away(self) -> int:
        """Requests that the gate answered 503, because it was told to serve nobody."""
        return self.kept.turned_away if self.rollout.stop_first else 0

    def close_rows(self, before: int | None) -> None:
        """Seconds that no line is expected of any more become rows; None: all of them."""
        open_: list[Sample] = []
        done: list[Sample] = []
        for sample in self.kept.open:
            still = before is not None and sample.second + _OPEN_FOR > before
            (open_ if still else done).append(sample)
        for sample in done:
            self._write(row(sample))
        self.kept = replace(self.kept, open=tuple(open_))

    def _write(self, fields: list[Any]) -> None:
        self.lines.append(json.dumps(fields, separators=(",", ":")))

    def _noted(self, sample: Sample) -> None:
        if not sample.old.requests and not sample.new.requests and not sample.new_waiting:
            return
        found = {(s.second, s.share): s for s in self.kept.open}
        key = (sample.second, sample.share)
        found[key] = merged(found[key], sample) if key in found else sample
        self.kept = replace(self.kept, open=tuple(found[k] for k in sorted(found)))


def _counts(seen: Seen) -> Counts:
    return Counts(seen.total, seen.errors, seen.failures, seen.saved)
