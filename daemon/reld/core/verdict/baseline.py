"""The guard at 100 %, where no old slot is left to compare with: is it worse than the old slot was?

A sequential test (Wald 1945) of the old slot's own rate, generously bounded, against five times that;
it begins anew whenever it is won by the candidate. It cannot tell a bad release from a bad minute of
the database, so it only ever raises doubt, and never in less than a minute of trouble, unless nearly
all requests fail.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from reld.core.verdict.environment import Environment
from reld.core.verdict.eprocess import NOTHING, Counts

PART = 0.3
"""Of the false alarms that are allowed."""

SPAN = 10
"""Seconds of one block."""

_CAP = 1 / 6
"""Of the needed evidence, from one block: at least a minute of trouble, …"""
_COLLAPSE_CAP = 0.45
"""… or about 20 seconds of a collapse. Waiting a minute would cost thousands of requests, and the old
slot is asked before anything is done."""
_COLLAPSED, _SURE = 0.9, 20
_LEAST_BAD, _MOST_GOOD = 0.002, 0.1
_TIMES = 5.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """`good`: the rate that is still all right (0: not judging). `evidence`: logarithm; below 0 while
    trouble lasts that the old slot had as well. `block`: since `began` of the clock.
    """

    needed: float
    good: float = 0.0
    evidence: float = 0.0
    began: int = 0
    block: Counts = NOTHING


def begin_baseline(false_alarm: float) -> Baseline:
    return Baseline(-math.log(false_alarm * PART))


def watched(state: Baseline, environment: Environment, clock: int) -> Baseline:
    """From now on the candidate has everything."""
    requests, failures = environment.usual_requests, environment.usual_failures
    # About the upper 97.5 % bound of a Poisson count; nobody knows much after 60 requests.
    bound = (failures + 2 * math.sqrt(failures) + 3) / (requests + 60)
    return Baseline(state.needed, min(_MOST_GOOD, max(_LEAST_BAD, 2 * bound)), 0.0, clock)


def unwatched(state: Baseline) -> Baseline:
    return Baseline(state.needed)


def baseline_seen(state: Baseline, clock: int, requests: int, failures: int) -> Baseline:
    """More requests of the candidate; `clock` in seconds that only ever grow."""
    if not state.good:
        return state
    block, evidence, began = state.block, state.evidence, state.began
    if clock >= began + SPAN:
        evidence = _after(state)
        began, block = clock - (clock - began) % SPAN, NOTHING
    block = Counts(0, 0, block.new + requests, block.new_failed + failures)
    return Baseline(state.needed, state.good, evidence, began, block)


def doubtful(state: Baseline) -> bool:
    return state.good > 0 and _after(state) >= state.needed


def acquitted(state: Baseline) -> Baseline:
    """The old slot fails as well: that trouble counts no more, and as much again is needed on top."""
    return Baseline(state.needed, state.good, -state.needed, state.began, NOTHING)


def _after(state: Baseline) -> float:
    """The evidence, were the block over. One that speaks for the candidate ends an acquitted trouble."""
    n, failed = state.block.new, state.block.new_failed
    if not n:
        return state.evidence
    good, bad = state.good, _TIMES * state.good
    gain = failed * math.log(bad / good) + (n - failed) * math.log((1 - bad) / (1 - good))
    collapse = n >= _SURE and failed >= _COLLAPSED * n
    gain = min(gain, state.needed * (_COLLAPSE_CAP if collapse else _CAP))
    if gain <= 0:
        return max(0.0, state.evidence + gain)
    return state.evidence + gain
