"""Does the candidate break a limit that the configuration sets, whatever the old slot does?

A limit is broken when what was seen lately would be very unlikely for a slot that keeps it. The bound on
that chance is Chernoff's: exp(-n KL(seen, limit)). Three failures of twenty break no limit of 1 %.

Times are not judged before `warmup`, and then against what was slow until then as long as that could be
a cold start which is going away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from reld.core.verdict.logtime import passed
from reld.core.verdict.sample import LAST_BUCKET, Sample, bucket
from reld.core.verdict.settings import VerdictSettings
from reld.core.verdict.words import NEW, OLD, percent, span

_HALF_LIFE = 60.0  # seconds
_LOOKS = 10.0  # it is looked at again and again; that many looks are independent of each other
_LEAST = 5.0  # requests that broke it
_LASTS = 3.0  # seconds for which it is broken before anything is said: no single burst
_SLOW_PART = 0.05  # a p95 limit: that many may be slower
_COLD = 1.25  # of warmup: the slowest cold start that is believed
_LONGEST_GAP = 120


@dataclass(frozen=True, slots=True)
class Recent:
    """Fading counts: `bad` of `seen`."""

    seen: float = 0.0
    bad: float = 0.0

    @property
    def rate(self) -> float:
        return self.bad / self.seen if self.seen > 0 else 0.0

    def more(self, seen: float, bad: float, keep: float) -> Recent:
        return Recent(self.seen * keep + seen, self.bad * keep + bad)


@dataclass(frozen=True, slots=True)
class Limit:
    """`most`: the fraction of requests that may break it. `broken_at`: the clock since when it is
    broken (-1: it is not). `early`: the candidate's before `warmup`.
    """

    most: float
    old: Recent = Recent()
    new: Recent = Recent()
    early: Recent = Recent()
    broken_at: float = -1.0

    @property
    def old_breaks_it_too(self) -> bool:
        return self.old.bad >= _LEAST / 2 and self.old.rate > self.most


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_p95`: seconds, for the words; `slow`: the bucket above which a request breaks it.

    `clock`: seconds consumed; `born`: the clock at the candidate's first request (-1: none yet).
    """

    needed: float
    warmup: float
    max_p95: float = 0.0
    slow: int = LAST_BUCKET
    errors: Limit | None = None
    times: Limit | None = None
    clock: float = 0.0
    last_second: int | None = None
    born: float = -1.0

    @property
    def worse(self) -> bool:
        return any(not limit.old_breaks_it_too for limit in self._broken)

    @property
    def both(self) -> bool:
        """A limit is broken, and by the old slot too: the environment, not the release."""
        broken = self._broken
        return bool(broken) and not self.worse

    @property
    def clause(self) -> str:
        """What is broken, in words; empty while nothing is."""
        broken = self._broken
        first = [limit for limit in broken if not limit.old_breaks_it_too] or list(broken)
        if not first:
            return ""
        limit = first[0]
        new, old = percent(limit.new.rate), percent(limit.old.rate)
        if limit is self.errors:
            said = f"{new} of {NEW}'s requests failed lately, the limit is {percent(limit.most)}"
        else:
            said = (
                f"{new} of {NEW}'s requests took longer than {span(self.max_p95)} lately, "
                f"the limit is {percent(limit.most)}"
            )
        return f"{said}; {OLD}: {old}" if limit.old.seen >= 1 else said

    @property
    def _broken(self) -> tuple[Limit, ...]:
        return tuple(
            limit
            for limit in (self.errors, self.times)
            if limit is not None and 0 <= limit.broken_at <= self.clock - _LASTS
        )


def begin_limits(settings: VerdictSettings) -> Limits:
    """Nothing seen yet; limits that are not set are never broken."""
    rate, p95 = settings.max_error_rate, settings.max_p95
    return Limits(
        needed=math.log(_LOOKS / settings.false_alarm),
        warmup=max(0.0, settings.warmup),
        max_p95=p95 or 0.0,
        slow=LAST_BUCKET if p95 is None else bucket(p95),
        errors=None if rate is None else Limit(rate),
        times=None if p95 is None else Limit(_SLOW_PART),
    )


def limits_seen(state: Limits, sample: Sample) -> Limits:
    """A part of a second more."""
    if state.errors is None and state.times is None:
        return state
    last, past = passed(state.last_second, sample.second, _LONGEST_GAP)
    clock = state.clock + past
    born = clock if state.born < 0 and sample.new.requests > 0 else state.born
    errors, times = state.errors, state.times
    old, new = sample.old, sample.new
    if errors is not None:
        errors = _more(errors, past, (old.requests, old.failures), (new.requests, new.failures))
        errors = _marked(errors, clock, _breaks(errors, errors.most, state.needed))
    if times is not None:
        slow_old, slow_new = old.slower(state.slow), new.slower(state.slow)
        age = clock - born if born >= 0 else 0.0
        if age < state.warmup:
            times = _early(times, past, (old.timed, slow_old), (new.timed, slow_new))
        else:
            times = _more(times, past, (old.timed, slow_old), (new.timed, slow_new))
            allowed = _allowed(times, age, state.warmup)
            times = _marked(times, clock, _breaks(times, allowed, state.needed))
    return replace(state, errors=errors, times=times, clock=clock, last_second=last, born=born)


def _more(limit: Limit, past: float, old: tuple[int, int], new: tuple[int, int]) -> Limit:
    keep = 0.5 ** (past / _HALF_LIFE)
    return replace(limit, old=limit.old.more(*old, keep), new=limit.new.more(*new, keep))


def _early(limit: Limit, past: float, old: tuple[int, int], new: tuple[int, int]) -> Limit:
    keep = 0.5 ** (past / _HALF_LIFE)
    return replace(limit, old=limit.old.more(*old, keep), early=limit.early.more(*new, 1.0))


def _allowed(limit: Limit, age: float, warmup: float) -> float:
    """The fraction that may break it at this age: what was seen at first, going away; later by a
    half-life, because what is judged looks back as far.
    """
    if warmup <= 0 or limit.early.seen < 1:
        return limit.most
    first = (limit.early.bad + 1 + math.sqrt(limit.early.bad)) / limit.early.seen
    past = max(0.0, age - warmup - _HALF_LIFE)
    return max(limit.most, min(1.0, first) * math.exp(-past / (_COLD * warmup)))


def _breaks(limit: Limit, most: float, needed: float) -> bool:
    rate = limit.new.rate
    if limit.new.bad < _LEAST or rate <= most or most >= 1:
        return False
    if most <= 0:
        return True
    gain = rate * math.log(rate / most)
    if rate < 1:
        gain += (1 - rate) * math.log((1 - rate) / (1 - most))
    return limit.new.seen * gain >= needed


def _marked(limit: Limit, clock: float, broken: bool) -> Limit:
    if not broken:
        return replace(limit, broken_at=-1.0) if limit.broken_at >= 0 else limit
    return replace(limit, broken_at=clock) if limit.broken_at < 0 else limit
