"""The life of a rollout, top down: one function a phase, and each waits for ONE thing.

Every function gets the state and the time and returns the next state, or the same one when it goes on
waiting. Safety is looked at before progress: first whether to go back, then whether to hold, and only
then whether the time is up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reld.core.guard import cornered, guard
from reld.core.instances import empty, kill_all, past_killing, put_slot, stop_all
from reld.core.model import (
    Good,
    Hook,
    HookState,
    Instance,
    Kind,
    Lanes,
    Mark,
    Outcome,
    Phase,
    Rest,
    Rollout,
    Slot,
    State,
)
from reld.core.routing import exposed, fresh_start, settled

TOLD_AFTER = 15.0
"""Seconds without progress after which a retried wait is shown as `waiting`."""

HOOK_GRACE = 10.0
"""Seconds that the runner of a hook gets, after the hook's own time, to report."""


def advance(state: State, at: float) -> State:
    """Take at most one turn of the running rollout."""
    rollout = state.rollout
    if rollout is None:
        return state
    return _PHASES[rollout.phase](state, rollout, at)


def preparing(state: State, rollout: Rollout, at: float) -> State:
    """Checks, ports and `before_start`."""
    if rollout.turning is not None:
        return _give_up(state, rollout, rollout.turning, rollout.reason, at)
    if rollout.prepared is False:
        return _give_up(state, rollout, Outcome.FAILED, rollout.detail, at)
    hook = _hook(rollout, "before_start")
    if hook is not None and hook.state is HookState.FAILED:
        return _give_up(state, rollout, Outcome.FAILED, f"hook before_start: {hook.detail}", at)
    if rollout.prepared is None:
        if at >= rollout.since + rollout.policy.prepare_deadline:
            return _give_up(state, rollout, Outcome.FAILED, "the checks did not end in time", at)
        return state
    if _runs_before_start(rollout) and hook is None:
        return _with(state, _hook_begun(rollout, "before_start", at))
    if hook is not None and hook.state is HookState.RUNNING:
        return state
    return _enter(_new_slot(state, rollout), rollout, Phase.STARTING, at)


def starting(state: State, rollout: Rollout, at: float) -> State:
    """Every instance has been ready since it was started."""
    turned = _turned_before_traffic(state, rollout, at)
    if turned is not None:
        return turned
    slot = _candidate(state, rollout)
    if slot.fit:
        return _enter(state, rollout, Phase.PROVING, at)
    if at >= rollout.since + rollout.policy.slot.ready_deadline:
        return _give_up(state, rollout, Outcome.FAILED, _not_ready(slot, rollout), at)
    return state


def proving(state: State, rollout: Rollout, at: float) -> State:
    """The smoke checks pass, straight at the new ports."""
    turned = _turned_before_traffic(state, rollout, at)
    if turned is not None:
        return turned
    if rollout.smoke is False:
        why = f"smoke check failed: {rollout.detail}"
        return _give_up(state, rollout, Outcome.FAILED, why, at)
    if rollout.smoke is None:
        if at >= rollout.since + rollout.policy.smoke_deadline:
            why = "the smoke checks did not end in time"
            return _give_up(state, rollout, Outcome.FAILED, why, at)
        return state
    if rollout.paused:
        return _wait(state, rollout, "paused by a person: relctl resume goes on")
    old = state.slot(rollout.old)
    if old is None or old.dead:  # nothing to protect: the fix must be able to ship
        return _enter(state, replace(rollout, moved=True), Phase.COMMITTING, at)
    return _enter(state, rollout, Phase.ADMITTING, at)


def admitting(state: State, rollout: Rollout, at: float) -> State:
    """A verified reload: both slots are named, no lane goes to the candidate."""
    if rollout.turning is not None:
        return _turn_back(state, rollout, rollout.turning, rollout.reason, at)
    why = guard(state)
    if why:
        return _turn_back(state, rollout, Outcome.FAILED, why, at)
    if not rollout.admitted and state.gate.failures:
        return _turn_back(state, rollout, Outcome.FAILED, f"the gate: {state.gate.trouble}", at)
    if not rollout.admitted and not settled(state):
        if at >= rollout.since + 2 * rollout.policy.reload_deadline:
            why = "the gate did not take the new config in time"
            return _turn_back(state, rollout, Outcome.FAILED, why, at)
        return state
    rollout = replace(rollout, admitted=True)  # what the gate does in a pause condemns nobody
    if rollout.paused:
        return _wait(_with(state, rollout), rollout, "paused by a person: relctl resume goes on")
    return _step_to(_enter(state, rollout, Phase.SHIFTING, at), 0, at)


