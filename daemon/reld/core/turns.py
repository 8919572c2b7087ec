"""How a rollout turns: into its next phase, a step further, back, or not yet."""

from __future__ import annotations

from dataclasses import replace

from reld.core import agreement, crew, parking, watch
from reld.core.guard import cornered, guard, held_because, old_is_ready
from reld.core.hooks import hook_begun
from reld.core.instances import empty, kill_all, put_slot, stop_all
from reld.core.model import (
    Instance,
    InstanceState,
    Kind,
    Mark,
    Outcome,
    Phase,
    Rest,
    Rollout,
    Slot,
    State,
)
from reld.core.routing import exposed, fresh_start

TOLD_AFTER = 15.0
"""Seconds without progress after which a retried wait is shown as `waiting`."""
UNITS_TIME = 60.0
"""Seconds that systemd gets to remove the units of an eject, beside the app's own stop_timeout."""


def guarded(state: State, rollout: Rollout, at: float) -> State | None:
    """Shifting and baking look here first; None = go on."""
    if rollout.turning is not None:
        return turn_back(state, rollout, rollout.turning, rollout.reason, at)
    why = guard(state)
    if not why:
        return None
    if cornered(state):
        return wait(state, rollout, held_because(rollout, why, "going back when it is"))
    return turn_back(state, rollout, Outcome.ROLLED_BACK, why, at)


def held(state: State, rollout: Rollout, at: float) -> str:
    """Why the share stays as it is, whatever the time; empty = it may grow."""
    if rollout.paused:
        return "paused by a person: relctl resume goes on"
    old = state.slot(rollout.old)
    if old is not None and not old.fit and not old.dead:
        return f"{old.release} is not fit: waiting until going back is possible again"
    why = watch.worse(rollout)
    if why and not old_is_ready(state):
        return f"{why}; but {rollout.from_} is not ready either"
    return watch.not_yet(rollout, at)


def step_on(state: State, rollout: Rollout, at: float) -> State:
    """To the next step that could show anything, unless a person has to agree to it first."""
    first = rollout.step + 1
    step = agreement.next_step(rollout)
    if rollout.step >= 0 and agreement.needed(state, rollout, rollout.policy.steps[step]):
        return with_rollout(state, agreement.asking(rollout))
    skipped = (*rollout.skipped, *rollout.policy.steps[first:step])
    return step_to(with_rollout(state, replace(rollout, skipped=skipped)), step, at)


def step_to(state: State, step: int, at: float) -> State:
    rollout = state.rollout
    assert rollout is not None
    share = rollout.policy.steps[step]
    marks = (*rollout.marks, Mark(rollout.phase, rollout.since)) if step else rollout.marks
    moved = replace(
        rollout,
        step=step,
        wanted_share=crew.carried(state, rollout, share),
        moved=True,
        step_since=None,
        promoted=False,
        asked=False,
        waiting="",
        marks=marks,
        since=at,
        watch=watch.watch_begun(rollout.watch, at),
    )
    return with_rollout(state, moved)


def held_for_a_person(state: State, rollout: Rollout) -> State:
    hold = rollout.watch.finding.hold
    return wait(state, rollout, f"{hold}: relctl promote goes on, relctl rollback goes back")


def step_unproven(state: State, rollout: Rollout, at: float) -> State:
    """`step_max` is over without enough requests: silence is not health."""
    seen = requests(rollout) - rollout.step_base
    why = f"only {seen} of {rollout.policy.step_requests} requests in the time of a step"
    match rollout.policy.on_unproven:
        case "rollback":
            return turn_back(state, rollout, Outcome.ROLLED_BACK, f"unproven: {why}", at)
        case "hold":
            return wait(state, rollout, f"unproven, {why}: relctl promote goes on")
        case _:
            return step_on(state, replace(rollout, unproven=True), at)


