"""What should be going on while the state is so.

`todo` is asked after every step; the engine starts what is new in the answer and cancels what left
it. Effects have natural keys and no ids: two equal effects are the same piece of work. One that ends
while it is still wanted is begun again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reld.core import rehearsal
from reld.core.model import (
    Color,
    HookState,
    Instance,
    InstanceState,
    Kind,
    Phase,
    Rollout,
    State,
)
from reld.core.routing import Role, role
from reld.core.shadowing import mirrors
from reld.core.verdict.finding import Verdict


@dataclass(frozen=True, slots=True)
class Prepare:
    """Check the release, take its snapshot, lease ports."""

    rollout: int


@dataclass(frozen=True, slots=True)
class Spawn:
    number: int


@dataclass(frozen=True, slots=True)
class Release:
    """Let the held process become the app: its identity is on disk now."""

    number: int


@dataclass(frozen=True, slots=True)
class AwaitExit:
    number: int


@dataclass(frozen=True, slots=True)
class ProveReady:
    """Ask often, until it has proved that it can serve."""

    number: int


@dataclass(frozen=True, slots=True)
class CheckReady:
    """Ask now and then whether it still can."""

    number: int


@dataclass(frozen=True, slots=True)
class CheckLive:
    number: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Send the stop signal, once."""

    number: int


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL whatever is left of the tree until nothing is."""

    number: int


@dataclass(frozen=True, slots=True)
class Smoke:
    rollout: int


@dataclass(frozen=True, slots=True)
class RunHook:
    rollout: int
    name: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Reload:
    generation: int


@dataclass(frozen=True, slots=True)
class MoveLanes:
    """`back`: on a way back, which nothing may delay."""

    rollout: int
    share: int
    back: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class RemoveLanes:
    rollout: int
    before: int


@dataclass(frozen=True, slots=True)
class CountDrain:
    rollout: int
    color: Color
    since: int


@dataclass(frozen=True, slots=True)
class CloseStreams:
    """Close the long connections to a slot that leaves one by one, when it is time: see `pacing`."""

    rollout: int
    color: Color
    since: int


@dataclass(frozen=True, slots=True)
class Judge:
    """Read the request log and say what it means."""

    rollout: int


@dataclass(frozen=True, slots=True)
class AskGate:
    """Send the own requests of a rehearsal."""

    rollout: int


@dataclass(frozen=True, slots=True)
class AskOld:
    """Does the warm old slot pass its checks?"""

    rollout: int


@dataclass(frozen=True, slots=True)
class SetShield:
    rollout: int
    on: bool


@dataclass(frozen=True, slots=True)
class SetShadow:
    """Mirror some of the live slot's GETs, or no more."""

    rollout: int
    on: bool


@dataclass(frozen=True, slots=True)
class RunUnits:
    """Eject: see to it that the plain units are there, enabled, and run."""

    rollout: int


@dataclass(frozen=True, slots=True)
class RemoveUnits:
    """Eject that went back: stop the plain units and remove what was written for them."""

    rollout: int


@dataclass(frozen=True, slots=True)
class KeepActive:
    """See to it that the file of this slot is there, and the other one's is not."""

    color: Color | None


@dataclass(frozen=True, slots=True)
class KeepGate:
    """See to it that the gate's process lives."""


Effect = (
    Prepare
    | Spawn
    | Release
    | AwaitExit
    | ProveReady
    | CheckReady
    | CheckLive
    | Stop
    | Kill
    | Smoke
    | RunHook
    | Reload
    | MoveLanes
    | RemoveLanes
    | CountDrain
    | CloseStreams
    | Judge
    | AskGate
    | AskOld
    | SetShield
    | SetShadow
    | RunUnits
    | RemoveUnits
    | KeepActive
    | KeepGate
)

_JUDGED = (
    Phase.ADMITTING,
    Phase.SHIFTING,
    Phase.BAKING,
    Phase.COMMITTING,
    Phase.RETURNING,
    Phase.REVERTING,
    Phase.DRAINING,
    Phase.STOPPING,
)
_UNITS_RUN = (
    Phase.STARTING,
    Phase.PROVING,
    Phase.ADMITTING,
    Phase.SHIFTING,
    Phase.BAKING,
    Phase.COMMITTING,
)
_SERVING = (InstanceState.READY, InstanceState.UNREADY)