def shifting(state: State, rollout: Rollout, at: float) -> State:
    """Each step: the gate obeys, then `step_time` and `step_requests` of watching."""
    back = _guarded(state, rollout, at)
    if back is not None:
        return back
    last = len(rollout.policy.steps) - 1
    old = state.slot(rollout.old)
    if (rollout.full or old is None or old.dead) and rollout.step < last:
        return _step_to(state, last, at)
    if rollout.share != rollout.wanted_share:
        return _lanes_awaited(state, rollout, at)
    if rollout.step == last:
        rollout = _hook_begun(rollout, "after_switch", at)
        return _enter(state, replace(rollout, promoted=False, full=False), Phase.BAKING, at)
    if rollout.step_since is None:
        begun = replace(rollout, step_since=at, step_base=_requests(rollout))
        return _with(state, begun)
    if rollout.promoted:
        return _step_to(state, rollout.step + 1, at)
    holding = _held(state, rollout)
    if holding:
        return _wait(state, rollout, holding)
    watched = at - rollout.step_since
    enough = _requests(rollout) - rollout.step_base >= rollout.policy.step_requests
    if watched >= rollout.policy.step_time and enough:
        return _step_to(state, rollout.step + 1, at)
    if watched >= rollout.policy.step_max:
        return _step_unproven(state, rollout, at)
    return _wait(state, rollout, "")


def baking(state: State, rollout: Rollout, at: float) -> State:
    """All traffic on the candidate, the old slot warm: going back is one rename."""
    back = _guarded(state, rollout, at)
    if back is not None:
        return back
    if rollout.share != rollout.wanted_share:
        return _lanes_awaited(state, rollout, at)
    over = at >= rollout.since + rollout.policy.bake
    if not rollout.promoted:
        holding = _held(state, rollout)
        if holding:
            return _wait(state, rollout, holding)
        if not over:
            return _wait(state, rollout, "")
    return _enter(state, replace(rollout, promoted=False), Phase.COMMITTING, at)


def committing(state: State, rollout: Rollout, at: float) -> State:
    """A verified reload: the new slot is the default. Live flips here."""
    waits = ""
    if rollout.kind is not Kind.STOP:
        if rollout.turning is not None and state.gate.in_flight is None:
            return _turn_back(state, rollout, rollout.turning, rollout.reason, at)
        why = guard(state)
        if why and cornered(state):
            waits = f"{why}, but {rollout.from_} is not fit: going on is less bad"
        elif why:
            bad = Outcome.ROLLED_BACK if rollout.old is not None else Outcome.FAILED
            return _turn_back(state, rollout, bad, why, at)
    if settled(state) and state.live is rollout.candidate:
        return _committed(state, rollout, at)
    if state.gate.failures:
        refused = f"the gate does not take the new config: {state.gate.trouble}"
        if rollout.old is None or rollout.kind is Kind.STOP:
            return _turn_back(state, rollout, Outcome.FAILED, refused, at)
        waits = f"{refused}; both slots stay warm, it is tried again"
    return _wait(state, rollout, waits)


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
        return _enter(state, stays, Phase.DRAINING, at)
    stop = rollout.candidate is None  # one that the gate refused: nobody leaves
    if not settled(state) if rollout.candidate is None else exposed(state, rollout.candidate):
        if at >= rollout.since + TOLD_AFTER or gate.failures:
            return _wait(state, rollout, f"going back: {gate.trouble or 'the gate is reloading'}")
        return state
    if stop:
        return _enter(state, rollout, Phase.FINISHING, at)
    phase = Phase.DRAINING if rollout.moved else Phase.STOPPING
    return _enter(state, replace(rollout, waiting=""), phase, at)


