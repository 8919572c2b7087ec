"""The invariants of the design, checked against the world's own truth and not reld's belief.

Where each of the ten is checked:

1. never named nor given lanes before it was ready: `may_name` at each reload, `may_have_lanes` at
   each move.
2. an exposed or draining slot is never signalled: `may_signal` at each SIGTERM and SIGKILL; old gate
   workers count as draining.
3. one rollout, no stale lock: `one_rollout` after each step; `check_tidy` at the end.
4. the old slot is not stopped before the commit: `may_signal`, by the config that is in force;
   that it is nursed: `check_tidy` (the live slot is fit in the end). What holds in its place where
   two copies do not fit: `one_at_a_time`.
5. every wait has a deadline or shows: `waits_are_bounded` whenever time passes.
6. the disk is never behind an effect: `on_disk_first` at reloads, launches, signals and lane moves.
7. going back needs one rename only, even with a frozen disk: `goes_back_at_once` shortly after each
   turn. (That reads never wait is the engine's affair: tests of the API.)
8. silence is not health: `silence_is_told` at each step that was taken.
9. nothing stops because reld stopped: `lives_on` at each kill (what lives is adopted, never killed as
   gone), `may_spawn` (never two processes on one port).
11. of a surge never more than N + surge processes run: `never_too_many` at each spawn.
10. no name becomes text unchecked: nothing of it is in the core; tests of config and render.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reld.core.hooks import HOOK_GRACE
from reld.core.model import InstanceState, Kind, Phase, Rollout, Routing, Slot, State
from reld.core.pacing import streams_over
from reld.core.routing import RELOAD_MOST, Role, role
from reld.core.turns import TOLD_AFTER
from reld.core.verdict.finding import Verdict
from reld.core.watch import SILENT_AFTER
from tests.sim import one_at_a_time, worker_rules

if TYPE_CHECKING:
    from tests.sim.world import Process, World

SLACK = 1.5
"""Seconds for reports, retries and alarms."""


_KNOWN = (Kind.ROLLBACK, Kind.EJECT)
"""What starts a release that was watched before."""


class Violation(AssertionError):
    """An invariant of the design was broken in the world."""


def obey(why: str) -> None:
    """Raises Violation for what was broken; empty = nothing was."""
    if why:
        raise Violation(why)


def addresses(routing: Routing) -> set[str]:
    return {a for t in (routing.default, routing.candidate) if t is not None for a in t.addresses}


# 1


def may_name(world: World, routing: Routing) -> None:
    # As last verified: a config of unknown end in between does not make it new.
    known = addresses(world.serving.routing) | addresses(world.state.gate.verified.routing)
    for address in addresses(routing) - known:
        _was_ready(world, address, "is newly named")


def may_have_lanes(world: World, rollout: int, share: int) -> None:
    candidate = world.serving.routing.candidate
    if share and candidate is not None and world.serving.routing.rollout == rollout:
        for address in candidate.addresses:
            _was_ready(world, address, "gets lanes")


def may_mirror(world: World, rollout: int, *, on: bool) -> None:
    """Only before the first lane, of a gate that names the candidate, and known to the disk."""
    if not on:
        return
    known = world.disk.rollout is not None and world.disk.rollout.shadow.on
    on_disk_first(world, known, "requests are mirrored")
    if world.lanes.get(rollout, 0):
        raise Violation("requests are mirrored, and a lane has moved")
    candidate = world.serving.routing.candidate
    if candidate is not None and world.serving.routing.rollout == rollout:
        for address in candidate.addresses:
            _was_ready(world, address, "gets copies")


def _was_ready(world: World, address: str, what: str) -> None:
    if address == world.external:
        return
    there = [p for p in world.everything() if p.address == address and p.alive]
    if any(not p.was_ready for p in there):
        raise Violation(f"{address} {what} and was never ready since it was started")


# 2 and 4


def may_signal(world: World, process: Process) -> None:
    if process is world.external_process:
        raise Violation("an external app is signalled")
    if process.held or process.identity.boot_id != world.boot or process.worker:
        return  # nobody asks a worker for anything: see `worker_rules`
    slot = world.slot_of(process.number)
    serves = world.serving.routing.default
    instance = world.instance(process.number)
    spare = instance is not None and instance.spare
    # Nobody is served while a reload of unknown end took effect: nursing the slot harms nobody then.
    truly_live = slot is not None and (serves is None or serves.color is slot.color)
    believed = slot is not None and role(world.state, slot.color) is Role.LIVE
    if one_at_a_time.ends_still(world, process):
        return
    if slot is not None and truly_live and believed and not spare:
        _may_nurse(world, process)
        return
    if world.named_now(process.address):
        raise Violation(f"{process.address} is signalled and a request can reach it")
    rollout = world.state.rollout
    dead = slot is None or slot.dead
    if rollout is None or not rollout.moved or dead or process.address not in world.last_named:
        return
    workers = [w for w, until in world.old_workers if until > world.now]
    reached = any(process.address in addresses(w.routing) for w in workers)
    if rollout.stop_first:
        why = one_at_a_time.may_stop(world, process, rollout, reached=reached)
        obey(why and f"{process.address} is signalled {why}")
        return
    if spare and not process.was_ready:
        return  # it came back to an address that was named for the one before it, and served nobody
    passed = world.now - world.last_named[process.address]
    if passed < rollout.policy.drain - 0.01:
        raise Violation(f"{process.address} is signalled inside its drain window")
    impatient = rollout.id in world.promoted or passed >= rollout.policy.drain_max - 0.01
    # Those workers are there for websockets of the other slot.
    if reached and not impatient and not streams_over(rollout, world.now):
        raise Violation(f"{process.address} is signalled and an old gate worker can reach it")


def _may_nurse(world: World, process: Process) -> None:
    """One unhealthy live instance at a time: not a healthy one, not the second."""
    slot = world.slot_of(process.number)
    instance = world.instance(process.number)
    assert slot is not None
    assert instance is not None
    if instance.exit is not None or not process.was_ready:
        return
    if not process.seen_sick:
        raise Violation(f"a healthy live instance {process.number} is signalled")
    others = [i for i in slot.crew if i.number != process.number]
    if any(i.state in (InstanceState.STOPPING, InstanceState.KILLING) and i.runs for i in others):
        raise Violation("two instances of the live slot are down at once by our hand")


# 3


def one_rollout(before: State, after: State) -> None:
    if before.rollout is None or after.rollout is None:
        return
    if before.rollout.id != after.rollout.id:
        raise Violation(f"rollout {after.rollout.id} began while {before.rollout.id} ran")


# 5


def waits_are_bounded(world: World) -> None:
    """Looks at how long reld, up and with a disk that works, has been at the same thing."""
    rollout = world.state.rollout
    if rollout is None or not world.up or world.frozen_disk:
        world.waits_for = None
        return
    at = (
        rollout.id,
        rollout.phase,
        rollout.step,
        len(rollout.hooks),
        rollout.drain_since,
        rollout.crew_at,
        rollout.thinning,
    )
    if rollout.waiting or world.waits_for != at:
        world.waits_for, world.waits_since = at, world.now
        return
    most = _longest(rollout) + SLACK
    if world.now - world.waits_since > most:
        raise Violation(f"{rollout.phase} for more than {most:g} s, and nothing says why")


def _longest(rollout: Rollout) -> float:
    policy = rollout.policy
    match rollout.phase:
        case Phase.PREPARING:
            return max(policy.prepare_deadline, policy.hook_timeout + HOOK_GRACE)
        case Phase.STARTING:
            return policy.slot.ready_deadline
        case Phase.PROVING:
            return policy.smoke_deadline
        case Phase.ADMITTING:
            return 2 * policy.reload_deadline
        case Phase.SHIFTING | Phase.RETURNING if rollout.surge:
            change = policy.drain_max + RELOAD_MOST + 2 * policy.slot.stop_timeout + 30.0
            return max(change, policy.step_max + SILENT_AFTER, policy.slot.ready_deadline)
        case Phase.SHIFTING:
            return max(policy.step_max, TOLD_AFTER) + SILENT_AFTER
        case Phase.BAKING:
            return max(policy.bake, TOLD_AFTER) + SILENT_AFTER
        case Phase.DRAINING:
            return policy.drain_max + RELOAD_MOST
        case Phase.STOPPING:
            return 2 * policy.slot.stop_timeout + 30.0
        case Phase.FINISHING:
            return policy.hook_timeout + HOOK_GRACE
        case _:
            return RELOAD_MOST


# 6


def on_disk_first(world: World, known: object, what: str) -> None:
    if not known:
        raise Violation(f"{what} before the disk knows")


# 7


def goes_back_at_once(world: World, rollout: int) -> None:
    """Called a moment after a turn: no lane leads to the candidate any more."""
    running = world.state.rollout
    if running is None or running.id != rollout or running.phase is not Phase.REVERTING:
        return
    if world.lanes.get(rollout, 0):
        raise Violation(f"going back, and the lanes are at {world.lanes[rollout]} %")


# 8


def _bake_is_over(world: World, was: Rollout, now: Rollout, old: Slot | None) -> None:
    if (was.phase, now.phase) != (Phase.BAKING, Phase.COMMITTING) or old is None or old.dead:
        return
    told = now.unproven or now.kind in _KNOWN or was.promoted or was.id in world.promoted
    seen = now.blue.total if str(now.candidate) == "blue" else now.green.total
    if seen < now.policy.step_requests and not told:
        raise Violation(f"committed after {seen} requests, and nothing says so")


def silence_is_told(world: World, before: State, after: State) -> None:
    was, now = before.rollout, after.rollout
    if was is None or now is None or was.id != now.id:
        return
    _bake_is_over(world, was, now, after.slot(now.old))
    if not was.step < now.step or was.step < 0:
        return
    seen = now.blue.total + now.green.total - was.step_base
    old = after.slot(now.old)
    if was.promoted or was.full or now.promoted or now.full or old is None or old.dead:
        return
    if seen < was.policy.step_requests and not now.unproven and was.id not in world.promoted:
        raise Violation(f"a step was taken after {seen} requests, and nothing says so")


def verdicts_are_obeyed(world: World, before: State, after: State) -> None:
    """The share grows only on what was heard, and what is clearly worse gets no request more."""
    was, now = before.rollout, after.rollout
    if was is None or now is None or was.id != now.id:
        return
    old = after.slot(now.old)
    if old is None or old.dead or not now.policy.verdict.act:
        return
    stays = now.phase in (Phase.SHIFTING, Phase.BAKING)
    ready = all(i.state is InstanceState.READY for i in old.instances)
    if stays and ready and now.watch.finding.verdict is Verdict.WORSE:
        raise Violation("it is clearly worse, the old slot is ready, and it stays")
    if was.id in world.promoted or now.full:
        return
    grows = now.wanted_share > was.wanted_share > 0 and was.step_since is not None
    verdict = now.watch.finding.verdict
    if grows and verdict in (Verdict.ENVIRONMENT, Verdict.BLIND, Verdict.WORSE):
        raise Violation(f"the verdict is {verdict}, and the share grows to {now.wanted_share} %")
    if grows and now.watch.read_to - (was.step_since or 0.0) < now.policy.step_time:
        raise Violation(f"the log was not read, and the share grows to {now.wanted_share} %")


def two_people(before: State, after: State) -> None:
    """What needs an approver touches nothing that serves before it has one, and never its own."""
    was, now = before.rollout, after.rollout
    if now is None or not now.approval or now.kind is Kind.STOP:
        return
    if now.moved and not now.approved_by:
        raise Violation(f"{now.phase}, and nobody has approved it")
    if now.kind is Kind.CONTRACT and now.hooks and not now.approved_by:
        raise Violation("the contract runs, and nobody has approved it")
    if now.approved_by and was is not None and now.approved_by == now.actor:
        raise Violation(f"{now.actor} has approved what {now.actor} began")


def a_pause_holds(world: World, before: State, after: State) -> None:
    """What a person holds is held, unless there is nothing left to hold it for."""
    was, now = before.rollout, after.rollout
    if was is None or now is None or was.id != now.id or now.id != world.paused:
        return
    old = after.slot(now.old)
    if old is None or old.dead:
        return
    held = (
        (Phase.PREPARING, Phase.DRAINING),
        (Phase.PROVING, Phase.ADMITTING),
        (Phase.ADMITTING, Phase.SHIFTING),
        (Phase.BAKING, Phase.COMMITTING),
    )
    if (was.phase, now.phase) in held or (now.step > was.step >= 0 and not now.full):
        raise Violation(f"paused, and it goes on to {now.phase} {now.wanted_share} %")


# 9


def lives_on(world: World, process: Process) -> None:
    instance = world.instance(process.number)
    if instance is not None and instance.exit is not None and not process.held:
        raise Violation(f"instance {process.number} lives and is killed as gone")


def may_spawn(world: World, number: int, address: str) -> None:
    for process in world.processes.values():
        if process.alive and process.number == number:
            raise Violation(f"instance {number} was spawned twice")
        if process.alive and process.address == address and address and not process.held:
            raise Violation(f"a second process is started on {address}")


def never_too_many(world: World) -> None:
    """A surge: what is being stopped counts until its tree is empty."""
    rollout = world.state.rollout
    if rollout is None or not rollout.surge:
        return
    alive = [p for p in world.processes.values() if p.alive and not p.worker]
    whole = max(len(s.instances) for s in world.state.slots)
    if len(alive) > whole + rollout.surge:
        raise Violation(f"{len(alive)} processes, at most {whole} + {rollout.surge} may run")


# In the end


def check_tidy(world: World) -> None:
    """Quiet and tidy: nothing runs that should not, nothing is left lying about."""
    state = world.state
    if state.rollout is not None:
        raise Violation(f"still {state.rollout.phase}: {state.rollout.waiting}")
    if state.gate.in_flight or state.gate.suspects:
        raise Violation("the gate is not certain")
    if state.lanes_trouble or state.gate.trouble:
        raise Violation(f"still in trouble: {state.lanes_trouble or state.gate.trouble}")
    if world.serving != state.gate.verified:
        raise Violation("reld believes in another gate config than the one in force")
    if world.lanes:
        raise Violation(f"lanes are left: {world.lanes}")
    if world.mirrors:
        raise Violation(f"requests are mirrored: {world.mirrors}")
    live = state.slot(state.live)
    ours = live is not None and not live.external
    expected = {i.number for i in live.processes} if live is not None and ours else set()
    running = {p.number for p in world.processes.values() if p.alive}
    if running != expected:
        raise Violation(f"running {running}, expected {expected}")
    if set(world.units) - world.ejects:
        raise Violation(f"the units of {set(world.units) - world.ejects} are left")
    if [s.color for s in state.slots if not s.external] != ([state.live] if ours else []):
        raise Violation(f"slots are left: {state.slots}")
    if live is not None and not live.fit:
        raise Violation("the live slot is not fit")
    if live is not None and addresses(world.serving.routing) != {i.address for i in live.instances}:
        raise Violation(f"the gate names {addresses(world.serving.routing)}")
    if world.disk != state:
        raise Violation("the disk is behind")
    obey(worker_rules.in_the_end(world))
    _check_good(state)


def _check_good(state: State) -> None:
    """The stack ends with what is live, unless nothing or an external app is."""
    names = [g.release for g in state.good]
    live = state.slot(state.live)
    if len(set(names)) != len(names):
        raise Violation(f"a release is twice among the good ones: {names}")
    if live is not None and not live.external and (not names or names[-1] != live.release):
        raise Violation(f"{live.release} is live, the good ones are {names}")
    last = state.last
    if last is None or last.kind is not Kind.ROLLBACK or last.outcome != "done":
        return
    if last.from_ != last.to and last.from_ in names:
        raise Violation(f"{last.from_} was left by a rollback and is a way back still")
