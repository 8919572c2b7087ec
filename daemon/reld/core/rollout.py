"""The life of a rollout, top down: one function a phase, and each waits for ONE thing.

Every function gets the state and the time and returns the next state, or the same one when it goes on
waiting. Safety is looked at before progress: first whether to go back, then whether to hold, and only
then whether the time is up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reld.core import agreement, crew, rehearsal, stop_first
from reld.core.approval import wanted
from reld.core.drain import until_drained
from reld.core.following import ended_for
from reld.core.good import good_after
from reld.core.guard import cornered, guard, held_because
from reld.core.hooks import hook_begun, hook_of, last_hooks, runs_before_start
from reld.core.instances import empty, past_killing, put_slot, stop_all
from reld.core.model import (
    HookState,
    Kind,
    Lanes,
    Mark,
    Outcome,
    Phase,
    Rollout,
    State,
)
from reld.core.routing import answers_somewhere, exposed, settled
from reld.core.shadowing import shadow_begun, shadowing, shadows
from reld.core.turns import (
    TOLD_AFTER,
    bake_unproven,
    candidate_of,
    committed,
    enter,
    give_up,
    grown,
    guarded,
    held,
    held_for_a_person,
    lanes_awaited,
    lanes_back,
    new_slot,
    not_ready,
    requests,
    slot_removed,
    step_on,
    step_to,
    step_unproven,
    turn_back,
    turned_before_traffic,
    units_removed,
    wait,
    wait_in,
    with_rollout,
)
from reld.core.watch import dealt, next_step, watch_begun, watched_for


def advance(state: State, at: float) -> State:
    """Let the running rollout take its turns until it waits for something.

    All of them before the gate is told anything: what a turn asks for may be void by the next one.
    """
    for _ in _PHASES:  # no turn leads back to a phase without an event in between
        rollout = state.rollout
        if rollout is None:
            return state
        before = state
        phases = _STOP_FIRST if rollout.stop_first else _PHASES
        if rollout.kind is Kind.REHEARSAL:
            state, phases = rehearsal.noted(state, at), _REHEARSAL
        state = phases[rollout.phase](state, state.rollout or rollout, at)
        if state == before:
            return state
    return state


def preparing(state: State, rollout: Rollout, at: float) -> State:
    """Checks, ports and `before_start`."""
    if rollout.turning is not None:
        return give_up(state, rollout, rollout.turning, rollout.reason, at)
    if rollout.prepared is False:
        return give_up(state, rollout, Outcome.FAILED, rollout.detail, at)
    hook = hook_of(rollout, "before_start")
    if hook is not None and hook.state is HookState.FAILED:
        return give_up(state, rollout, Outcome.FAILED, f"hook before_start: {hook.detail}", at)
    if rollout.prepared is None:
        if at >= rollout.since + rollout.policy.prepare_deadline:
            return give_up(state, rollout, Outcome.FAILED, "the checks did not end in time", at)
        return state
    if runs_before_start(rollout) and hook is None:
        return with_rollout(state, hook_begun(rollout, "before_start", at))
    if hook is not None and hook.state is HookState.RUNNING:
        return state
    if rollout.stop_first:
        return stop_first.began(state, rollout, at)
    rollout = replace(rollout, surge=crew.surge_of(state, rollout))
    return enter(new_slot(state, rollout), rollout, Phase.STARTING, at)


def starting(state: State, rollout: Rollout, at: float) -> State:
    """Every instance has been ready since it was started."""
    turned = turned_before_traffic(state, rollout, at)
    if turned is not None:
        return turned
    slot = candidate_of(state, rollout)
    if slot.fit:
        return enter(state, rollout, Phase.PROVING, at)
    if at >= rollout.since + rollout.policy.slot.ready_deadline:
        return give_up(state, rollout, Outcome.FAILED, not_ready(slot, rollout), at)
    return state


def proving(state: State, rollout: Rollout, at: float) -> State:
    """The smoke checks pass, straight at the new ports."""
    turned = turned_before_traffic(state, rollout, at)
    if turned is not None:
        return turned
    if rollout.smoke is False:
        why = f"smoke check failed: {rollout.detail}"
        return give_up(state, rollout, Outcome.FAILED, why, at)
    if rollout.smoke is None:
        if at >= rollout.since + rollout.policy.smoke_deadline:
            why = "the smoke checks did not end in time"
            return give_up(state, rollout, Outcome.FAILED, why, at)
        return state
    if rollout.paused:
        return wait(state, rollout, "paused by a person: relctl resume goes on")
    if rollout.awaits_approval:
        return wait(state, rollout, wanted(rollout))
    old = state.slot(rollout.old)
    # Nothing to protect: the fix must be able to ship. Nobody is served by a slot without an address.
    if old is None or old.dead or not answers_somewhere(state, old):
        return enter(state, replace(rollout, moved=True), Phase.COMMITTING, at)
    return enter(state, rollout, Phase.ADMITTING, at)


def admitting(state: State, rollout: Rollout, at: float) -> State:
    """A verified reload: both slots are named, no lane goes to the candidate."""
    if rollout.turning is not None:
        return turn_back(state, rollout, rollout.turning, rollout.reason, at)
    why = guard(state)
    if why:
        return turn_back(state, rollout, Outcome.FAILED, why, at)
    if not rollout.admitted and state.gate.failures:
        return turn_back(state, rollout, Outcome.FAILED, f"the gate: {state.gate.trouble}", at)
    if not rollout.admitted and not settled(state):
        if at >= rollout.since + 2 * rollout.policy.reload_deadline:
            why = "the gate did not take the new config in time"
            return turn_back(state, rollout, Outcome.FAILED, why, at)
        return state
    rollout = replace(rollout, admitted=True)  # what the gate does in a pause condemns nobody
    if rollout.paused:
        return wait(
            with_rollout(state, rollout), rollout, "paused by a person: relctl resume goes on"
        )
    if agreement.needed(state, rollout, rollout.policy.steps[next_step(rollout, 0)]):
        return with_rollout(state, agreement.asking(rollout))
    state = enter(state, rollout, Phase.SHIFTING, at)
    return shadow_begun(state, state.rollout or rollout, at)


def shifting(state: State, rollout: Rollout, at: float) -> State:
    """Each step: the gate obeys, then `step_time` and `step_requests` of watching."""
    if shadows(rollout):
        return shadowing(state, rollout, at)
    back = guarded(state, rollout, at)
    if back is not None:
        return back
    last = len(rollout.policy.steps) - 1
    old = state.slot(rollout.old)
    if (old is None or old.dead) and rollout.step < last:
        return step_to(state, last, at)
    farthest = agreement.farthest(rollout) if rollout.full else rollout.step
    if farthest > rollout.step:
        return step_to(state, farthest, at)
    if rollout.share != rollout.wanted_share:
        return lanes_awaited(state, rollout, at)
    growing = grown(state, rollout, at)
    if growing is not None:
        return growing
    if rollout.step == last and agreement.needed(state, rollout):
        return with_rollout(state, agreement.asking(rollout))
    if rollout.step == last:
        rollout = hook_begun(rollout, "after_switch", at)
        rollout = replace(rollout, promoted=False, full=False, watch=watch_begun(rollout.watch, at))
        return enter(state, rollout, Phase.BAKING, at)
    if rollout.step_since is None:
        begun = replace(rollout, step_since=at, step_base=requests(rollout))
        return with_rollout(state, begun)
    following = rollout.policy.steps[rollout.step + 1]
    hurried = rollout.promoted or rollout.full
    if rollout.asked or (hurried and agreement.needed(state, rollout, following)):
        return with_rollout(state, agreement.asking(rollout))
    if rollout.promoted:
        return step_to(state, rollout.step + 1, at)
    holding = held(state, rollout, at)
    if holding:
        return wait(state, rollout, holding)
    finding = rollout.watch.finding
    if finding.asks:
        return held_for_a_person(state, rollout)
    watched = watched_for(rollout, rollout.step_since)
    enough = requests(rollout) - rollout.step_base >= rollout.policy.step_requests
    late = watched >= rollout.policy.step_max
    if watched >= rollout.policy.step_time and enough and (late or not finding.hold):
        return step_on(state, rollout, at)
    if late:
        return step_unproven(state, rollout, at)
    return wait(state, rollout, finding.hold)


def baking(state: State, rollout: Rollout, at: float) -> State:
    """All traffic on the candidate, the old slot warm: going back is one rename."""
    back = guarded(state, rollout, at)
    if back is not None:
        return back
    if rollout.share != rollout.wanted_share:
        return lanes_awaited(state, rollout, at)
    if not rollout.promoted:
        holding = held(state, rollout, at)
        if holding:
            return wait(state, rollout, holding)
        finding, policy = rollout.watch.finding, rollout.policy
        if finding.asks:
            return held_for_a_person(state, rollout)
        left = policy.bake - watched_for(rollout, rollout.since) if policy.bake else 0.0
        if left > 0 or (finding.hold and left > -policy.step_max):
            return wait(state, rollout, finding.hold)
        never_judged = rollout.kind in (Kind.ROLLBACK, Kind.EJECT) or rollout.unproven
        if not never_judged and dealt(rollout) < policy.step_requests:
            return bake_unproven(state, rollout, at)
    return enter(state, replace(rollout, promoted=False), Phase.COMMITTING, at)


def committing(state: State, rollout: Rollout, at: float) -> State:
    """A verified reload: the new slot is the default. Live flips here."""
    waits = ""
    if rollout.kind is not Kind.STOP:
        if rollout.turning is not None and state.gate.in_flight is None:
            return turn_back(state, rollout, rollout.turning, rollout.reason, at)
        why = guard(state)
        if why and cornered(state):
            waits = held_because(rollout, why, "going on is less bad")
        elif why:
            bad = Outcome.ROLLED_BACK if rollout.old is not None else Outcome.FAILED
            return turn_back(state, rollout, bad, why, at)
    if settled(state) and state.live is rollout.candidate:
        return committed(state, rollout, at)
    if state.gate.failures:
        refused = f"the gate does not take the new config: {state.gate.trouble}"
        if rollout.old is None or rollout.kind is Kind.STOP:
            return turn_back(state, rollout, Outcome.FAILED, refused, at)
        waits = f"{refused}; both slots stay warm, it is tried again"
    return wait(state, rollout, waits)


def returning(state: State, rollout: Rollout, at: float) -> State:
    """Few of the old slot's instances are left: they come back one by one, and the lanes with them."""
    old = state.slot(rollout.old)
    in_drain = state.live is rollout.candidate and state.gate.in_flight is None
    if in_drain and (old is None or not old.fit):
        return lanes_back(state, rollout, at)  # which says that it could not go back
    if rollout.promoted or not crew.must_return(state, rollout):
        return lanes_back(state, rollout, at)
    if rollout.unsure or rollout.share != rollout.wanted_share:
        return lanes_awaited(state, rollout, at)
    coming = crew.returned(state, rollout, at)
    return lanes_back(state, rollout, at) if coming is None else coming