def draining(state: State, rollout: Rollout, at: float) -> State:
    """At least `drain`, then until nothing is left, at most `drain_max`; never while exposed."""
    leaving = state.slot(rollout.leaving)
    if leaving is None:
        return _enter(state, rollout, Phase.STOPPING, at)
    if rollout.leaving is rollout.old and leaving.fit and rollout.candidate is not None:
        if rollout.turning is not None:
            return _turn_back(state, rollout, rollout.turning, rollout.reason, at)
        new = state.slot(rollout.candidate)
        if new is not None and new.dead and rollout.outcome is None:
            why = f"{new.release} died while {leaving.release} was still warm"
            return _turn_back(state, rollout, Outcome.ROLLED_BACK, why, at)
    if exposed(state, leaving.color):
        trouble = state.gate.trouble if state.gate.failures else ""
        waits = f"the gate may still send requests to {leaving.release}: {trouble}"
        rollout = replace(rollout, drain_since=None, drained=False, left=None)
        return _wait(_with(state, rollout), rollout, waits if trouble else "")
    if rollout.drain_since is None:
        since = state.gate.verified.generation
        rollout = replace(rollout, drain_since=at, not_named_since=since, waiting="")
        return _with(state, rollout)
    drained_for = at - rollout.drain_since
    gone = leaving.dead and not leaving.external
    patient = drained_for < rollout.policy.drain_max and not rollout.promoted
    if not gone and (drained_for < rollout.policy.drain or (patient and not rollout.drained)):
        return state
    cut = 0 if rollout.drained or gone else (rollout.left or 0)
    ended = replace(rollout, cut=cut, drain_seconds=drained_for)
    return _enter(state, ended, Phase.STOPPING, at)


def stopping(state: State, rollout: Rollout, at: float) -> State:
    """The tree of every leaving instance is empty."""
    slot = state.slot(rollout.leaving)
    if slot is None:
        return _enter(state, rollout, Phase.FINISHING, at)
    if slot.external or empty(slot):
        return _enter(_slot_removed(state, slot, rollout, at), rollout, Phase.FINISHING, at)
    if past_killing(slot, at):
        locked = f"slot {slot.color} is locked: processes of {slot.release} cannot be killed"
        return _wait_in(_enter(state, rollout, Phase.FINISHING, at), locked)
    stopped = stop_all(slot, at)
    return state if stopped == slot else put_slot(state, stopped)


def finishing(state: State, rollout: Rollout, at: float) -> State:
    """The last hooks have ended; then the outcome is told."""
    outcome = rollout.outcome or Outcome.DONE
    for name in _last_hooks(state, rollout, outcome):
        if _hook(rollout, name) is None and name in rollout.policy.hooks:
            return _with(state, _hook_begun(rollout, name, at))
    if any(h.state is HookState.RUNNING for h in rollout.hooks):
        return state
    contract = _hook(rollout, "contract")
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
    good = _good_after(state.good, ended) if outcome is Outcome.DONE else state.good
    return replace(state, rollout=None, last=ended, good=good, old_lanes=lanes, lanes_trouble="")


_PHASES: dict[Phase, Callable[[State, Rollout, float], State]] = {
    Phase.PREPARING: preparing,
    Phase.STARTING: starting,
    Phase.PROVING: proving,
    Phase.ADMITTING: admitting,
    Phase.SHIFTING: shifting,
    Phase.BAKING: baking,
    Phase.COMMITTING: committing,
    Phase.REVERTING: reverting,
    Phase.DRAINING: draining,
    Phase.STOPPING: stopping,
    Phase.FINISHING: finishing,
}


# What several phases share: turning back, holding, stepping.


def _guarded(state: State, rollout: Rollout, at: float) -> State | None:
    """Shifting and baking look here first; None = go on."""
    if rollout.turning is not None:
        return _turn_back(state, rollout, rollout.turning, rollout.reason, at)
    why = guard(state)
    if not why:
        return None
    if cornered(state):
        return _wait(
            state, rollout, f"{why}, but {rollout.from_} is not fit: going back when it is"
        )
    return _turn_back(state, rollout, Outcome.ROLLED_BACK, why, at)


def _held(state: State, rollout: Rollout) -> str:
    if rollout.paused:
        return "paused by a person: relctl resume goes on"
    old = state.slot(rollout.old)
    if old is not None and not old.fit and not old.dead:
        return f"{old.release} is not fit: waiting until going back is possible again"
    return ""


