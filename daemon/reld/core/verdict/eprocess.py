"""A bet that the candidate's share of the failures is more than its share of the traffic.

Both slots are judged by the same seconds, so a bad minute of the database is no evidence, and neither
is a base rate that drifts. If the candidate were as good as the old slot, each failure would be its
own with the chance s, its share of the requests. The bet on "r times as likely" multiplies by
r / (1 - s + rs) when it is, and by 1 / (1 - s + rs) when it is not: on average by one, so by Ville's
inequality the stake ever grows by 1/alpha with probability alpha at most, however often one looks and
whatever share it had meanwhile. (A conditional, sequential test of two Poisson rates, as in Lindon and
Malek, "Anytime-valid inference for multinomial count data", 2022; mixed over r; started again and
again like Shiryaev's and Roberts' for faults that come late.)

Everything is kept as a logarithm, and counted in blocks of two seconds: within a block only whole
numbers are added, so how a second is cut into samples changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

BLOCK = 2
"""Seconds."""

DRIPPING = 0.1
"""The part of the stake that is set later, little by little: for faults that begin late."""

_SHARE_HALF_LIFE = 60.0
_SHARE_WEIGHT = 20.0  # requests that the share of the lanes counts for beside the counted ones
_SEEN_HALF_LIFE, _LATELY_HALF_LIFE = 300.0, 20.0
_LEAST_SHARE = 0.001
_FLOOR, _CEILING = -200.0, 300.0  # exp() of both is a number, and nobody ever comes back from there
_LITTLE = 1e-80

_CAP, _PAIR_CAP = 1 / 3, 1 / 2
"""Of the needed evidence, from one block and from two adjacent ones.

Failures come in bursts: one process that stalls for two seconds says nothing about the release, be it
a thousand requests. Such a burst touches two blocks, and the old slot's next failures take away from
what it brought: even two bursts are hardly ever enough. A fault that stays needs eight seconds at most
because of this; a collapse has a path of its own (`tests.bench detector`: processes stall)."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of both slots, and how many of them failed (or were refused, or slow)."""

    old: float = 0
    old_failed: float = 0
    new: float = 0
    new_failed: float = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.old + other.old,
            self.old_failed + other.old_failed,
            self.new + other.new,
            self.new_failed + other.new_failed,
        )

    @property
    def old_rate(self) -> float:
        return self.old_failed / self.old if self.old else 0.0

    @property
    def new_rate(self) -> float:
        return self.new_failed / self.new if self.new else 0.0


NOTHING = Counts()


@dataclass(frozen=True, slots=True)
class Bet:
    """`ratios`: how many times as often the candidate might fail; `fair`: what is still all right."""

    ratios: tuple[float, ...]
    fair: float = 1.0


@dataclass(frozen=True, slots=True)
class RatioEProcess:
    """`needed`, `value`: natural logarithms, `value` after the last whole block.

    `logs`: of what each bet has (the mean of them and `cash` is the value). `share`: the candidate's
    lanes, 0 … 1. `recent_*`: requests that its real share is estimated from. `seen`: requests and
    failures, fading by half in five minutes, `lately` in 20 seconds. `gain`: what the block before brought.
    """

    needed: float
    planned: float
    logs: tuple[float, ...]
    cash: float = DRIPPING
    share: float = 0.0
    recent_old: float = 0.0
    recent_new: float = 0.0
    seen: Counts = NOTHING
    lately: Counts = NOTHING
    value: float = 0.0
    gain: float = 0.0


def begin(bet: Bet, alpha: float, planned: float) -> RatioEProcess:
    """`alpha`: the chance of ever blaming an innocent; `planned`: seconds that it is watched."""
    start = math.log(1 - DRIPPING)
    return RatioEProcess(-math.log(alpha), max(60.0, planned), (start,) * len(bet.ratios))


def moved(process: RatioEProcess, share: float) -> RatioEProcess:
    """The candidate has another share (0 … 1) of the lanes: what was measured of it is old."""
    return RatioEProcess(
        process.needed,
        process.planned,
        process.logs,
        process.cash,
        share,
        0.0,
        0.0,
        process.seen,
        process.lately,
        process.value,
        process.gain,
    )