def bake_unproven(state: State, rollout: Rollout, at: float) -> State:
    """The bake is over and next to nobody came by."""
    seen, policy = watch.dealt(rollout), rollout.policy
    why = f"only {seen} of {policy.step_requests} requests reached {rollout.to}"
    match policy.on_unproven:
        case "rollback" if policy.bake:
            return turn_back(state, rollout, Outcome.ROLLED_BACK, f"unproven: {why}", at)
        case "hold" if policy.bake:
            return wait(state, rollout, f"unproven, {why}: relctl promote goes on")
        case _:
            return enter(state, replace(rollout, unproven=True), Phase.COMMITTING, at)


def turned_before_traffic(state: State, rollout: Rollout, at: float) -> State | None:
    if rollout.turning is not None:
        return give_up(state, rollout, rollout.turning, rollout.reason, at)
    why = guard(state)
    return give_up(state, rollout, Outcome.FAILED, why, at) if why else None


def give_up(state: State, rollout: Rollout, outcome: Outcome, why: str, at: float) -> State:
    """Nothing names the candidate yet: it can be stopped at once."""
    if rollout.phase is not Phase.PREPARING or rollout.candidate is not None:
        rollout = replace(rollout, leaving=rollout.candidate)
    if rollout.made_way and outcome is Outcome.FAILED:
        outcome = Outcome.ROLLED_BACK  # the traffic was away already
    ended = replace(rollout, outcome=outcome, reason=why, turning=None, waiting="")
    return enter(state, ended, Phase.STOPPING, at)


def turn_back(state: State, rollout: Rollout, outcome: Outcome, why: str, at: float) -> State:
    """To the old slot: at once, or with its instances where so few are left that all is too much."""
    turned = replace(rollout, turned_at=rollout.share, outcome=outcome, reason=why)
    old = state.slot(rollout.old)
    if not rollout.surge or old is None:
        return lanes_back(state, turned, at)
    state = put_slot(state, parking.rejoined(old))
    if not crew.must_return(state, turned):
        return lanes_back(state, turned, at)
    left = crew.share_left(state, turned)
    back = replace(_turning(turned, left), leaving=None, full=False, crew_at=at)
    return enter(state, back, Phase.RETURNING, at)


def lanes_back(state: State, rollout: Rollout, at: float) -> State:
    """The lanes first, then a reload that lets the drain end."""
    turned = replace(_turning(rollout, 0), leaving=rollout.candidate)
    return enter(state, turned, Phase.REVERTING, at)


def _turning(rollout: Rollout, share: int) -> Rollout:
    # A move that was under way may have happened: only one after it makes sure.
    unsure = rollout.unsure or rollout.share != rollout.wanted_share
    return replace(
        rollout,
        unsure=unsure,
        turning=None,
        committed=False,
        wanted_share=share,
        drain_since=None,
        drained=False,
        streams=None,
        streams_most=0,
        left=None,
        thinning=None,
        waiting="",
        paused=False,
        promoted=False,
    )


def grown(state: State, rollout: Rollout, at: float) -> State | None:
    """A surge: what the candidate gets before the step counts; None = it has its instances."""
    late = crew.late(state, rollout, at)
    if late and cornered(state):
        return wait(state, rollout, held_because(rollout, late, "going back when it is"))
    if late:
        return turn_back(state, rollout, Outcome.ROLLED_BACK, late, at)
    hold = "" if rollout.promoted or rollout.full else held(state, rollout, at)
    return crew.grown(state, rollout, hold, at)


def committed(state: State, rollout: Rollout, at: float) -> State:
    done = replace(rollout, committed=True, leaving=rollout.old, waiting="")
    if rollout.old is None:
        done = hook_begun(done, "after_switch", at)
        return enter(state, done, Phase.FINISHING, at)
    if rollout.kind is not Kind.STOP:
        done = hook_begun(done, "after_switch", at)
    return enter(state, done, Phase.DRAINING, at)


def enter(state: State, rollout: Rollout, phase: Phase, at: float) -> State:
    marks = (*rollout.marks, Mark(rollout.phase, rollout.since))
    entered = replace(rollout, phase=phase, since=at, marks=marks, waiting="", asked=False)
    state = with_rollout(state, entered)
    if phase is Phase.STOPPING:
        slot = state.slot(rollout.leaving)
        return state if slot is None else put_slot(state, stop_all(slot, at))
    if phase in (Phase.ADMITTING, Phase.COMMITTING, Phase.RETURNING, Phase.REVERTING):
        return replace(state, gate=fresh_start(state.gate))
    return state


