"""After any start of reld: correct the facts, choose no phase, then go on by the same rules.

Recovery is the only start: a first start, a restart, an upgrade, a crash and a reboot all come through
here, so the way that is needed at 2 a.m. is the one that runs every day.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reld.core import stop_first
from reld.core.instances import KILL_TIME, each, starting_time
from reld.core.machine import settle
from reld.core.maintenance import released
from reld.core.model import (
    Exit,
    Gate,
    HookState,
    Instance,
    InstanceState,
    Kind,
    Loaded,
    Outcome,
    Phase,
    Rollout,
    Slot,
    State,
    Watch,
)
from reld.core.rehearsed import of_another_boot
from reld.core.routing import suspected
from reld.core.watch import listened

_UNCOMMITTED = (Phase.ADMITTING, Phase.SHIFTING, Phase.BAKING, Phase.COMMITTING)
_UNSEEN = (Phase.PREPARING, Phase.STARTING, Phase.PROVING)
_HAD_PROCESS = (
    InstanceState.HELD,
    InstanceState.STARTING,
    InstanceState.READY,
    InstanceState.UNREADY,
    InstanceState.STOPPING,
)


@dataclass(frozen=True, slots=True)
class Observed:
    """What is really there.

    `alive`: numbers of the instances whose process was adopted. `serving`: the generation that the
    gate answers for this app; None = no answer. `share`: the lanes of the running rollout; None =
    no lanes directory. `outdated`: what the gate serves was made from other settings than today's.
    """

    boot: str
    alive: frozenset[int] = frozenset()
    serving: int | None = None
    share: int | None = None
    outdated: bool = False


def recover(state: State, observed: Observed, at: float) -> State:
    """The state that fits what was found.

    A rollout that ends by it is left to the first Tick: the engine has to see the end, because it
    writes the receipt.
    """
    rebooted = observed.boot != state.boot
    state = replace(state, gate=_gate_found(state.gate, observed))  # first: live may have flipped
    if observed.outdated and state.rollout is None:  # a rollout's next reload brings them
        state = replace(state, gate=_anew(state.gate))
    state = released(state)  # nobody waits: where requests waited was our socket
    if rebooted:
        state = _rebooted(state, observed, at)
    for slot in state.slots:
        corrected = _instances_found(slot, observed, at, rebooted=rebooted)
        if corrected != slot:
            state = state.with_slot(slot.color, corrected)
    if state.rollout is not None:
        state = replace(state, rollout=_rollout_found(state.rollout, observed, at))
    settled = settle(state, at)
    ended = state.rollout is not None and settled.rollout is None
    return state if ended else settled


def _instances_found(slot: Slot, observed: Observed, at: float, *, rebooted: bool) -> Slot:
    if slot.external and slot.unit and rebooted:  # systemd starts it anew: it is asked anew
        return replace(slot, instances=tuple(_asked_anew(i) for i in slot.instances))
    if slot.external:
        return slot
    if rebooted:
        return each(slot, _all_gone)
    return each(slot, lambda instance: _instance_found(slot, instance, observed, at))


def _all_gone(instance: Instance) -> Instance:
    if instance.state is InstanceState.WANTED:
        return replace(instance, spawn_at=0.0)
    return replace(instance, state=InstanceState.EXITED, deadline=None, spawn_at=0.0)


def _instance_found(slot: Slot, instance: Instance, observed: Observed, at: float) -> Instance:
    if instance.state is InstanceState.KILLING:
        return replace(instance, deadline=at + KILL_TIME)
    if instance.state in _HAD_PROCESS:
        return _process_found(slot, instance, observed, at)
    return instance


def _asked_anew(instance: Instance) -> Instance:
    if not instance.was_ready:
        return instance
    return replace(instance, state=InstanceState.STARTING, ready_streak=0, misses=0)


def _process_found(slot: Slot, instance: Instance, observed: Observed, at: float) -> Instance:
    if instance.number in observed.alive:
        found = replace(instance, adopted=True)
        if found.state is InstanceState.HELD:
            # Let go just before reld ended, or it ends by itself: its launch pipe is closed.
            found = replace(found, state=InstanceState.STARTING, started_at=at)
        if found.state is InstanceState.STARTING:  # nobody asked it while reld was away
            found = replace(found, deadline=at + starting_time(slot, found))
        if found.state is InstanceState.STOPPING and found.deadline and not found.signalled:
            found = replace(found, deadline=at + slot.stop_timeout(found))  # nobody asked it to go
        return found
    return replace(instance, state=InstanceState.KILLING, exit=Exit(), deadline=at + KILL_TIME)


def _gate_found(gate: Gate, observed: Observed) -> Gate:
    flying = gate.in_flight
    if flying is not None and observed.serving == flying.generation:
        return Gate(verified=flying)
    suspects = gate.suspects if flying is None else suspected(gate.suspects, flying)
    known = {gate.verified.generation, *(s.generation for s in suspects)}
    if observed.serving is not None and observed.serving not in known:
        # Somebody else's doing: only a newer generation of ours makes it certain again.
        suspects = suspected(suspects, Loaded(observed.serving, gate.verified.routing))
    return replace(gate, in_flight=None, deadline=None, suspects=suspects, retry_at=0.0)


def _anew(gate: Gate) -> Gate:
    """Only a newer generation will do, though it routes as this one."""
    return replace(gate, suspects=suspected(gate.suspects, gate.verified))


def _rollout_found(rollout: Rollout, observed: Observed, at: float) -> Rollout:
    running = any(h.state is HookState.RUNNING for h in rollout.hooks)
    waits_for_people = rollout.stop_first and rollout.prepared and not running
    preparing = rollout.phase is Phase.PREPARING and rollout.turning is None
    if preparing and not waits_for_people:
        rollout = replace(rollout, prepared=False, detail="reld was restarted during the checks")
    rollout = replace(
        rollout,
        hooks=tuple(
            replace(h, attempt=h.attempt + 1, deadline=at + rollout.policy.hook_timeout)
            if h.state is HookState.RUNNING
            else h
            for h in rollout.hooks
        ),
    )
    if rollout.kind is Kind.EJECT and rollout.phase is Phase.STOPPING:
        rollout = replace(rollout, since=at)  # the removal of its units gets its full time
    rollout = replace(rollout, watch=listened(rollout.watch, at))
    if rollout.surge:
        rollout = replace(rollout, crew_at=at)  # nobody asked the next ones meanwhile
    if observed.share is None or observed.share == rollout.share:
        return rollout
    below = observed.share < min(rollout.share, rollout.wanted_share)
    rollout = replace(rollout, share=observed.share, unsure=False)
    if below and rollout.phase in (Phase.SHIFTING, Phase.BAKING) and rollout.turning is None:
        return replace(rollout, turning=Outcome.ROLLED_BACK, reason="the lanes were moved back")
    return rollout


def _rebooted(state: State, observed: Observed, at: float) -> State:
    """CLOCK_BOOTTIME began anew: every deadline of the other boot is given again in full."""
    rollout = state.rollout
    if rollout is not None:
        rollout = _rollout_rebooted(state, rollout, at)
    return replace(
        state,
        boot=observed.boot,
        rollout=rollout,
        resting=(),
        old_lanes=(),
    )


def _rollout_rebooted(state: State, rollout: Rollout, at: float) -> Rollout:
    committed = state.live is not None and state.live is rollout.candidate
    rollout = replace(
        rollout,
        since=at,
        began=at,
        step_since=None if rollout.step_since is None else at,
        drain_since=None if rollout.drain_since is None else at,
        share=0,
        unsure=False,
        unshielded=False,
        thinning=None,
        crew_at=at,
        watch=Watch(),
        rehearsal=None if rollout.rehearsal is None else of_another_boot(rollout.rehearsal),
        marks=(),
        hooks=tuple(replace(h, deadline=at + rollout.policy.hook_timeout) for h in rollout.hooks),
    )
    uncommitted = rollout.phase in _UNCOMMITTED and not committed
    uncommitted = uncommitted or stop_first.can_turn(rollout)
    if rollout.candidate is not None and (uncommitted or rollout.phase in _UNSEEN):
        back = rollout.moved and rollout.old is not None
        outcome = Outcome.ROLLED_BACK if back else Outcome.FAILED
        return replace(rollout, turning=outcome, reason="the machine was rebooted")
    return rollout
