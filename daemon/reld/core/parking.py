"""Instances that are parked: they leave the gate, drain, stop, and come back on the ports that they had."""

from __future__ import annotations

from dataclasses import replace

from reld.core.instances import put_slot, stop_spare
from reld.core.model import (
    Color,
    Instance,
    InstanceState,
    Phase,
    Rollout,
    Slot,
    State,
    Thinning,
)
from reld.core.pacing import patience, streams_over
from reld.core.routing import Role, named, role
from reld.core.surge import Plan

_ENDING = (InstanceState.STOPPING, InstanceState.KILLING, InstanceState.EXITED)
_GONE = (InstanceState.EXITED, InstanceState.PARKED)


def with_spares(slot: Slot, surplus: int) -> Slot:
    """So many more are spare: those that serve least first, then the last ones."""
    order = sorted(slot.crew, key=lambda i: (i.was_ready, -i.index))
    gone = {i.number for i in order[:surplus]}
    marked = (replace(i, spare=True) if i.number in gone else i for i in slot.instances)
    return replace(slot, instances=tuple(marked))


def thinned(state: State, rollout: Rollout, slot: Slot, at: float) -> State | None:
    """Spare instances: out of the gate, drained, stopped, parked. None: none is left."""
    spare = [i for i in slot.instances if i.spare and i.state is not InstanceState.PARKED]
    if not spare:
        done = replace(rollout, thinning=None, streams=None, streams_most=0)
        return None if rollout.thinning is None else put(state, done)
    if all(i.state in _ENDING for i in spare):
        late_at = max((i.deadline or 0.0) for i in spare)
        stuck = all(i.state is InstanceState.KILLING for i in spare) and at >= late_at
        locked = f"instance {spare[0].index} of {slot.release} cannot be killed"
        return waiting(state, rollout, locked if stuck else "")
    if any(named(state, i.address) for i in spare):  # the gate has taken all that was wanted
        return waiting(state, rollout, f"no other instance of {slot.release} is ready")
    thinning = rollout.thinning
    if thinning is None or thinning.color is not slot.color:
        begun = Thinning(slot.color, state.gate.verified.generation, at)
        fresh = replace(rollout, thinning=begun, streams=None, streams_most=0, waiting="")
        return put(state, fresh)
    served = any(i.was_ready for i in spare)
    drained_for = at - thinning.at
    patient = drained_for < patience(rollout) and not rollout.promoted
    if served and drained_for < rollout.policy.drain:
        return state
    if served and patient and not thinning.drained and not streams_over(rollout, at):
        return waiting(state, rollout, _still_there(rollout, slot, spare, thinning))
    stopped = replace(
        rollout,
        thinning=replace(thinning, over=True),
        cut=rollout.cut + ((thinning.left or 0) if served else 0),
        waiting="",
    )
    return put(put_slot(state, stop_spare(slot, at)), stopped)


def drain_of(slot: Slot, rollout: Rollout | None) -> list[str]:
    """The addresses that drain now: of the spare ones while instances change places, else of all."""
    some = rollout is not None and rollout.thins is not None
    return [i.address for i in slot.instances if i.spare or not some]


def _still_there(rollout: Rollout, slot: Slot, spare: list[Instance], thinning: Thinning) -> str:
    """Why their drain goes on, as it was when `drain` was over: a count for each moment is no news."""
    policy, plural = rollout.policy, "s" if len(spare) > 1 else ""
    numbers = ", ".join(str(i.index) for i in spare)
    where = (
        f"to instance{plural} {numbers} of {slot.release} after {policy.drain:g} s: "
        f"at most {policy.drain_max:g} s for what they have begun"
    )
    if rollout.waiting.endswith(where):
        return rollout.waiting
    if not thinning.left:
        return f"the gate may still send requests {where}"
    left = "1 connection" if thinning.left == 1 else f"{thinning.left} connections"
    return f"{left} {where}"


def started(state: State, color: Color, room: int) -> State:
    """So many parked instances are wanted again; each is a new one, on the port that it had."""
    slot = state.slot(color)
    if slot is None or room <= 0:
        return state
    number, instances = state.next_instance, []
    for instance in slot.instances:
        parked = instance.spare and instance.state is InstanceState.PARKED
        if not parked or number >= state.next_instance + room:
            instances.append(instance)
            continue
        instances.append(Instance(number, instance.index, instance.address))
        number += 1
    if number == state.next_instance:
        return state
    slot = replace(slot, instances=tuple(instances))
    return replace(put_slot(state, slot), next_instance=number)


def rejoined(slot: Slot) -> Slot:
    """Spare instances that were not told to stop yet are none any more."""
    back = (replace(i, spare=False) if i.spare and i.was_ready else i for i in slot.instances)
    return replace(slot, instances=tuple(back))


def restored(state: State) -> State:
    """The exchange is over: the slot that serves gets back what it gave, as room comes."""
    rollout = state.rollout
    surge = 0 if rollout is None else rollout.surge
    if rollout is not None and surge and not _over(state, rollout):
        return state
    for slot in state.slots:
        if slot.external or not any(i.spare for i in slot.instances):
            continue
        if role(state, slot.color) is not Role.LIVE:
            continue
        state = put_slot(state, rejoined(slot))
        room = len(slot.instances)
        other = state.slot(slot.color.other)
        if surge and other is not None:
            plan = Plan(len(slot.instances), len(other.instances), surge)
            room = plan.most - _occupied(state)
        state = started(state, slot.color, room)
    return state


def _occupied(state: State) -> int:
    """Processes that run, or will."""
    nursed = {s.color for s in state.slots if role(state, s.color) is Role.LIVE}
    return sum(
        i.state not in _GONE or (slot.color in nursed and not i.spare)
        for slot in state.slots
        for i in slot.instances
    )


def _over(state: State, rollout: Rollout) -> bool:
    """It went one way or the other; before the gate has turned, what starts would only look unfit."""
    if rollout.phase is Phase.REVERTING and state.live is rollout.candidate:
        return False
    return rollout.leaving is not None or rollout.committed


def waiting(state: State, rollout: Rollout, why: str) -> State:
    return state if rollout.waiting == why else put(state, replace(rollout, waiting=why))


def put(state: State, rollout: Rollout) -> State:
    return replace(state, rollout=rollout)