def reverting(state: State, rollout: Rollout, at: float) -> State:
    """The candidate is not exposed any more."""
    old = state.slot(rollout.old)
    gate = state.gate
    new_is_live = state.live is not None and state.live is rollout.candidate
    if new_is_live and gate.in_flight is None and old is not None and not old.fit:
        stays = replace(
            rollout,
            committed=True,
            leaving=rollout.old,
            outcome=Outcome.DONE,
            reason=f"could not go back: {old.release} is not fit any more",
        )
        return enter(state, stays, Phase.DRAINING, at)
    stop = rollout.candidate is None  # one that the gate refused: nobody leaves
    if not settled(state) if rollout.candidate is None else exposed(state, rollout.candidate):
        if at >= rollout.since + TOLD_AFTER or gate.failures:
            return wait(state, rollout, f"going back: {gate.trouble or 'the gate is reloading'}")
        return state
    if stop:
        return enter(state, rollout, Phase.FINISHING, at)
    phase = Phase.DRAINING if rollout.moved else Phase.STOPPING
    return enter(state, replace(rollout, waiting=""), phase, at)


def draining(state: State, rollout: Rollout, at: float) -> State:
    """At least `drain`, then until nothing is left, at most `drain_max`; never while exposed."""
    leaving = state.slot(rollout.leaving)
    if leaving is None:
        return enter(state, rollout, Phase.STOPPING, at)
    if rollout.leaving is rollout.old and leaving.fit and rollout.candidate is not None:
        if rollout.turning is not None:
            return turn_back(state, rollout, rollout.turning, rollout.reason, at)
        new = state.slot(rollout.candidate)
        if new is not None and new.dead and rollout.outcome is None:
            why = f"{new.release} died while {leaving.release} was still warm"
            return turn_back(state, rollout, Outcome.ROLLED_BACK, why, at)
    return until_drained(state, rollout, leaving, rollout.policy.drain, at)


