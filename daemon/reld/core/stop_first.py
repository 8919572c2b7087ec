"""A rollout where two copies do not fit: the old slot makes way before the new one starts.

Top down in life order, one function a phase; what is not here (`preparing`, `starting`, `proving`,
`finishing`) is as in `rollout`:

    preparing → draining → stopping (the old slot) → starting → proving → committing → finishing
    back: (draining →) stopping (the candidate) → reverting → finishing

From draining to committing the gate answers 503 to everybody, and they are counted. The old slot is
not signalled before the gate verifiably serves nobody and nothing that it began is left. It stays
in the state, with its snapshot and its ports: going back is nursing it, once the tree of the candidate
is empty. Then it is the live slot again, with nobody to ask until it is ready.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reld.core.approval import wanted
from reld.core.drain import until_drained
from reld.core.guard import guard
from reld.core.hooks import hook_begun
from reld.core.instances import empty, past_killing, put_slot, stop_all
from reld.core.model import Color, Kind, Outcome, Phase, Rollout, Slot, State
from reld.core.policy import STOP_FIRST, Policy
from reld.core.routing import fresh_start, settled
from reld.core.turns import TOLD_AFTER, enter, new_slot, slot_removed, wait, wait_in, with_rollout

COUNTED_AFTER = 5.0
"""Seconds that the first look at the request log may take: nobody is turned away uncounted before."""
LATE_AFTER = 3.0
"""Seconds that a release gets to come back, beside its time to be ready."""
_AWAY = (Phase.STOPPING, Phase.STARTING, Phase.PROVING, Phase.COMMITTING)
_STEPS_ASIDE = (Kind.SWITCH, Kind.ROLLBACK, Kind.RESTART)


def chosen(kind: Kind, policy: Policy, old: Slot | None) -> bool:
    """Whether a rollout that begins now has to stop the old slot first."""
    wished = policy.strategy == STOP_FIRST and kind in _STEPS_ASIDE
    return wished and old is not None and not old.external


def barred(kind: Kind, policy: Policy, slots: tuple[Slot, ...]) -> bool:
    """It is wished for, and the slot that serves is none of reld's to stop."""
    wished = policy.strategy == STOP_FIRST and kind in _STEPS_ASIDE
    return wished and any(s.external and not s.dead for s in slots)


def away(rollout: Rollout) -> bool:
    """Users get 503 from it, or will in a moment: no time for a pause."""
    return rollout.stop_first and rollout.phase is not Phase.PREPARING


def can_turn(rollout: Rollout) -> bool:
    """While the old slot leaves, a person can have it back."""
    leaves = rollout.phase in (Phase.DRAINING, Phase.STOPPING)
    return rollout.stop_first and leaves and rollout.outcome is None


def began(state: State, rollout: Rollout, at: float) -> State:
    """The last of preparing: what waits for people waits while the old slot serves."""
    if rollout.paused:
        return wait(state, rollout, "paused by a person: relctl resume goes on")
    if rollout.awaits_approval:
        return wait(state, rollout, wanted(rollout))
    return enter(state, replace(rollout, leaving=rollout.old), Phase.DRAINING, at)


def draining(state: State, rollout: Rollout, at: float) -> State:
    """The gate serves nobody, and what the leaving slot has begun ends. Nothing more to wait for."""
    leaving = state.slot(rollout.leaving)
    if leaving is None:
        return enter(state, rollout, Phase.STOPPING, at)
    if rollout.outcome is None:
        if rollout.turning is not None:
            return restored(state, rollout, rollout.turning, rollout.reason, at)
        if not rollout.made_way:
            return _make_way(state, rollout, at)
        if state.gate.failures and not rollout.moved:
            why = f"the gate does not take the new config: {state.gate.trouble}"
            return restored(state, rollout, Outcome.FAILED, why, at)
    least = 0.0 if rollout.drained else rollout.policy.drain
    state = until_drained(state, rollout, leaving, least, at)
    after = state.rollout
    if after is not None and after.drain_since is not None and not after.moved:
        return with_rollout(state, replace(after, moved=True))  # away from the old slot
    return state


def _make_way(state: State, rollout: Rollout, at: float) -> State:
    """Once somebody counts: the gate is told to serve nobody."""
    if not rollout.watch.read_to and at < rollout.since + COUNTED_AFTER:
        return state
    state = replace(state, gate=fresh_start(state.gate))
    return with_rollout(state, replace(rollout, made_way=True))


def stopping(state: State, rollout: Rollout, at: float) -> State:
    """The tree of every leaving instance is empty: only then there is room for others."""
    slot = state.slot(rollout.leaving)
    if slot is None and not rollout.made_way:  # given up before anything had happened
        return enter(state, rollout, Phase.FINISHING, at)
    outcome, why = rollout.outcome or rollout.turning, rollout.reason
    if slot is not None and not empty(slot):
        if not past_killing(slot, at):
            stopped = stop_all(slot, at)
            return state if stopped == slot else put_slot(state, stopped)
        locked = f"processes of {slot.release} cannot be killed"
        state = restored(state, rollout, outcome or Outcome.ROLLED_BACK, why or locked, at)
        return wait_in(state, f"slot {slot.color} is locked: {locked}")
    if outcome is not None:
        if slot is not None and slot.color is rollout.candidate:
            state = slot_removed(state, slot, rollout, at)
        return restored(state, rollout, outcome, why, at)
    rollout = replace(rollout, leaving=None)
    return enter(new_slot(state, rollout), rollout, Phase.STARTING, at)