def todo(state: State) -> frozenset[Effect]:
    """Everything that should be going on."""
    effects: set[Effect] = {KeepGate(), KeepActive(state.live)}
    effects |= {RemoveLanes(o.rollout, o.before) for o in state.old_lanes}
    if state.gate.in_flight is not None:
        effects.add(Reload(state.gate.in_flight.generation))
    if state.rollout is not None:
        effects |= _of_rollout(state.rollout)
        if rehearsal.asks(state, state.rollout):
            effects.add(AskGate(state.rollout.id))
    for slot in state.slots:
        leaving = role(state, slot.color) is Role.LEAVING
        for instance in slot.instances:
            if slot.external:
                effects |= _of_external(instance)
            else:
                effects |= _of_instance(instance, leaving=leaving)
        for worker in slot.workers:
            effects |= _of_process(worker)
    return frozenset(effects)


def moves_lanes_back(effect: Effect) -> bool:
    """Going back moves the lanes first and persists afterwards: nothing may delay it."""
    return isinstance(effect, MoveLanes) and (effect.back or effect.share == 0)


def _of_rollout(rollout: Rollout) -> set[Effect]:
    effects: set[Effect] = {
        RunHook(rollout.id, h.name, h.attempt)
        for h in rollout.hooks
        if h.state is HookState.RUNNING
    }
    if rollout.phase is Phase.PREPARING and rollout.prepared is None and rollout.turning is None:
        effects.add(Prepare(rollout.id))
    if rollout.phase is Phase.PROVING and rollout.smoke is None:
        effects.add(Smoke(rollout.id))
    if rollout.moved and (rollout.unsure or rollout.share != rollout.wanted_share):
        back = rollout.phase is Phase.RETURNING
        effects.add(MoveLanes(rollout.id, rollout.wanted_share, back))
    if rollout.thins is not None and not rollout.thins.over:
        effects |= _of_drain(rollout, rollout.thins.color, rollout.thins.since)
    if rollout.phase is Phase.DRAINING and rollout.leaving and rollout.drain_since is not None:
        effects |= _of_drain(rollout, rollout.leaving, rollout.not_named_since)
    if rollout.kind is Kind.EJECT:
        effects |= _of_eject(rollout)
    counted = rollout.stop_first and rollout.phase in (Phase.STARTING, Phase.PROVING)
    if rollout.phase in _JUDGED or counted or rehearsal.judges(rollout):
        effects.add(Judge(rollout.id))
    if rollout.phase in (Phase.SHIFTING, Phase.BAKING):
        effects |= _of_finding(rollout)
    if rollout.shadow.on and not (mirrors(rollout) and rollout.shadow.since is not None):
        effects.add(SetShadow(rollout.id, mirrors(rollout)))
    return effects


def _of_drain(rollout: Rollout, color: Color, since: int) -> set[Effect]:
    effects: set[Effect] = {CountDrain(rollout.id, color, since)}
    if rollout.policy.streams is not None:
        effects.add(CloseStreams(rollout.id, color, since))
    return effects


def _of_eject(rollout: Rollout) -> set[Effect]:
    if rollout.phase in _UNITS_RUN and not rollout.unit_trouble:
        return {RunUnits(rollout.id)}
    back = rollout.phase is Phase.STOPPING and rollout.leaving is rollout.candidate
    return {RemoveUnits(rollout.id)} if back and rollout.unit_gone is None else set()


def _of_finding(rollout: Rollout) -> set[Effect]:
    verdict = rollout.watch.finding.verdict
    effects: set[Effect] = set()
    if verdict is Verdict.DOUBT and rollout.old_answers is None and rollout.policy.verdict.act:
        effects.add(AskOld(rollout.id))
    # While both slots suffer a second try would only double the load.
    if rollout.unshielded is not (verdict is Verdict.ENVIRONMENT):
        effects.add(SetShield(rollout.id, rollout.unshielded))
    return effects


def _of_external(instance: Instance) -> set[Effect]:
    """An app that reld did not start is asked, never signalled."""
    if instance.was_ready:
        return {CheckReady(instance.number)}
    if instance.state is InstanceState.EXITED:  # nobody's business any more
        return set()
    return {ProveReady(instance.number)}


def _of_instance(instance: Instance, *, leaving: bool) -> set[Effect]:
    number = instance.number
    effects = _of_process(instance)
    if instance.state is InstanceState.STARTING:
        effects.add(ProveReady(number))
    if instance.state in _SERVING and not leaving:
        effects |= {CheckReady(number), CheckLive(number)}
    return effects


def _of_process(process: Instance) -> set[Effect]:
    """Started, watched, stopped: what an instance and a worker need alike."""
    number = process.number
    effects: set[Effect] = set()
    if process.state is InstanceState.WANTED and not process.spawn_at:
        effects.add(Spawn(number))
    if process.state is InstanceState.HELD:
        effects.add(Release(number))
    if process.identity is not None and process.runs:
        effects.add(AwaitExit(number))
    if process.state is InstanceState.STOPPING and not process.signalled:
        effects.add(Stop(number))
    if process.state is InstanceState.KILLING:
        effects.add(Kill(number))
    return effects