def stopping(state: State, rollout: Rollout, at: float) -> State:
    """The tree of every leaving instance is empty."""
    slot = state.slot(rollout.leaving)
    if slot is None:
        return enter(state, rollout, Phase.FINISHING, at)
    if slot.external and rollout.leaving is rollout.candidate:
        return units_removed(state, slot, rollout, at)
    if slot.external or empty(slot):
        return enter(slot_removed(state, slot, rollout, at), rollout, Phase.FINISHING, at)
    if past_killing(slot, at):
        locked = f"slot {slot.color} is locked: processes of {slot.release} cannot be killed"
        return wait_in(enter(state, rollout, Phase.FINISHING, at), locked)
    stopped = stop_all(slot, at)
    return state if stopped == slot else put_slot(state, stopped)


def finishing(state: State, rollout: Rollout, at: float) -> State:
    """The last hooks have ended; then the outcome is told."""
    outcome = rollout.outcome or Outcome.DONE
    if rollout.awaits_approval:  # a contract: its hook is what cannot be undone
        if rollout.turning is None:
            return wait(state, rollout, wanted(rollout))
        outcome = rollout.turning
    if any(h.state is HookState.RUNNING for h in rollout.hooks):
        return state  # one after the other
    for name in last_hooks(state, rollout, outcome):
        if hook_of(rollout, name) is None and name in rollout.policy.hooks:
            return with_rollout(state, hook_begun(rollout, name, at))
    contract = hook_of(rollout, "contract")
    if contract is not None and contract.state is HookState.FAILED:
        outcome, rollout = Outcome.FAILED, replace(rollout, reason=f"contract: {contract.detail}")
    ended = replace(
        rollout,
        outcome=outcome,
        waiting="",
        marks=(*rollout.marks, Mark(Phase.FINISHING, rollout.since)),
        since=at,
    )
    lanes = state.old_lanes
    if (rollout.moved or rollout.reloads) and rollout.kind is not Kind.STOP:
        lanes = (*lanes, Lanes(rollout.id, state.gate.verified.generation))
    good = good_after(state.good, ended) if outcome is Outcome.DONE else state.good
    state = replace(state, away=stop_first.measured(ended, state.away))
    state = replace(state, follow=ended_for(state.follow, ended))
    return replace(state, rollout=None, last=ended, good=good, old_lanes=lanes, lanes_trouble="")


def rehearsed(state: State, rollout: Rollout, at: float) -> State:
    """The end of a rehearsal: what it showed is told, once all of it was read."""
    if rehearsal.counts_on(rollout, at):
        return state
    return rehearsal.told(finishing(state, rehearsal.concluded(rollout), at))


_PHASES: dict[Phase, Callable[[State, Rollout, float], State]] = {
    Phase.PREPARING: preparing,
    Phase.STARTING: starting,
    Phase.PROVING: proving,
    Phase.ADMITTING: admitting,
    Phase.SHIFTING: shifting,
    Phase.BAKING: baking,
    Phase.COMMITTING: committing,
    Phase.RETURNING: returning,
    Phase.REVERTING: reverting,
    Phase.DRAINING: draining,
    Phase.STOPPING: stopping,
    Phase.FINISHING: finishing,
}
_STOP_FIRST = _PHASES | stop_first.PHASES
_REHEARSAL = _PHASES | {Phase.SHIFTING: rehearsal.shifting, Phase.FINISHING: rehearsed}
