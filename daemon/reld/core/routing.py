"""Who should get requests, who may get some now, and when the gate has to be reloaded for it."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto

from reld.core.events import End, ReloadEnded
from reld.core.maintenance import with_maintenance
from reld.core.model import (
    Color,
    Gate,
    Instance,
    InstanceState,
    Kind,
    Loaded,
    Marked,
    Phase,
    Rollout,
    Routing,
    Slot,
    State,
    Target,
)

RETRY_FIRST = 0.5
RETRY_MOST = 30.0
RELOAD_MOST = 60.0
"""Seconds after which a reload that never reported its end counts as unknown."""

_BOTH_NAMED = (Phase.ADMITTING, Phase.SHIFTING, Phase.BAKING, Phase.RETURNING)


class Role(Enum):
    LIVE = auto()  # nursed
    CANDIDATE = auto()  # watched: an exit is the guard's business
    LEAVING = auto()  # left alone until it is stopped


def role(state: State, color: Color) -> Role:
    rollout = state.rollout
    # A stop has no candidate: beside what stops there is at most a slot that could not be killed.
    if rollout is None or (rollout.kind is Kind.STOP and color is not rollout.leaving):
        return Role.LIVE if state.live is color else Role.LEAVING
    if color is rollout.leaving or (rollout.made_way and color is rollout.old):
        return Role.LEAVING
    if color is rollout.candidate and rollout.leaving is None and not rollout.committed:
        return Role.CANDIDATE
    return Role.LIVE


def exposed(state: State, color: Color) -> bool:
    """A new request could reach the slot: by the verified config or any that may be in force.

    Being named is enough: at share 0 a candidate is still the live slot's backup.
    """
    return any(loaded.routing.names(color) for loaded in state.gate.possible)


def named(state: State, address: str) -> bool:
    """Some config that may be in force names this instance."""
    return any(
        target is not None and address in target.addresses
        for loaded in state.gate.possible
        for target in (loaded.routing.default, loaded.routing.candidate)
    )


def sick(slot: Slot, instance: Instance) -> bool:
    return instance.live_misses >= slot.policy.live_failures


def target_of(state: State, slot: Slot) -> Target | None:
    """The slot's healthy instances; if none is, those that are named already, but never an address
    where a stranger would answer: then it is still the live slot, with nobody to ask.
    """
    healthy = tuple(
        i.address for i in slot.crew if i.state is InstanceState.READY and not sick(slot, i)
    )
    if healthy:
        return Target(slot.color, slot.release, healthy)
    ours = {i.address for i in slot.crew if not i.robbed}
    for target in (state.gate.verified.routing.default, state.gate.verified.routing.candidate):
        if target is None or target.color is not slot.color or not target.addresses:
            continue
        if ours >= set(target.addresses):
            return target
    known = tuple(i.address for i in slot.crew if i.was_ready)
    return Target(slot.color, slot.release, known) if known or state.live is slot.color else None


def answers_somewhere(state: State, slot: Slot) -> bool:
    """Some address of the slot can be given requests. Not so while a stranger has all its ports."""
    target = target_of(state, slot)
    return target is not None and bool(target.addresses)


def wanted(state: State) -> Routing:
    """The routing that this state asks for."""
    return with_maintenance(state, _wanted(state))


def _wanted(state: State) -> Routing:
    rollout = state.rollout
    if rollout is None:
        return Routing(default=_default(state, _resident(state)))
    if rollout.phase in _BOTH_NAMED:
        candidate = state.slot(rollout.candidate)
        assert candidate is not None
        everyone = tuple(i.address for i in candidate.instances)
        if rollout.surge:  # one that came later is named once it was ready
            crew = (i for i in candidate.crew if i.was_ready or named(state, i.address))
            everyone = tuple(i.address for i in crew)
        return Routing(
            default=_beside_a_candidate(state, rollout.old),
            candidate=Target(candidate.color, candidate.release, everyone),
            rollout=rollout.id,
            shadow=rollout.policy.shadow,
            rehearsal=_marked(rollout),
        )
    serving = _default(state, serving_after(rollout))
    old = state.slot(rollout.old)
    if serving is None and old is not None and _comes_back(rollout):
        serving = Target(old.color, old.release, ())
    return Routing(default=serving)


def _marked(rollout: Rollout) -> Marked | None:
    """How the gate tells the own requests of a rehearsal."""
    ours = rollout.rehearsal
    return None if ours is None or not ours.token else Marked(ours.token, ours.fails)


def _comes_back(rollout: Rollout) -> bool:
    """The old slot was stopped, and is the live one again before anybody of it can be asked."""
    return rollout.stop_first and rollout.phase is Phase.REVERTING


def serving_after(rollout: Rollout) -> Color | None:
    """Which slot has the traffic in a phase that names only one."""
    if rollout.committed or rollout.phase is Phase.COMMITTING:
        return rollout.candidate  # None when the job is to stop
    return None if rollout.made_way else rollout.old


def settled(state: State) -> bool:
    """The gate serves what is wanted, and nothing else may be in force."""
    gate = state.gate
    return gate.in_flight is None and not gate.suspects and gate.verified.routing == wanted(state)


def see_to_gate(state: State, at: float) -> State:
    """Begin a reload where one is needed and none is in flight."""
    gate = state.gate
    if gate.in_flight is not None and gate.deadline is not None and at >= gate.deadline:
        gave_up = ReloadEnded(gate.in_flight.generation, End.UNKNOWN, "the reload never ended")
        state = reload_ended(state, gave_up, at)
        gate = state.gate
    if settled(state):  # also when what was refused is not wanted any more
        return replace(state, gate=fresh_start(gate)) if gate.failures else state
    if gate.in_flight is not None or at < gate.retry_at:
        return state
    loaded = Loaded(state.next_generation, wanted(state))
    rollout = state.rollout
    if rollout is not None:
        rollout = replace(rollout, reloads=rollout.reloads + 1)
    return replace(
        state,
        gate=replace(gate, in_flight=loaded, deadline=at + RELOAD_MOST),
        next_generation=state.next_generation + 1,
        rollout=rollout,
    )


def reload_ended(state: State, event: ReloadEnded, at: float) -> State:
    gate = state.gate
    if gate.in_flight is None or gate.in_flight.generation != event.generation:
        return state
    if event.end is End.VERIFIED:
        return replace(state, gate=Gate(verified=gate.in_flight))
    delay = min(RETRY_FIRST * 2.0 ** min(gate.failures, 10), RETRY_MOST)
    suspects = gate.suspects
    if event.end is End.UNKNOWN:
        suspects = suspected(suspects, gate.in_flight)
    return replace(
        state,
        gate=replace(
            gate,
            in_flight=None,
            deadline=None,
            suspects=suspects,
            retry_at=at + delay,
            failures=gate.failures + 1,
            trouble=event.detail or f"the gate {event.end} a reload",
        ),
    )


def suspected(suspects: tuple[Loaded, ...], loaded: Loaded) -> tuple[Loaded, ...]:
    """One more; of those that say the same the newest stands for all, or a dead gate fills the disk."""
    others = tuple(s for s in suspects if s.routing != loaded.routing)
    return (*others, loaded)


def fresh_start(gate: Gate) -> Gate:
    """A new phase wants something of the gate: old failures neither delay nor condemn it."""
    trouble = "" if gate.failures else gate.trouble  # of its process: not for us to forget
    return replace(gate, retry_at=0.0, failures=0, trouble=trouble)


def _resident(state: State) -> Color | None:
    """Steady: the live slot, or the external one that waits to become it."""
    if state.live is not None:
        return state.live
    return next((s.color for s in state.slots if s.external), None)


def _beside_a_candidate(state: State, color: Color | None) -> Target | None:
    """A candidate needs another slot. If a stranger has all the ports of that one, it is dead, and a dead
    slot's lanes are the candidate's already.
    """
    found = _default(state, color)
    return found if found is not None and found.addresses else state.gate.verified.routing.default


def _default(state: State, color: Color | None) -> Target | None:
    slot = state.slot(color)
    return None if slot is None else target_of(state, slot)
