"""The state machine: facts in, then rules until nothing moves any more.

`step` is total: any event in any state gives a state, a stale one gives the same state. It notes what
the event says (`_noted`), then settles: instances are tended, the rollout takes its turns, the gate is
told. Everything is a rule over facts, so what was missed while reld was down is made up for by the
next step.
"""

from __future__ import annotations

from dataclasses import replace

from reld.core import (
    approval,
    commands,
    crew,
    hooks,
    instances,
    pacing,
    parking,
    rehearsal,
    routing,
    stop_first,
    turns,
    watch,
    workers,
)
from reld.core import rollout as life
from reld.core.commands import Begin, Command
from reld.core.events import (
    ActiveTold,
    Asked,
    DrainCounted,
    Event,
    Exited,
    GateTrouble,
    HookEnded,
    Judged,
    LanesMoved,
    LanesRemoved,
    LanesStuck,
    LetGo,
    LinkNoted,
    LivenessProbed,
    OldAsked,
    PortTaken,
    Prepared,
    PrepareFailed,
    ReadinessProbed,
    ReloadEnded,
    ShadowSet,
    ShieldSet,
    Signalled,
    SmokeEnded,
    Spawned,
    SpawnFailed,
    StoreTrouble,
    StreamsClosed,
    StreamsStay,
    Tick,
    TreeEmpty,
    UnitsFailed,
    UnitsRemoved,
)
from reld.core.maintenance import Maintain, in_time, maintained
from reld.core.model import (
    Color,
    HookState,
    Instance,
    InstanceState,
    Kind,
    Phase,
    Rollout,
    Slot,
    State,
)
from reld.core.policy import Policy, SlotPolicy
from reld.core.rehearsed import Rehearsal
from reld.core.shadowing import shadow_alarms, shadow_set, shadows

MOST_TURNS = 100
"""A bound on the turns of one step: more would be two rules that undo each other."""


def first_state(app: str, boot: str, external: str | None = None) -> State:
    """Nothing runs. `external`: the address of an app that runs already."""
    state = State(app=app, boot=boot)
    if external is None:
        return state
    instance = Instance(number=1, index=0, address=external, state=InstanceState.STARTING)
    slot = Slot(Color.BLUE, "external", 0, SlotPolicy(), (instance,), external=True)
    return replace(state, blue=slot, next_instance=2)


def step(state: State, event: Event | Command, at: float) -> State:
    """The next state. A command must have been let through by `commands.refuse`."""
    return settle(_noted(state, event, at), at)


def settle(state: State, at: float) -> State:
    """Apply the rules until nothing moves."""
    state = in_time(state, at)
    for _ in range(MOST_TURNS):
        before = state
        state = parking.restored(instances.tend(state, at))
        state = workers.tend(state, at)
        state = hooks.hooks_overdue(state, at)
        state = life.advance(state, at)
        state = turns.locked_away(state, at)
        state = routing.see_to_gate(state, at)
        if state == before:
            return _rested(state, at)
    message = "the rules of the state machine do not settle"
    raise AssertionError(message)


def _rested(state: State, at: float) -> State:
    resting = tuple(r for r in state.resting if r.until > at)
    return state if resting == state.resting else replace(state, resting=resting)


def _noted(state: State, event: Event | Command, at: float) -> State:
    match event:
        case Tick():
            return state
        case Begin():
            return begun(state, event, at)
        case Maintain():
            return maintained(state, event, at)
        case (
            commands.Pause()
            | commands.Resume()
            | commands.Promote()
            | commands.Abort()
            | commands.Approve()
        ):
            if state.rollout is None or state.rollout.id != event.rollout:
                return state
            return replace(state, rollout=commands.steered(state.rollout, event))
        case (
            Spawned()
            | SpawnFailed()
            | PortTaken()
            | LetGo()
            | Exited()
            | ReadinessProbed()
            | LivenessProbed()
            | Signalled()
            | TreeEmpty()
        ):
            return instances.happened(state, event, at)
        case ReloadEnded():
            return routing.reload_ended(state, event, at)
        case StoreTrouble(detail=detail):
            return state if state.store_trouble == detail else replace(state, store_trouble=detail)
        case GateTrouble(detail=detail):
            gate = replace(state.gate, trouble=detail)
            return state if gate == state.gate else replace(state, gate=gate)
        case ActiveTold(trouble=trouble):
            return replace(state, active_trouble=trouble)
        case LinkNoted(followed=followed):
            return replace(state, follow=followed)
        case LanesRemoved(rollout=number):
            kept = tuple(o for o in state.old_lanes if o.rollout != number)
            return replace(state, old_lanes=kept)
        case _:
            running = state.rollout
            if running is None or running.id != event.rollout:
                return state
            return _of_rollout(state, running, event, at)


