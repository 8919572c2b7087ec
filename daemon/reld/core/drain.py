"""What a slot that leaves has begun is let to its end: it is stopped only when nothing can reach it."""

from __future__ import annotations

from dataclasses import replace

from reld.core.model import Phase, Rollout, Slot, State
from reld.core.pacing import patience, streams_over
from reld.core.routing import exposed
from reld.core.turns import enter, wait, with_rollout
from reld.core.workers import waits_for


def until_drained(state: State, rollout: Rollout, leaving: Slot, least: float, at: float) -> State:
    """At least `least` seconds, then until nothing is left, at most `patience`; never while exposed."""
    if exposed(state, leaving.color):
        trouble = state.gate.trouble if state.gate.failures else ""
        waits = f"the gate may still send requests to {leaving.release}: {trouble}"
        rollout = replace(rollout, drain_since=None, drained=False, left=None)
        return wait(with_rollout(state, rollout), rollout, waits if trouble else "")
    if rollout.drain_since is None:
        since = state.gate.verified.generation
        rollout = replace(rollout, drain_since=at, not_named_since=since, waiting="")
        return with_rollout(state, rollout)
    drained_for = at - rollout.drain_since
    gone = leaving.dead and not leaving.external
    patient = drained_for < patience(rollout) and not rollout.promoted
    drained = rollout.drained or streams_over(rollout, at)
    if not gone and (drained_for < least or (patient and not drained)):
        return state
    workers = waits_for(state, leaving) if patient else ""
    if workers:
        return wait(state, rollout, workers)
    cut = 0 if drained or gone else (rollout.left or 0)
    # A rollout may have more than one drain: of spare instances, of the other slot.
    ended = replace(
        rollout,
        cut=rollout.cut + cut,
        drain_seconds=rollout.drain_seconds + drained_for,
    )
    return enter(state, ended, Phase.STOPPING, at)
