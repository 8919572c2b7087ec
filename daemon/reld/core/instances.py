"""The life of single instances: what an event says of one, nursing, and stopping in steps.

Nursing is for the live slot only: what dies is started again on its own port with backoff, one
unhealthy instance at a time, and never while the gate still names it if another one is fit.
A candidate is never restarted (its exit is the guard), a leaving instance never revived.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reld.core.events import (
    Exited,
    LetGo,
    LivenessProbed,
    PortTaken,
    ReadinessProbed,
    Signalled,
    Spawned,
    SpawnFailed,
    TreeEmpty,
)
from reld.core.model import Exit, Instance, InstanceState, Slot, State
from reld.core.routing import Role, named, role, sick

SETTLED_AFTER = 2.0
"""Seconds that a worker has to live, at least, until it counts as running: nobody can ask it."""
BACKOFF_FIRST = 0.1
BACKOFF_MOST = 30.0
LIVED_LONG = 60.0
"""Seconds of life after which the backoff begins anew."""
KILL_TIME = 10.0
"""Seconds that a SIGKILLed tree gets until a person is told."""

InstanceEvent = (
    Spawned
    | SpawnFailed
    | PortTaken
    | LetGo
    | Exited
    | ReadinessProbed
    | LivenessProbed
    | Signalled
    | TreeEmpty
)

_UNBORN = (InstanceState.WANTED, InstanceState.HELD)
_SERVING = (InstanceState.READY, InstanceState.UNREADY)
_OVER = (InstanceState.EXITED, InstanceState.PARKED)


def put_slot(state: State, slot: Slot) -> State:
    return state.with_slot(slot.color, slot)


def change(slot: Slot, number: int, how: Callable[[Instance], Instance]) -> Slot:
    return each(slot, lambda i: how(i) if i.number == number else i)


def each(slot: Slot, how: Callable[[Instance], Instance]) -> Slot:
    """The slot with every instance and worker changed so; the same one where none is."""
    instances, workers = tuple(map(how, slot.instances)), tuple(map(how, slot.workers))
    if (instances, workers) == (slot.instances, slot.workers):
        return slot
    return replace(slot, instances=instances, workers=workers)


def happened(state: State, event: InstanceEvent, at: float) -> State:
    """Note a fact about one instance; a number that no instance has changes nothing."""
    for slot in state.slots:
        if any(i.number == event.number for i in slot.processes):
            new = change(slot, event.number, lambda i, s=slot: _noted(s, i, event, at))  # type: ignore[misc]
            return state if new is slot else put_slot(state, new)
    return state


def _noted(slot: Slot, instance: Instance, event: InstanceEvent, at: float) -> Instance:
    match event:
        case ReadinessProbed() | LivenessProbed() if instance.worker:
            return instance
        case Spawned(identity=identity) if instance.state is InstanceState.WANTED:
            return replace(instance, state=InstanceState.HELD, identity=identity, robbed=False)
        case SpawnFailed(detail=detail) if instance.state in _UNBORN:
            return _gone(instance, Exit(), detail, at)
        case PortTaken(detail=detail, instead=instead) if instance.state is InstanceState.WANTED:
            moved = replace(instance, address=instead or instance.address, robbed=not instead)
            return _gone(moved, Exit(), detail, at)
        case LetGo() if instance.state is InstanceState.HELD:
            return replace(
                instance,
                state=InstanceState.STARTING,
                started_at=at,
                deadline=at + starting_time(slot, instance),
            )
        case Exited(exit=exit_, detail=detail) if instance.runs:
            return _gone(instance, exit_, detail, at)
        case TreeEmpty() if instance.state is InstanceState.KILLING:
            return replace(instance, state=InstanceState.EXITED, deadline=None)
        case Signalled() if instance.state is InstanceState.STOPPING:
            return replace(instance, signalled=True, deadline=at + slot.stop_timeout(instance))
        case ReadinessProbed(passed=True):
            return _passed(slot, instance)
        case ReadinessProbed(passed=False, detail=detail):
            return _missed(slot, instance, detail)
        case LivenessProbed(passed=True) if instance.live_misses:
            return replace(instance, live_misses=0)
        case LivenessProbed(passed=False, detail=detail) if instance.was_ready:
            misses = min(instance.live_misses + 1, slot.policy.live_failures)
            return replace(instance, live_misses=misses, detail=detail)
        case _:
            return instance


def starting_time(slot: Slot, instance: Instance) -> float:
    """Seconds until a process that was let go is ready, or late.

    A worker that has ended again and again has to live the longer to count as running.
    """
    if instance.worker:
        return max(SETTLED_AFTER, instance.backoff)
    return slot.policy.ready_deadline


def _gone(instance: Instance, exit_: Exit, detail: str, at: float) -> Instance:
    """Its process ended: what it left behind is killed before its port is used again."""
    return replace(
        instance,
        state=InstanceState.KILLING,
        exit=exit_,
        deadline=at + KILL_TIME,
        detail=detail or instance.detail,
    )


def _passed(slot: Slot, instance: Instance) -> Instance:
    starting = instance.state is InstanceState.STARTING
    needed = slot.policy.ready_successes if starting else 2
    if instance.state is InstanceState.READY:
        return replace(instance, misses=0) if instance.misses else instance
    if not (starting or instance.state is InstanceState.UNREADY):
        return instance
    if instance.ready_streak + 1 < needed:
        return replace(instance, ready_streak=instance.ready_streak + 1)
    return replace(
        instance,
        state=InstanceState.READY,
        ready_streak=0,
        misses=0,
        deadline=None,
        detail="",
    )


def _missed(slot: Slot, instance: Instance, detail: str) -> Instance:
    if instance.state is InstanceState.STARTING:
        return replace(instance, ready_streak=0, detail=detail)
    if instance.state not in _SERVING:
        return instance
    misses = min(instance.misses + 1, slot.policy.ready_misses)
    unready = misses >= slot.policy.ready_misses
    return replace(
        instance,
        state=InstanceState.UNREADY if unready else instance.state,
        misses=misses,
        ready_streak=0,
        detail=detail,
    )


def tend(state: State, at: float) -> State:
    """Let time and rules act on every instance."""
    for slot in state.slots:
        if slot.external:
            continue
        tended = replace(slot, instances=tuple(parked(escalated(i, at)) for i in slot.instances))
        if tended != slot:
            state = put_slot(state, tended)
        match role(state, slot.color):
            case Role.LIVE:
                state = _nursed(state, tended, at)
            case Role.LEAVING | Role.CANDIDATE:
                state = put_slot(state, _spared(tended)) if _spared(tended) != tended else state
    return state


def escalated(instance: Instance, at: float) -> Instance:
    """What does not end within its time is killed."""
    if instance.deadline is None or at < instance.deadline:
        return instance
    if instance.state is InstanceState.STOPPING:
        return replace(instance, state=InstanceState.KILLING, deadline=at + KILL_TIME)
    return instance


def parked(instance: Instance) -> Instance:
    """A spare one that has ended is not there on purpose: nobody is to blame, nobody revives it."""
    if not instance.spare or instance.state is not InstanceState.EXITED:
        return instance
    state = InstanceState.PARKED
    return Instance(instance.number, instance.index, instance.address, state, spare=True)


def _spared(slot: Slot) -> Slot:
    """A stop that was queued while the slot was live is cancelled when it no longer is."""
    return replace(
        slot,
        instances=tuple(
            replace(i, state=InstanceState.UNREADY, deadline=None)
            if i.state is InstanceState.STOPPING and not i.signalled and i.deadline is None
            else i
            for i in slot.instances
        ),
    )


def _nursed(state: State, slot: Slot, at: float) -> State:
    for instance in slot.instances:
        if instance.spare:
            continue
        if instance.state is InstanceState.EXITED:
            new = reborn(instance, state.next_instance, at)
            slot = replace(
                slot,
                instances=tuple(new if i is instance else i for i in slot.instances),
            )
            state = replace(put_slot(state, slot), next_instance=state.next_instance + 1)
        elif instance.state is InstanceState.WANTED and 0 < instance.spawn_at <= at:
            slot = change(slot, instance.number, lambda i: replace(i, spawn_at=0.0))
            state = put_slot(state, slot)
        elif _to_be_restarted(state, slot, instance, at):
            slot = change(
                slot,
                instance.number,
                lambda i: replace(i, state=InstanceState.STOPPING, deadline=None),
            )
            state = put_slot(state, slot)
    return state


def reborn(old: Instance, number: int, at: float) -> Instance:
    """Its successor, to be spawned after a backoff that grows with every short life."""
    lived = at - old.started_at if old.started_at else 0.0
    backoff = BACKOFF_FIRST if lived >= LIVED_LONG else old.backoff
    return Instance(
        number=number,
        index=old.index,
        address=old.address,
        spawn_at=at + backoff,
        robbed=old.robbed,
        restarts=old.restarts + 1,
        backoff=min(backoff * 2, BACKOFF_MOST),
        detail=old.detail,
        worker=old.worker,
        near=old.near,
    )


def _to_be_restarted(state: State, slot: Slot, instance: Instance, at: float) -> bool:
    if instance.state is InstanceState.STARTING:
        return instance.deadline is not None and at >= instance.deadline
    if instance.state not in _SERVING or not sick(slot, instance):
        return False
    defaults = [loaded.routing.default for loaded in state.gate.possible]
    if any(d is None or d.color is not slot.color for d in defaults):
        return False  # live may have flipped already, and then it drains
    others = [i for i in slot.crew if i is not instance]
    if not all(i.was_ready for i in others):
        return False  # one at a time
    if any(i.state is InstanceState.READY and not sick(slot, i) for i in others):
        return not named(state, instance.address)  # the gate leaves it first
    return not any(sick(slot, i) and i.number < instance.number for i in others)


def stop_all(slot: Slot, at: float) -> Slot:
    """The stop signal for every instance and worker; what has no process is simply over."""
    return each(slot, lambda i: to_stop(slot, i, at))


def stop_spare(slot: Slot, at: float) -> Slot:
    return each(slot, lambda i: to_stop(slot, i, at) if i.spare else i)


def to_stop(slot: Slot, instance: Instance, at: float) -> Instance:
    """It shall end: what was not let go at once, all else with its stop signal."""
    if slot.external or instance.state in (InstanceState.WANTED, InstanceState.EXITED):
        return replace(instance, state=InstanceState.EXITED, deadline=None)
    if instance.state is InstanceState.HELD:
        return replace(instance, state=InstanceState.KILLING, deadline=at + KILL_TIME)
    if instance.state in (InstanceState.KILLING, InstanceState.PARKED):
        return instance
    if instance.state is InstanceState.STOPPING and instance.signalled:
        return instance
    return replace(
        instance,
        state=InstanceState.STOPPING,
        deadline=at + slot.stop_timeout(instance),
    )


def kill_all(slot: Slot, at: float) -> Slot:
    """Whatever still runs is killed: nobody needs it and nothing may reach it."""
    return each(slot, lambda i: _to_kill(i, at))


def _to_kill(instance: Instance, at: float) -> Instance:
    if instance.state is InstanceState.WANTED:
        return replace(instance, state=InstanceState.EXITED, deadline=None)
    if instance.runs and instance.state is not InstanceState.KILLING:
        return replace(instance, state=InstanceState.KILLING, deadline=at + KILL_TIME)
    return instance


def past_killing(slot: Slot, at: float) -> bool:
    """Everything was killed, and what is left has had its time to die."""
    return all(
        i.state in _OVER
        or (i.state is InstanceState.KILLING and i.deadline is not None and at >= i.deadline)
        for i in slot.processes
    )


def empty(slot: Slot) -> bool:
    """No process of any tree is left."""
    return all(i.state in _OVER for i in slot.processes)