_RolloutEvent = (
    Prepared
    | PrepareFailed
    | SmokeEnded
    | HookEnded
    | LanesMoved
    | LanesStuck
    | DrainCounted
    | StreamsClosed
    | StreamsStay
    | Judged
    | Asked
    | OldAsked
    | ShieldSet
    | ShadowSet
    | UnitsFailed
    | UnitsRemoved
)


def _of_rollout(state: State, rollout: Rollout, event: _RolloutEvent, at: float) -> State:
    match event:
        case Prepared(addresses=addresses, warning=warning):
            if rollout.phase is not Phase.PREPARING or rollout.prepared is not None:
                return state
            rollout = _with_workers(rollout, event)
            warning = rollout.warning or warning
            prepared = replace(rollout, prepared=True, addresses=addresses, warning=warning)
            return replace(state, rollout=prepared)
        case PrepareFailed(detail=detail):
            if rollout.phase is not Phase.PREPARING or rollout.prepared is not None:
                return state
            return replace(state, rollout=replace(rollout, prepared=False, detail=detail))
        case SmokeEnded(passed=passed, detail=detail):
            if rollout.phase is not Phase.PROVING or rollout.smoke is not None:
                return state
            return replace(state, rollout=replace(rollout, smoke=passed, detail=detail))
        case HookEnded():
            return replace(state, rollout=_hook_ended(rollout, event))
        case LanesMoved(share=share):
            moved = replace(rollout, share=share, unsure=False)
            return replace(state, rollout=moved, lanes_trouble="")
        case LanesStuck(detail=detail):
            return replace(state, lanes_trouble=detail)
        case DrainCounted(since=since) if rollout.thins and rollout.thins.since == since:
            if rollout.thins.over:
                return state
            drained = event.connections + event.workers == 0
            thinning = replace(rollout.thins, drained=drained, left=event.connections)
            counted = replace(rollout, thinning=thinning)
            return replace(state, rollout=pacing.counted(counted, event.streams))
        case DrainCounted(since=since, connections=connections, workers=workers):
            if rollout.phase is not Phase.DRAINING or since != rollout.not_named_since:
                return state
            left = connections + workers
            counted = replace(rollout, left=connections, drained=left == 0)
            return replace(state, rollout=pacing.counted(counted, event.streams))
        case StreamsClosed() | StreamsStay():
            return replace(state, rollout=pacing.noted(rollout, event))
        case Judged():
            judged = watch.judged(rollout, event, at)
            return replace(state, rollout=rehearsal.heard(judged, event))
        case Asked():
            return replace(state, rollout=rehearsal.asked(rollout, event))
        case OldAsked(passed=passed):
            asked = replace(rollout, old_answers=passed, asked_at=at)
            return replace(state, rollout=asked)
        case ShieldSet(on=on):
            return replace(state, rollout=replace(rollout, unshielded=not on))
        case ShadowSet(on=on):
            return replace(state, rollout=shadow_set(rollout, at, on=on))
        case UnitsFailed(detail=detail):
            return replace(state, rollout=replace(rollout, unit_trouble=detail))
        case UnitsRemoved(detail=detail):
            if rollout.phase is not Phase.STOPPING:
                return state
            return replace(state, rollout=replace(rollout, unit_gone=detail))


def _with_workers(rollout: Rollout, event: Prepared) -> Rollout:
    """The release's own, as its snapshot has them."""
    if event.workers is None:
        return rollout
    slot = replace(rollout.policy.slot, workers=event.workers)
    return replace(rollout, policy=replace(rollout.policy, slot=slot))


def _hook_ended(rollout: Rollout, event: HookEnded) -> Rollout:
    ended = HookState.DONE if event.passed else HookState.FAILED
    return replace(
        rollout,
        hooks=tuple(
            replace(h, state=ended, detail=event.detail)
            if (h.name, h.attempt) == (event.name, event.attempt) and h.state is HookState.RUNNING
            else h
            for h in rollout.hooks
        ),
    )


