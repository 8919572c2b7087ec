"""How far the running phase is with what it waits for, as an object of a status. Pure."""

from __future__ import annotations

from typing import Any

from reld.core.model import Color, Kind, Phase, Rollout

_BETWEEN_NEWS = 2.0
"""Seconds: the sensor tells once a second how far the log was read, and the clock of a person who
watches goes on meanwhile."""


def progress(rollout: Rollout, now: float) -> dict[str, Any] | None:
    """The "progress" of a rollout in a status; None: the phase waits for nothing that is counted.

    "seconds" of "needs_seconds" (null: there is no least), "at_most" seconds; "requests" of
    "needs_requests". In a step and in the bake these are seconds of which the log has been read and
    said something, and in a drain those since nobody comes any more.
    """
    policy = rollout.policy
    match rollout.phase:
        case Phase.STARTING:
            return _timed(now - rollout.since, None, policy.slot.ready_deadline)
        case Phase.PROVING if rollout.smoke is None:
            return _timed(now - rollout.since, None, policy.smoke_deadline)
        case Phase.SHIFTING if rollout.step < 0:
            since = rollout.shadow.since
            if since is None or rollout.shadow.over:
                return None
            return _timed(_watched(rollout, since, now), policy.step_time, policy.step_max)
        case Phase.SHIFTING if rollout.step_since is not None:
            watched = _watched(rollout, rollout.step_since, now)
            seen = rollout.blue.total + rollout.green.total - rollout.step_base
            return _counted(
                _timed(watched, policy.step_time, policy.step_max), seen, policy.step_requests
            )
        case Phase.BAKING:
            bake = _timed(_watched(rollout, rollout.since, now), policy.bake, None)
            if rollout.unproven or rollout.kind in (Kind.ROLLBACK, Kind.EJECT):
                return bake
            dealt = rollout.blue if rollout.candidate is Color.BLUE else rollout.green
            return _counted(bake, dealt.total, policy.step_requests)
        case Phase.DRAINING:
            begun = rollout.drain_since
            return _timed(0.0 if begun is None else now - begun, policy.drain, policy.drain_max)
        case _:
            return None


def _watched(rollout: Rollout, since: float, now: float) -> float:
    watch = rollout.watch
    return min(now, max(watch.read_to, since) + _BETWEEN_NEWS) - since - watch.unwatched


def _timed(seconds: float, needed: float | None, most: float | None) -> dict[str, Any]:
    return {
        "seconds": round(max(0.0, seconds), 3),
        "needs_seconds": needed,
        "at_most": most,
        "requests": None,
        "needs_requests": None,
    }


def _counted(timed: dict[str, Any], seen: int, needed: int) -> dict[str, Any]:
    return {**timed, "requests": max(0, seen), "needs_requests": needed}
