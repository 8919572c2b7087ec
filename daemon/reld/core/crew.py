"""A surge: the instances of two releases change places, a few at a time (`surge` has the numbers).

One side grows, the other is thinned. A change goes: lanes as far as the growing side carries; the
surplus of the other leaves the gate, drains, stops, is parked; the next instances are started in its
place, and named once they are ready. Every function looks at facts only, so a reld that was killed in
between goes on from what it finds.
"""

from __future__ import annotations

from dataclasses import replace

from reld.core import pacing
from reld.core.instances import put_slot
from reld.core.model import Color, InstanceState, Kind, Phase, Rollout, Slot, State
from reld.core.parking import put, started, thinned, waiting, with_spares
from reld.core.routing import settled
from reld.core.surge import Plan

HOPELESS = 0.5
"""A candidate that fails so many of its requests is worse than an old slot with too much to do."""


def surge_of(state: State, rollout: Rollout) -> int:
    """How many processes more than usual this rollout may run; 0: two whole slots.

    Beside a slot that serves nobody, or that is not ours to thin, the new release comes as a whole.
    """
    old = state.slot(rollout.old)
    if old is None or old.external or old.dead or rollout.kind is Kind.EJECT:
        return 0
    return min(rollout.policy.surge, rollout.policy.slot.instances)


def first_crew(slot: Slot, old: Slot | None, surge: int) -> Slot:
    """A new slot of which only those are started that fit beside the old one."""
    if not surge or old is None:
        return slot
    first = Plan(len(slot.instances), len(old.instances), surge).first
    parked = InstanceState.PARKED
    later = (replace(i, spare=True, state=parked) for i in slot.instances[first:])
    return replace(slot, instances=(*slot.instances[:first], *later))


def carried(state: State, rollout: Rollout, share: int) -> int:
    """As much of the share as the candidate's instances carry now."""
    old = state.slot(rollout.old)
    if not rollout.surge or old is None or old.dead:
        return share
    plan = _plan(state, rollout, rollout.candidate)
    new = state.slot(rollout.candidate)
    return share if plan is None or new is None else min(share, plan.carries(len(new.crew)))


def late(state: State, rollout: Rollout, at: float) -> str:
    """Why the candidate's next instances are given up; empty: they have their time."""
    slot = state.slot(rollout.candidate)
    limit = rollout.policy.slot.ready_deadline
    if not rollout.surge or slot is None or slot.fit or at < rollout.crew_at + limit:
        return ""
    unready = [i for i in slot.crew if not i.was_ready and i.exit is None]
    if not unready:
        return ""
    detail = f": {unready[0].detail}" if unready[0].detail else ""
    return f"instance {unready[0].index} of {slot.release} not ready after {limit:g} s{detail}"


def grown(state: State, rollout: Rollout, hold: str, at: float) -> State | None:
    """The candidate gets what its step needs. None: it has its instances and its lanes.

    `hold`: why nothing new may begin.
    """
    if not rollout.surge:
        return None
    return _changed(state, rollout, rollout.candidate, rollout.policy.steps[rollout.step], hold, at)


def returned(state: State, rollout: Rollout, at: float) -> State | None:
    """The old slot gets its instances back, and the lanes with them. None: it has both."""
    return _changed(state, rollout, rollout.old, 100, "", at)


def must_return(state: State, rollout: Rollout) -> bool:
    """All of the traffic at once would be too much for the old slot, and the candidate can serve."""
    old, new = state.slot(rollout.old), state.slot(rollout.candidate)
    plan = _plan(state, rollout, rollout.old)
    if plan is None or old is None or new is None or not rollout.share:
        return False
    if not any(i.state is InstanceState.READY for i in new.crew):
        return False
    return not plan.bears(_there(state, old)) and rollout.watch.failing < HOPELESS


def share_left(state: State, rollout: Rollout) -> int:
    """Going back: what the candidate keeps for now, never more than it may have had."""
    old = state.slot(rollout.old)
    plan = _plan(state, rollout, rollout.old)
    asked = min(rollout.share, rollout.wanted_share)
    if plan is None or old is None:
        return 0
    able = _able(state, plan, rollout, old, _there(state, old))
    return min(asked, 100 - able)