def committing(state: State, rollout: Rollout, at: float) -> State:
    """A verified reload: the gate serves the new slot. Live flips here."""
    if rollout.turning is not None and state.gate.in_flight is None:
        return _back(state, rollout, rollout.turning, rollout.reason, at)
    if settled(state) and state.live is rollout.candidate:
        done = hook_begun(replace(rollout, committed=True), "after_switch", at)
        old = state.slot(rollout.old)
        if old is not None:
            state = slot_removed(state, old, rollout, at)
        return enter(state, done, Phase.FINISHING, at)
    why = guard(state)
    if why:
        return _back(state, rollout, Outcome.ROLLED_BACK, why, at)
    refused = f"the gate does not take the new config: {state.gate.trouble}; it is tried again"
    return wait(state, rollout, refused if state.gate.failures else "")


def reverting(state: State, rollout: Rollout, at: float) -> State:
    """The old release runs again, and the gate serves it. What does not come back is nursed on."""
    old = state.slot(rollout.old)
    if old is None:
        return enter(state, rollout, Phase.FINISHING, at)
    if state.live is not old.color:  # else it would be nobody's, once the rollout is over
        if at >= rollout.since + TOLD_AFTER or state.gate.failures:
            trouble = state.gate.trouble or "the gate is reloading"
            return wait(state, rollout, f"going back: {trouble}")
        return state
    if old.fit and settled(state):
        return enter(state, rollout, Phase.FINISHING, at)
    if at < back_by(state, rollout):
        return state
    late = [i for i in old.instances if not i.was_ready]
    if not late:  # only the gate is missing
        return wait(state, rollout, f"going back: {state.gate.trouble or 'the gate is reloading'}")
    detail = next((f": {i.detail}" for i in late if i.detail), "")
    why = f"{rollout.reason}; {old.release} did not come back in time either{detail}"
    return enter(state, replace(rollout, reason=why, stranded=True), Phase.FINISHING, at)


def back_by(state: State, rollout: Rollout) -> float:
    """Until when the old slot should be ready again (CLOCK_BOOTTIME seconds)."""
    old = state.slot(rollout.old)
    ready = 0.0 if old is None else old.policy.ready_deadline
    return rollout.since + ready + LATE_AFTER


def alarms(state: State) -> tuple[float, ...]:
    """What this life waits for and others do not."""
    rollout = state.rollout
    if rollout is None or not rollout.stop_first:
        return ()
    if rollout.phase is Phase.DRAINING and not rollout.made_way:
        return (rollout.since + COUNTED_AFTER,)
    return (back_by(state, rollout),) if rollout.phase is Phase.REVERTING else ()


def measured(ended: Rollout, before: float) -> float:
    """Seconds that stopping a release and getting one ready take, as this rollout had it; else `before`."""
    ends = (*(mark.at for mark in ended.marks[1:]), ended.since)
    took = [(m.phase, end - m.at) for m, end in zip(ended.marks, ends, strict=False)]
    if Phase.PROVING not in {phase for phase, _ in took}:
        return before  # nothing was ever ready
    counted = (*_AWAY, Phase.DRAINING) if ended.stop_first else _AWAY
    return sum(seconds for phase, seconds in took if phase in counted)


def restored(state: State, rollout: Rollout, outcome: Outcome, why: str, at: float) -> State:
    """The old slot is the live one again, whatever is left of it."""
    nobody = any(loaded.routing.default is None for loaded in state.gate.possible)
    moved = rollout.moved or nobody
    if moved and outcome is Outcome.FAILED:
        outcome = Outcome.ROLLED_BACK  # users may have been turned away
    back = replace(
        _turned(rollout, outcome, why),
        moved=moved,
        made_way=False,
        leaving=_locked(state, rollout),
    )
    return enter(state, back, Phase.REVERTING, at)


def _locked(state: State, rollout: Rollout) -> Color | None:
    """The candidate, if something of it is still there."""
    return rollout.candidate if state.slot(rollout.candidate) is not None else None


def _back(state: State, rollout: Rollout, outcome: Outcome, why: str, at: float) -> State:
    """The gate may serve the candidate already: first it serves nobody again."""
    back = replace(_turned(rollout, outcome, why), leaving=rollout.candidate)
    return enter(replace(state, gate=fresh_start(state.gate)), back, Phase.DRAINING, at)


def _turned(rollout: Rollout, outcome: Outcome, why: str) -> Rollout:
    return replace(
        rollout,
        outcome=outcome,
        reason=why,
        turning=None,
        waiting="",
        paused=False,
        promoted=False,
        drain_since=None,
        drained=False,
        left=None,
    )


PHASES: dict[Phase, Callable[[State, Rollout, float], State]] = {
    Phase.DRAINING: draining,
    Phase.STOPPING: stopping,
    Phase.COMMITTING: committing,
    Phase.REVERTING: reverting,
}