def _step_to(state: State, step: int, at: float) -> State:
    rollout = state.rollout
    assert rollout is not None
    share = rollout.policy.steps[step]
    marks = (*rollout.marks, Mark(rollout.phase, rollout.since)) if step else rollout.marks
    moved = replace(
        rollout,
        step=step,
        wanted_share=share,
        moved=True,
        step_since=None,
        promoted=False,
        waiting="",
        marks=marks,
        since=at,
    )
    return _with(state, moved)


def _step_unproven(state: State, rollout: Rollout, at: float) -> State:
    """`step_max` is over without enough requests: silence is not health."""
    seen = _requests(rollout) - rollout.step_base
    why = f"only {seen} of {rollout.policy.step_requests} requests in the time of a step"
    match rollout.policy.on_unproven:
        case "rollback":
            return _turn_back(state, rollout, Outcome.ROLLED_BACK, f"unproven: {why}", at)
        case "hold":
            return _wait(state, rollout, f"unproven, {why}: relctl promote goes on")
        case _:
            return _step_to(_with(state, replace(rollout, unproven=True)), rollout.step + 1, at)


def _turned_before_traffic(state: State, rollout: Rollout, at: float) -> State | None:
    if rollout.turning is not None:
        return _give_up(state, rollout, rollout.turning, rollout.reason, at)
    why = guard(state)
    return _give_up(state, rollout, Outcome.FAILED, why, at) if why else None


def _give_up(state: State, rollout: Rollout, outcome: Outcome, why: str, at: float) -> State:
    """Nothing names the candidate yet: it can be stopped at once."""
    if rollout.phase is not Phase.PREPARING or rollout.candidate is not None:
        rollout = replace(rollout, leaving=rollout.candidate)
    ended = replace(rollout, outcome=outcome, reason=why, turning=None, waiting="")
    return _enter(state, ended, Phase.STOPPING, at)


def _turn_back(state: State, rollout: Rollout, outcome: Outcome, why: str, at: float) -> State:
    """The lanes first, then a reload that lets the drain end."""
    # A move that was under way may have happened: only one to 0 after it makes sure.
    unsure = rollout.unsure or rollout.share != rollout.wanted_share
    turned = replace(
        rollout,
        unsure=unsure,
        outcome=outcome,
        reason=why,
        turning=None,
        leaving=rollout.candidate,
        committed=False,
        wanted_share=0,
        drain_since=None,
        drained=False,
        left=None,
        waiting="",
        paused=False,
        promoted=False,
    )
    state = _enter(state, turned, Phase.REVERTING, at)
    assert state.rollout is not None
    return reverting(state, state.rollout, at)  # before the gate is told what can still be refused


def _committed(state: State, rollout: Rollout, at: float) -> State:
    done = replace(rollout, committed=True, leaving=rollout.old, waiting="")
    if rollout.old is None:
        done = _hook_begun(done, "after_switch", at)
        return _enter(state, done, Phase.FINISHING, at)
    if rollout.kind is not Kind.STOP:
        done = _hook_begun(done, "after_switch", at)
    return _enter(state, done, Phase.DRAINING, at)


# Entering a phase, and the small facts about rollouts.


def _enter(state: State, rollout: Rollout, phase: Phase, at: float) -> State:
    marks = (*rollout.marks, Mark(rollout.phase, rollout.since))
    state = _with(state, replace(rollout, phase=phase, since=at, marks=marks, waiting=""))
    if phase is Phase.STOPPING:
        slot = state.slot(rollout.leaving)
        return state if slot is None else put_slot(state, stop_all(slot, at))
    if phase in (Phase.ADMITTING, Phase.COMMITTING, Phase.REVERTING):
        return replace(state, gate=fresh_start(state.gate))
    return state


def _new_slot(state: State, rollout: Rollout) -> State:
    """The candidate's slot, on the ports that were leased: nothing runs yet."""
    assert rollout.candidate is not None
    first = state.next_instance
    slot = Slot(
        color=rollout.candidate,
        release=rollout.to,
        snapshot=rollout.id,
        policy=rollout.policy.slot,
        instances=tuple(
            Instance(number=first + index, index=index, address=address)
            for index, address in enumerate(rollout.addresses)
        ),
    )
    return replace(put_slot(state, slot), next_instance=first + len(rollout.addresses))