def alarms(rollout: Rollout) -> list[float]:
    policy, thinning = rollout.policy, rollout.thinning
    if not rollout.surge or rollout.phase not in (Phase.SHIFTING, Phase.RETURNING):
        return []
    times = [rollout.crew_at + policy.slot.ready_deadline]
    if thinning is not None:
        over = pacing.over_at(rollout)
        times += [thinning.at + policy.drain, thinning.at + pacing.patience(rollout)]
        times += [] if over is None else [over]
    return times


def _plan(state: State, rollout: Rollout, grows: Color | None) -> Plan | None:
    up = state.slot(grows)
    down = None if up is None else state.slot(up.color.other)
    if not rollout.surge or up is None or down is None:
        return None
    return Plan(len(up.instances), len(down.instances), rollout.surge)


def _changed(
    state: State, rollout: Rollout, grows: Color | None, goal: int, hold: str, at: float
) -> State | None:
    """The next thing to do, or what is waited for, on the way of `grows` to `goal` percent."""
    plan, up = _plan(state, rollout, grows), state.slot(grows)
    down = None if up is None else state.slot(up.color.other)
    if plan is None or up is None or down is None:
        return None
    if not up.fit:
        return waiting(state, rollout, _why_unfit(up, rollout))
    if not settled(state):
        trouble = state.gate.trouble if state.gate.failures else ""
        told = f"the gate does not take the new instances: {trouble}; it is tried again"
        return waiting(state, rollout, told if trouble else "")
    thinner = thinned(state, rollout, down, at)
    if thinner is not None:
        return thinner
    count = len(up.crew)
    forward = up.color is rollout.candidate
    share = rollout.wanted_share if forward else 100 - rollout.wanted_share
    if share >= goal and count >= plan.needed(goal):
        return None
    if hold:
        return waiting(state, rollout, hold)
    able = min(goal, _able(state, plan, rollout, up, count))
    if share < able:
        wanted = able if forward else 100 - able
        return put(state, replace(rollout, wanted_share=wanted, crew_at=at, waiting=""))
    then = plan.after(count, goal)
    surplus = len(down.crew) - plan.beside(then)
    if surplus > 0:
        spared = put_slot(state, with_spares(down, surplus))
        return put(spared, replace(rollout, thinning=None, crew_at=at, waiting=""))
    if any(i.spare and i.state is not InstanceState.PARKED for i in up.instances):
        return state  # of an earlier change, still being stopped
    more = started(state, up.color, then - count)
    return put(more, replace(rollout, crew_at=at, waiting=""))


def _able(state: State, plan: Plan, rollout: Rollout, up: Slot, count: int) -> int:
    """Percent of the traffic that the growing side should take now.

    Where the other side has lost instances, both get their fair part of too much.
    """
    down = state.slot(up.color.other)
    carries = plan.carries(count)
    if down is None or down.dead:
        return 100
    if up.color is rollout.candidate:
        return carries
    ready = sum(i.state is InstanceState.READY for i in down.crew)
    return max(carries, -(-100 * count // max(1, count + ready)))


def _there(state: State, old: Slot) -> int:
    """How many of the old slot's instances can be given more: one that comes back is named first."""
    default = state.gate.verified.routing.default
    ready = [i for i in old.crew if i.was_ready]
    if default is None or default.color is not old.color:
        return len(ready)  # from the drain: none is, and all will be at once
    return sum(i.address in default.addresses for i in ready)


def _why_unfit(slot: Slot, rollout: Rollout) -> str:
    """What a change waits for. The candidate's instances have their deadline, the old slot's none."""
    if slot.color is rollout.candidate:
        return ""
    unfit = next(i for i in slot.crew if not i.was_ready)
    if not unfit.restarts:
        return ""
    detail = f": {unfit.detail}" if unfit.detail else ""
    return f"{slot.release} cannot get its instance {unfit.index} back{detail}"