def new_slot(state: State, rollout: Rollout) -> State:
    """The candidate's slot, on the ports that were leased: nothing runs yet."""
    assert rollout.candidate is not None
    first = state.next_instance
    ejected = rollout.kind is Kind.EJECT  # systemd starts what we only ask
    slot = Slot(
        color=rollout.candidate,
        release=rollout.to,
        snapshot=rollout.id,
        policy=rollout.policy.slot,
        instances=tuple(
            Instance(
                number=first + index,
                index=index,
                address=address,
                state=InstanceState.STARTING if ejected else InstanceState.WANTED,
            )
            for index, address in enumerate(rollout.addresses)
        ),
        external=ejected,
        unit=rollout.unit if ejected else "",
    )
    slot = crew.first_crew(slot, state.slot(rollout.old), rollout.surge)
    return replace(put_slot(state, slot), next_instance=first + len(rollout.addresses))


def slot_removed(state: State, slot: Slot, rollout: Rollout, at: float) -> State:
    until = at + rollout.policy.drain_max
    resting = tuple(Rest(i.address, until) for i in slot.instances if not slot.external)
    state = replace(state, resting=(*state.resting, *resting))
    return state.with_slot(slot.color, None)


def units_removed(state: State, slot: Slot, rollout: Rollout, at: float) -> State:
    """Nothing is left of the plain units; what cannot be removed in time is told, not waited for."""
    late = at >= units_late_at(rollout)
    if rollout.unit_gone is None and not late:
        return state
    left = f"{rollout.unit} could not be removed in time" if late else rollout.unit_gone
    if left:
        rollout = replace(rollout, reason=f"{rollout.reason}; {left}")
    return enter(slot_removed(state, slot, rollout, at), rollout, Phase.FINISHING, at)


def units_late_at(rollout: Rollout) -> float:
    return rollout.since + UNITS_TIME + rollout.policy.slot.stop_timeout


def locked_away(state: State, at: float) -> State:
    """Without a rollout a slot that is not live has no business: kill it, then forget it."""
    if state.rollout is not None:
        return state
    for slot in state.slots:
        if slot.color is state.live or exposed(state, slot.color) or slot.external:
            continue
        if empty(slot):
            resting = tuple(Rest(i.address, at + 300.0) for i in slot.instances)
            state = replace(state.with_slot(slot.color, None), resting=state.resting + resting)
        else:
            state = put_slot(state, kill_all(slot, at))
    return state


def candidate_of(state: State, rollout: Rollout) -> Slot:
    slot = state.slot(rollout.candidate)
    assert slot is not None
    return slot


def with_rollout(state: State, rollout: Rollout) -> State:
    return replace(state, rollout=rollout)


def wait(state: State, rollout: Rollout, why: str) -> State:
    return state if rollout.waiting == why else with_rollout(state, replace(rollout, waiting=why))


def wait_in(state: State, why: str) -> State:
    return state if state.rollout is None else wait(state, state.rollout, why)


def lanes_awaited(state: State, rollout: Rollout, at: float) -> State:
    """The move is retried; what takes long is shown."""
    if state.lanes_trouble or at >= max(rollout.since, rollout.crew_at) + TOLD_AFTER:
        why = state.lanes_trouble or "no answer"
        return wait(state, rollout, f"the gate does not obey the new share: {why}")
    return state


def requests(rollout: Rollout) -> int:
    return rollout.blue.total + rollout.green.total


def not_ready(slot: Slot, rollout: Rollout) -> str:
    seconds = rollout.policy.slot.ready_deadline
    late = [i for i in slot.crew if not i.was_ready]
    detail = late[0].detail if late else ""
    return f"not ready after {seconds:g} s" + (f": {detail}" if detail else "")