def begun(state: State, begin: Begin, at: float) -> State:
    """A new rollout, in its first phase."""
    live = state.slot(state.live)
    release = commands.release_of(state, begin)
    old = state.live
    if old is None:
        old = next((s.color for s in state.slots), None)
    rollout = Rollout(
        id=state.next_rollout,
        kind=begin.kind,
        phase=Phase.PREPARING,
        since=at,
        began=at,
        policy=_policy_of(begin, live),
        actor=begin.actor,
        from_=live.release if live is not None else "",
        to=release,
        old=old,
        candidate=(old or Color.GREEN).other,
        force=begin.force,
        people=begin.people,
        note=begin.note,
        approval=begin.approval and approval.needed(state, begin.kind, release),
        stop_first=stop_first.chosen(begin.kind, begin.policy, state.slot(old)),
        reason=begin.reason,
        old_units=live.units if live is not None else (),
        unit=begin.unit,
        port=begin.port,
        on_duty=begin.on_duty,
        rehearsal=_rehearsal_of(begin),
    )
    state = replace(state, next_rollout=state.next_rollout + 1)
    if begin.follow is not None:
        state = replace(state, follow=replace(begin.follow, rollout=rollout.id))
    if begin.kind is Kind.STOP:
        stop = replace(rollout, phase=Phase.COMMITTING, candidate=None, to="", moved=True)
        fresh = routing.fresh_start(state.gate)
        return replace(state, rollout=stop, gate=fresh)
    if begin.kind is Kind.CONTRACT:
        contract = replace(rollout, phase=Phase.FINISHING, candidate=None)
        return replace(state, rollout=contract)
    return replace(state, rollout=rollout)


def _policy_of(begin: Begin, live: Slot | None) -> Policy:
    """A known release is never canaried: proven ready, then straight to 100 %."""
    wish = _rehearsal_of(begin)
    if wish is not None:
        return rehearsal.policy_of(begin.policy, wish, live)
    if begin.kind not in (Kind.ROLLBACK, Kind.EJECT):
        return begin.policy
    watched_only = replace(begin.policy.verdict, act=False)
    policy = replace(begin.policy, steps=(100,), bake=0.0, shadow=0.0, verdict=watched_only)
    policy = replace(policy, approve_after=())
    if begin.kind is Kind.EJECT and live is not None:
        return replace(policy, slot=live.policy)  # as it runs now, whatever the config says today
    return policy


def _rehearsal_of(begin: Begin) -> Rehearsal | None:
    return (begin.rehearsal or Rehearsal()) if begin.kind is Kind.REHEARSAL else None


def alarm(state: State, at: float) -> float | None:
    """When, after `at`, the next Tick is due if nothing else happens (CLOCK_BOOTTIME seconds).

    What was due by `at` has been settled: a past time would only make the engine spin.
    """
    times: list[float] = [r.until for r in state.resting]
    if state.maintenance is not None:
        times.append(state.maintenance.until)
    gate = state.gate
    if gate.in_flight is not None and gate.deadline is not None:
        times.append(gate.deadline)
    elif not routing.settled(state):
        times.append(gate.retry_at)
    for slot in state.slots:
        times += [i.deadline for i in slot.processes if i.deadline is not None]
        times += [i.spawn_at for i in slot.processes if i.state is InstanceState.WANTED]
    if state.rollout is not None:
        times += [*_alarms_of(state.rollout), *stop_first.alarms(state)]
        times += rehearsal.alarms(state.rollout)
        running = (h for h in state.rollout.hooks if h.state is HookState.RUNNING)
        times += [h.deadline + hooks.HOOK_GRACE for h in running]
    return min((t for t in times if t > at), default=None)


def _alarms_of(rollout: Rollout) -> list[float]:
    policy = rollout.policy
    match rollout.phase:
        case Phase.PREPARING:
            return [rollout.since + policy.prepare_deadline]
        case Phase.STARTING:
            return [rollout.since + policy.slot.ready_deadline]
        case Phase.PROVING:
            return [rollout.since + policy.smoke_deadline]
        case Phase.ADMITTING:
            return [rollout.since + 2 * policy.reload_deadline]
        case Phase.SHIFTING if shadows(rollout):
            return shadow_alarms(rollout)
        case Phase.SHIFTING if rollout.step_since is not None:
            return [
                rollout.watch.silent_at
            ]  # how long a step has been watched is news of the sensor
        case Phase.SHIFTING | Phase.RETURNING:
            since = max(rollout.since, rollout.crew_at)
            return [since + turns.TOLD_AFTER, rollout.watch.silent_at, *crew.alarms(rollout)]
        case Phase.BAKING:
            return [rollout.since + policy.bake, rollout.watch.silent_at]
        case Phase.REVERTING:
            return [rollout.since + turns.TOLD_AFTER]
        case Phase.DRAINING if rollout.drain_since is not None:
            limits = (policy.drain, pacing.patience(rollout))
            return [rollout.drain_since + limit for limit in limits]
        case Phase.STOPPING if rollout.kind is Kind.EJECT:
            return [turns.units_late_at(rollout)]
        case _:
            return []
