"""Do both slots suffer? Then it is the environment: no evidence, and no time for the next step."""

from __future__ import annotations

from dataclasses import dataclass

from reld.core.verdict.eprocess import BLOCK, NOTHING, Counts

_FADE = 0.5  # a block: what is over is over in ten seconds
_LEAST_FAILURES = 3.0
_TROUBLE, _OVER = 0.02, 0.01
"""Rates of the old slot at which trouble begins and ends …"""
_TIMES_WORSE, _TIMES_OVER = 5.0, 2.0
"""… and how many times its usual rate that must be: an app that always fails 5 % is not in trouble."""
_ALIKE = 4.0
"""The candidate fails at most so many times as often, and no less than one in so many: more is its own
doing (a candidate that breaks the database fails first and most), less is the old slot's own."""
_PSEUDO_REQUESTS, _PSEUDO_FAILURES = 200.0, 0.4
_LONGEST = 900.0
"""Seconds after which it is no news any more, but what is usual now."""


@dataclass(frozen=True, slots=True)
class Environment:
    """`now`: the last seconds, fading by half with each block. `usual_*`: the old slot's requests and
    failures while nothing was wrong. `suffers`: for how many seconds both do (0: they do not).
    """

    now: Counts = NOTHING
    usual_requests: float = 0.0
    usual_failures: float = 0.0
    suffers: float = 0.0

    @property
    def bad(self) -> bool:
        return self.suffers > 0

    @property
    def usual(self) -> float:
        """The old slot's rate when nothing is wrong; 0.2 % until it is known better."""
        return (self.usual_failures + _PSEUDO_FAILURES) / (self.usual_requests + _PSEUDO_REQUESTS)


def environment_judged(state: Environment, block: Counts, seconds: int) -> Environment:
    """After a block, and the time until the next one. What it says holds for the next block: what a
    block is evidence for must not depend on what is in it.
    """
    if not (state.bad or block.old_failed or state.now.old_failed >= 0.01):
        return Environment(NOTHING, state.usual_requests + block.old, state.usual_failures, 0.0)
    fade = _FADE ** (seconds / BLOCK)
    seen = Counts(
        state.now.old + block.old,
        state.now.old_failed + block.old_failed,
        state.now.new + block.new,
        state.now.new_failed + block.new_failed,
    )
    now = Counts(fade * seen.old, fade * seen.old_failed, fade * seen.new, fade * seen.new_failed)
    if state.bad:
        over = seen.old < 1 or seen.old_rate < max(_OVER, _TIMES_OVER * state.usual)
        if over:
            return Environment(now, state.usual_requests, state.usual_failures, 0.0)
        if state.suffers + seconds > _LONGEST:
            return Environment(now, seen.old, seen.old_failed, 0.0)
        return Environment(now, state.usual_requests, state.usual_failures, state.suffers + seconds)
    if _both(state, seen):
        return Environment(now, state.usual_requests, state.usual_failures, max(1.0, seconds))
    return Environment(
        now, state.usual_requests + block.old, state.usual_failures + block.old_failed, 0.0
    )


def _both(state: Environment, seen: Counts) -> bool:
    rate = seen.old_rate
    if seen.old_failed < _LEAST_FAILURES or rate < max(_TROUBLE, _TIMES_WORSE * state.usual):
        return False
    if seen.new_failed < 1 or state.usual_requests < _PSEUDO_REQUESTS:
        return False
    # Drawn towards the old slot's rate: the one request that a small share had says little.
    new = (seen.new_failed + 2 * rate) / (seen.new + 2)
    return rate / _ALIKE <= new <= rate * _ALIKE
