"""How long the phases of a rollout took, and how long the rest may take."""

from __future__ import annotations

from typing import Any

from reld.core import exchange
from reld.core.model import Kind, Phase, Rollout

_BEFORE_SHIFTING = (Phase.PREPARING, Phase.STARTING, Phase.PROVING, Phase.ADMITTING)


def segments(rollout: Rollout, end: float, *, running: bool) -> list[tuple[Phase, float, float]]:
    """Phase, begin and length, in seconds, of each phase in the order of life.

    A mark says when the phase that it names began; a step of shifting makes one too, so marks in a
    row with the same phase are one segment.
    """
    starts = [(mark.phase, mark.at) for mark in rollout.marks]
    if running:
        starts.append((rollout.phase, rollout.since))
    merged: list[tuple[Phase, float]] = []
    for phase, at in starts:
        if not merged or merged[-1][0] is not phase:
            merged.append((phase, at))
    if not merged:
        return []
    ends = [at for _, at in merged[1:]] + [end]
    return [
        (phase, at, max(0.0, until - at)) for (phase, at), until in zip(merged, ends, strict=True)
    ]


def phases(rollout: Rollout, end: float, *, running: bool) -> list[dict[str, Any]]:
    """The "phases" of a status and of a receipt."""
    return [
        {"phase": str(phase), "seconds": round(seconds, 3)}
        for phase, _, seconds in segments(rollout, end, running=running)
    ]


def eta(rollout: Rollout, now: float) -> float | None:
    """Seconds left if nothing holds it up; None: nobody can know."""
    if rollout.paused or rollout.waiting:
        return None
    policy, phase = rollout.policy, rollout.phase
    if rollout.stop_first:
        return None  # as long as requests, the stop and the start take
    drain = policy.drain + exchange.left(rollout) if rollout.old is not None else 0.0
    if rollout.kind is Kind.REHEARSAL and phase in (*_BEFORE_SHIFTING, Phase.SHIFTING):
        begun = now if rollout.step_since is None else rollout.step_since
        return max(0.0, begun + policy.step_time - now) + drain
    if phase is Phase.DRAINING:
        since = now if rollout.drain_since is None else rollout.drain_since
        left = since + policy.drain - now
        # Longer than `drain` it waits for connections, and those have no clock.
        return left if left > 0 else None
    if phase in (Phase.STOPPING, Phase.FINISHING):
        return 0.0
    if phase is Phase.RETURNING:
        return drain
    if phase is Phase.REVERTING:
        return policy.drain if rollout.moved else 0.0
    if phase is Phase.COMMITTING or rollout.kind in (Kind.STOP, Kind.CONTRACT):
        return drain
    if phase is Phase.BAKING:
        return max(0.0, rollout.since + policy.bake - now) + drain
    if rollout.old is None:
        return 0.0
    steps = len(policy.steps) - 1  # the last step is the bake
    if phase in _BEFORE_SHIFTING:
        steps += 1 if policy.shadow else 0
        return steps * policy.step_time + policy.bake + drain
    this = 0.0
    if rollout.step < steps:
        watched = rollout.shadow.since if rollout.step < 0 else rollout.step_since
        begun = now if watched is None else watched
        this = max(0.0, begun + policy.step_time - now)
    return this + max(0, steps - rollout.step - 1) * policy.step_time + policy.bake + drain
