"""What is promised where two copies do not fit, checked against the world's own truth.

In place of the fourth invariant (the old slot is not stopped before the commit): it is not signalled
before the gate serves nobody and no request of it is left (`may_stop`); there are never two copies
(`may_start`); and what serves in the end is the new release or the old one (`ends_served`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reld.core.model import InstanceState, Kind, Phase, Rollout, Routing, State

if TYPE_CHECKING:
    from tests.sim.world import Process, World


def may_stop(world: World, process: Process, rollout: Rollout, *, reached: bool) -> str:
    """Why this process must not be signalled yet; empty = it may. `reached`: by old gate workers."""
    slot = world.slot_of(process.number)
    leaves = slot is not None and slot.color is rollout.old and rollout.made_way
    if leaves and world.serving.routing.default is not None:
        return "before the gate serves nobody"
    passed = world.now - world.last_named[process.address]
    policy = rollout.policy
    promoted = rollout.id in world.promoted and passed >= policy.drain - 0.01
    if reached and not promoted and passed < policy.drain_max - 0.01:
        return "and an old gate worker can reach it"
    return ""


def ends_still(world: World, process: Process) -> bool:
    """Told to stop when its slot made way; the way back begins with its end, and nobody can reach it."""
    rollout, instance = world.state.rollout, world.instance(process.number)
    back = rollout is not None and rollout.stop_first and rollout.phase is Phase.REVERTING
    killed = instance is not None and instance.state is InstanceState.KILLING
    return back and killed and not world.named_now(process.address)


def may_start(world: World, number: int) -> str:
    """Which process of the other release is there still; empty = none."""
    rollout, slot = world.state.rollout, world.slot_of(number)
    if rollout is None or not rollout.stop_first or slot is None:
        return ""
    for process in world.processes.values():
        other = world.slot_of(process.number)
        if not process.alive or (other is not None and other.color is slot.color):
            continue
        instance = world.instance(process.number)
        unkillable = instance is not None and instance.state is InstanceState.KILLING
        if not (unkillable and rollout.phase is Phase.REVERTING):
            return f"instance {process.number} is there still, and {number} is started"
    return ""


def may_serve_nobody(world: World, routing: Routing) -> str:
    """Why users must not be turned away; empty = it was announced, or nobody is."""
    rollout = world.state.rollout
    if routing.default is not None or world.serving.routing.default is None:
        return ""
    if rollout is None:
        return "users are turned away, and nobody wanted it"
    announced = rollout.stop_first or rollout.kind is Kind.STOP
    first = rollout.old is None  # and it was bad
    return "" if announced or first else "users are turned away, and nobody has announced it"


def ends_served(before: State, after: State) -> str:
    """Why such a rollout must not end so; empty = something is live."""
    was = before.rollout
    if was is None or not was.stop_first or after.rollout is not None:
        return ""
    return "" if after.live is not None else "a stop-first rollout ended, and nothing is live"
