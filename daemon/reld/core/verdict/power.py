"""What a watch can find: said before it begins, from the traffic of the last hour.

Failures come as two Poisson streams: the candidate's at `rate s p1` a second, the old slot's at
`rate (1 - s) p0`. The bet of `errors` on r is multiplied by r / (1 - s + r s) with each of the
candidate's failures and by 1 / (1 - s + r s) with each of the old slot's; so what it is worth after k
and m of them is known exactly, and for each m the k that suffices. That it is reached within t seconds
has at least the chance sum over m of P(M = m) P(K >= k(m)), K and M Poisson; a share that grows counts
with its mean, weighted by the candidate's failures. What is put in later is left out: it wins nothing
for a fault that is there from the start. The caps per block are added as the time that they cost. In
the clock of the candidate's failures M is negative binomial, which gives how many of them it takes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from reld.core.verdict.eprocess import BLOCK, DRIPPING
from reld.core.verdict.errors import BET, ERRORS_PART, LEAST_FAILURES
from reld.core.verdict.words import amount, percent, span

SURE = 0.95
_CAPPED = 5 * BLOCK
"""Seconds: however clear it is, a verdict by the bet needs several blocks …"""
_COLLAPSES, _COLLAPSE = 0.8, 2 * BLOCK
"""… and where nearly everything fails, the fast path two."""
_FOREVER = 30 * 86400.0
_RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_MANY = 400.0  # failures: beyond, the normal law is exact enough


@dataclass(frozen=True, slots=True)
class Noticed:
    """`failed`: requests that fail on the candidate until then; `seconds`: of watching."""

    failed: float
    seconds: float


def noticed(
    rate: float, share: float, p1: float, p0: float = 0.001, false_alarm: float = 0.001
) -> Noticed | None:
    """When an error rate of `p1` is noticed with 95 % probability; None: never (or not in a month).

    `rate`: requests a second; `share`: percent, all the time; `p0`: the old slot's error rate.
    """
    return noticed_in(rate, ((share, _FOREVER),), p1, p0, false_alarm)


def noticed_in(
    rate: float,
    steps: tuple[tuple[float, float], ...],
    p1: float,
    p0: float = 0.001,
    false_alarm: float = 0.001,
) -> Noticed | None:
    """The same for steps of (share in percent, seconds). At 100 % nothing is compared."""
    if rate <= 0 or p1 <= 0:
        return None
    done = 0.0
    for number, (share, seconds) in enumerate(steps):
        if not 0 < share < 100:
            done += seconds
            continue
        before = tuple(step for step in steps[:number] if 0 < step[0] < 100)

        def found(
            t: float, before: tuple[tuple[float, float], ...] = before, share: float = share
        ) -> bool:
            return _chance(rate, (*before, (share, t)), p1, p0, false_alarm) >= SURE

        if found(seconds):
            low, high = 0.0, seconds
            while high - low > 0.01 * high + 0.1:
                middle = math.sqrt(max(low, 0.01) * high) if low < high / 4 else (low + high) / 2
                low, high = (low, middle) if found(middle) else (middle, high)
            until = (*before, (share, high))
            return Noticed(_failed(rate, until, p1, p0, false_alarm), done + high + _CAPPED)
        done += seconds
    return None


def promise(
    rate: float,
    steps: tuple[tuple[float, float], ...],
    false_alarm: float,
    lasts: float,
    now: float,
    p0: float = 0.001,
) -> str:
    """What a switch will find, said before it starts.

    `rate`: requests a second lately; `lasts`: seconds that the whole switch is going to take, and
    `now`: with `--now`.
    """
    takes = f"about {span(lasts)} at {amount(rate)} req/s (`--now`: {span(now)})"
    if rate <= 0:
        return f"no traffic lately: nothing will be proven; at most {span(lasts)} (`--now`: {span(now)})"
    for p1 in _RATES:
        found = noticed_in(rate, steps, p1, p0, false_alarm) if p1 > 2 * p0 else None
        if found is not None:
            failed = amount(max(1.0, math.ceil(found.failed)))
            errors = f"{100 * p1:g} % errors"
            sure = percent(SURE)
            return f"will notice {errors} with {sure} probability after about {failed} failed requests; {takes}"
    return f"too little traffic to notice anything by its errors; {takes}"


@dataclass(frozen=True, slots=True)
class _Stakes:
    """`new`, `old`: failures to be expected; `won`, `lost`: by each bet with one of them, in nats."""

    new: float
    old: float
    won: tuple[float, ...]
    lost: tuple[float, ...]
    needed: float

    def suffices(self, k: float, m: float) -> bool:
        """So many failures of the candidate, with so many of the old slot."""
        logs = [k * won - m * lost for won, lost in zip(self.won, self.lost, strict=True)]
        high = max(logs)
        return high + math.log(sum(math.exp(log - high) for log in logs)) >= self.needed


def _stakes(
    rate: float, steps: tuple[tuple[float, float], ...], p1: float, p0: float, false_alarm: float
) -> _Stakes:
    new = [rate * share / 100 * seconds * p1 for share, seconds in steps]
    old = [rate * (1 - share / 100) * seconds * p0 for share, seconds in steps]
    won, lost = [], []
    for r in BET.ratios:
        less = [math.log(1 - share / 100 + r * share / 100) for share, _ in steps]
        won.append(math.log(r) - _mean(less, new))
        lost.append(_mean(less, old))
    needed = -math.log(false_alarm * ERRORS_PART) - math.log((1 - DRIPPING) / len(BET.ratios))
    return _Stakes(sum(new), sum(old), tuple(won), tuple(lost), needed)


def _mean(values: list[float], weights: list[float]) -> float:
    total = sum(weights)
    if total <= 0:
        return 0.0
    return sum(v * w for v, w in zip(values, weights, strict=True)) / total


def _chance(
    rate: float, steps: tuple[tuple[float, float], ...], p1: float, p0: float, false_alarm: float
) -> float:
    stakes = _stakes(rate, steps, p1, p0, false_alarm)
    if stakes.new <= 0:
        return 0.0
    spread = 5 * math.sqrt(stakes.old) + 5
    first, last = max(0, math.floor(stakes.old - spread)), math.ceil(stakes.old + spread)
    chance = weight = 0.0
    for m in range(first, last + 1, max(1, (last - first) // 200)):
        part = _poisson(m, stakes.old)
        weight += part
        chance += part * _at_least(_enough(stakes, m), stakes.new)
    return chance / weight if weight > 0 else 0.0


def _failed(
    rate: float, steps: tuple[tuple[float, float], ...], p1: float, p0: float, false_alarm: float
) -> float:
    """Failures of the candidate that suffice with the same probability, in its own clock."""
    stakes = _stakes(rate, steps, p1, p0, false_alarm)
    mine = stakes.new / (stakes.new + stakes.old)
    capped = _COLLAPSE if p1 >= _COLLAPSES else _CAPPED
    least = rate * steps[-1][0] / 100 * p1 * capped
    k = LEAST_FAILURES
    while k < stakes.new:
        m, below = 0, 0.0
        while below < SURE and stakes.suffices(k, m):
            below += _old_failures(m, k, mine)
            m += 1
        if below >= SURE:
            break
        k += 1 + k // 50
    return max(float(k), least)


def _old_failures(m: int, k: int, mine: float) -> float:
    """The chance of `m` failures of the old slot before the candidate's `k`-th."""
    if mine >= 1:
        return 1.0 if m == 0 else 0.0
    ways = math.lgamma(m + k) - math.lgamma(m + 1) - math.lgamma(k)
    return math.exp(ways + k * math.log(mine) + m * math.log1p(-mine))


def _enough(stakes: _Stakes, m: float) -> int:
    """Failures of the candidate that suffice against `m` of the old slot."""
    low, high = LEAST_FAILURES - 1, LEAST_FAILURES
    while not stakes.suffices(high, m):
        if high > 10**7:
            return high
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if stakes.suffices(middle, m) else (middle, high)
    return high


def _poisson(k: int, mean: float) -> float:
    if mean <= 0:
        return 1.0 if k == 0 else 0.0
    return math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))


def _at_least(k: int, mean: float) -> float:
    if mean > _MANY:
        return math.erfc((k - 0.5 - mean) / math.sqrt(2 * mean)) / 2
    return max(0.0, 1.0 - sum(_poisson(i, mean) for i in range(k))) if k < 3 * _MANY else 0.0