def peek(process: RatioEProcess, bet: Bet, block: Counts) -> float:
    """The value, were the block over."""
    if not _bets(process, block):
        return process.value
    value = _value(process.cash, _played(process, bet, block))
    return min(value, process.value + _allowed(process))


def judged(process: RatioEProcess, bet: Bet, block: Counts, seconds: float) -> RatioEProcess:
    """After a whole block, and the time until the next one."""
    logs, cash = process.logs, process.cash
    value = process.value
    if _bets(process, block):
        logs = _played(process, bet, block)
        value = _value(cash, logs)
        most = min(_CEILING, process.value + _allowed(process))
        if value > most:
            # Money that is thrown away: allowed at any time, and it cannot help the accuser.
            less = math.log(max(math.exp(most) - cash, _LITTLE)) - _log_mean(logs)
            logs = tuple([log + less for log in logs])
            value = most
    dripped = max(_LITTLE, cash * -math.expm1(-seconds / process.planned))
    drop = math.log(dripped)
    fade = 0.5 ** (seconds / _SHARE_HALF_LIFE)
    return RatioEProcess(
        process.needed,
        process.planned,
        tuple([max(_FLOOR, _log_sum(log, drop)) for log in logs]),
        max(0.0, cash - dripped),
        process.share,
        fade * (process.recent_old + block.old),
        fade * (process.recent_new + block.new),
        _faded(process.seen, block, 0.5 ** (seconds / _SEEN_HALF_LIFE)),
        _faded(process.lately, block, 0.5 ** (seconds / _LATELY_HALF_LIFE)),
        value,
        value - process.value if seconds <= BLOCK else 0.0,
    )


def rested(process: RatioEProcess, block: Counts, seconds: float) -> RatioEProcess:
    """After a block that is not judged: the stakes stay where they are."""
    return judged(process, _NO_BET, Counts(block.old, 0, block.new, 0), seconds)


_NO_BET = Bet(())


def _bets(process: RatioEProcess, block: Counts) -> bool:
    """At 0 and at 100 % chance deals nothing: the few stragglers of before are no control."""
    return 0 < process.share < 1 and bool(block.old_failed or block.new_failed)


def share(process: RatioEProcess) -> float:
    """The candidate's real share (0 … 1) of the requests: the counted ones, drawn towards the lanes'."""
    known = process.recent_old + process.recent_new
    return (process.recent_new + _SHARE_WEIGHT * process.share) / (known + _SHARE_WEIGHT)


def _played(process: RatioEProcess, bet: Bet, block: Counts) -> tuple[float, ...]:
    s = min(1.0, max(_LEAST_SHARE, share(process)))
    fair = bet.fair
    base = math.log(1 - s + fair * s)
    failed, all_failed = block.new_failed, block.new_failed + block.old_failed
    return tuple(
        [
            log + failed * math.log(r / fair) - all_failed * (math.log(1 - s + r * s) - base)
            for log, r in zip(process.logs, bet.ratios, strict=True)
        ]
    )


def _allowed(process: RatioEProcess) -> float:
    """What this block may bring at most."""
    pair = _PAIR_CAP * process.needed - max(0.0, process.gain)
    return max(0.0, min(_CAP * process.needed, pair))


def _value(cash: float, logs: tuple[float, ...]) -> float:
    mean = _log_mean(logs)
    return _log_sum(mean, math.log(cash)) if cash else mean


def _log_mean(logs: tuple[float, ...]) -> float:
    high = max(logs)
    return high + math.log(sum([math.exp(log - high) for log in logs]) / len(logs))


def _log_sum(one: float, other: float) -> float:
    high, low = (one, other) if one > other else (other, one)
    return high + math.log1p(math.exp(low - high))


def _faded(seen: Counts, block: Counts, fade: float) -> Counts:
    return Counts(
        fade * (seen.old + block.old),
        fade * (seen.old_failed + block.old_failed),
        fade * (seen.new + block.new),
        fade * (seen.new_failed + block.new_failed),
    )