def _slot_removed(state: State, slot: Slot, rollout: Rollout, at: float) -> State:
    until = at + rollout.policy.drain_max
    resting = tuple(Rest(i.address, until) for i in slot.instances if not slot.external)
    state = replace(state, resting=(*state.resting, *resting))
    return state.with_slot(slot.color, None)


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


def _candidate(state: State, rollout: Rollout) -> Slot:
    slot = state.slot(rollout.candidate)
    assert slot is not None
    return slot


def _with(state: State, rollout: Rollout) -> State:
    return replace(state, rollout=rollout)


def _wait(state: State, rollout: Rollout, why: str) -> State:
    return state if rollout.waiting == why else _with(state, replace(rollout, waiting=why))


def _wait_in(state: State, why: str) -> State:
    return state if state.rollout is None else _wait(state, state.rollout, why)


def _lanes_awaited(state: State, rollout: Rollout, at: float) -> State:
    """The move is retried; what takes long is shown."""
    if state.lanes_trouble or at >= rollout.since + TOLD_AFTER:
        why = state.lanes_trouble or "no answer"
        return _wait(state, rollout, f"the gate does not obey the new share: {why}")
    return state


def _requests(rollout: Rollout) -> int:
    return rollout.blue.total + rollout.green.total


def _not_ready(slot: Slot, rollout: Rollout) -> str:
    seconds = rollout.policy.slot.ready_deadline
    late = [i for i in slot.instances if not i.was_ready]
    detail = late[0].detail if late else ""
    return f"not ready after {seconds:g} s" + (f": {detail}" if detail else "")


def _hook(rollout: Rollout, name: str) -> Hook | None:
    return next((h for h in rollout.hooks if h.name == name), None)


def _hook_begun(rollout: Rollout, name: str, at: float) -> Rollout:
    if name not in rollout.policy.hooks or _hook(rollout, name) is not None:
        return rollout
    hook = Hook(name, HookState.RUNNING, attempt=1, deadline=at + rollout.policy.hook_timeout)
    return replace(rollout, hooks=(*rollout.hooks, hook))


def hooks_overdue(state: State, at: float) -> State:
    """A hook whose runner never reported has failed."""
    rollout = state.rollout
    if rollout is None or not rollout.hooks:
        return state
    hooks = tuple(
        replace(h, state=HookState.FAILED, detail="hook timed out")
        if h.state is HookState.RUNNING and at >= h.deadline + HOOK_GRACE
        else h
        for h in rollout.hooks
    )
    return state if hooks == rollout.hooks else _with(state, replace(rollout, hooks=hooks))


def _runs_before_start(rollout: Rollout) -> bool:
    fresh = rollout.kind in (Kind.SWITCH, Kind.RESTART)
    return fresh and "before_start" in rollout.policy.hooks


def _last_hooks(state: State, rollout: Rollout, outcome: Outcome) -> tuple[str, ...]:
    if rollout.kind is Kind.CONTRACT:
        return ("contract",)
    if rollout.kind is Kind.STOP:
        return ()
    if outcome is not Outcome.DONE:
        return ("on_rollback",) if rollout.moved else ()
    if rollout.kind is Kind.ROLLBACK:
        return ("on_rollback",)
    tree_empty = state.slot(rollout.old) is None
    return ("after_retire",) if rollout.old is not None and tree_empty else ()


def _good_after(good: tuple[Good, ...], rollout: Rollout) -> tuple[Good, ...]:
    """A committed switch pushes, a committed rollback pops; a contract seals what lies below."""
    entry = Good(rollout.to, rollout.id)
    match rollout.kind:
        case Kind.STOP:
            return good
        case Kind.CONTRACT:
            return (*(replace(g, sealed=True) for g in good[:-1]), *good[-1:])
        case Kind.ROLLBACK:
            left = {rollout.to, rollout.from_}  # neither it nor what came after it is a way back
            first = next((n for n, g in enumerate(good) if g.release in left), len(good))
            return (*good[:first], entry)
        case _:
            kept = tuple(g for g in good if g.release != rollout.to)
            return (*kept, entry)[-20:]
