"""A simulated machine for the core: processes, a gate, lanes, probes, a disk, and things going wrong.

Time is virtual. The world keeps its own truth, apart from what reld believes, and checks the
invariants of the design against that truth at every act: what is named, what gets lanes, what is
signalled. One seed is one story; the same seed tells it again.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from reld.core import effects as fx
from reld.core import events as ev
from reld.core.commands import Command, refuse
from reld.core.effects import Effect, moves_lanes_back, todo
from reld.core.machine import alarm, first_state, step
from reld.core.model import (
    Color,
    Exit,
    Identity,
    Instance,
    InstanceState,
    Loaded,
    Phase,
    Routing,
    Slot,
    State,
)
from reld.core.recovery import Observed, recover
from reld.core.routing import Role, role


class Violation(AssertionError):
    """An invariant of the design was broken in the world."""


@dataclass
class Process:
    number: int
    address: str
    identity: Identity
    held: bool = True
    alive: bool = True
    ready_at: float | None = None
    passes: int = 0  # probes of this very process in a row that reld saw pass
    was_ready: bool = False
    sick: bool = False
    seen_sick: bool = False  # reld was told so
    stubborn: bool = False


@dataclass
class Faults:
    """Chances of what can go wrong, per act."""

    reload_refused: float = 0.0
    reload_unknown: float = 0.0
    unknown_takes_effect: float = 0.5
    spawn_fails: float = 0.0
    never_ready: float = 0.0
    smoke_fails: float = 0.0
    hook_fails: float = 0.0
    stubborn: float = 0.0
    lanes_stuck: float = 0.0
    prepare_fails: float = 0.0
    stale_results: float = 0.0


@dataclass
class World:
    seed: int
    faults: Faults = field(default_factory=Faults)
    external: str | None = None
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.boots = 1
        self.boot = "boot-1"
        self.state = first_state("web", self.boot, self.external)
        self.disk = self.state
        self.up = True
        self.queue: list[tuple[float, int, int, Callable[[], None]]] = []
        self.sequence = 0
        self.incarnation = 0
        self.running: dict[Effect, object] = {}
        self.processes: dict[int, Process] = {}
        self.next_pid = 100
        self.next_port = 21000
        self.serving = Loaded(0, Routing())
        self.old_workers: list[tuple[Loaded, float]] = []
        self.pending: list[Loaded] = []
        self.lanes: dict[int, int] = {}
        self.last_named: dict[str, float] = {}
        self.late: list[ev.Event] = []
        self.log: list[str] = []
        self.frozen_disk = False
        self.version = 0
        self.todo_of: dict[int, tuple[State, frozenset[Effect]]] = {}
        self.version_on_disk = 0
        self.ended: list[int] = []
        if self.external is not None:
            self.external_process = Process(
                1, self.external, Identity(1, 1, self.boot), held=False, ready_at=0.0
            )
        self.reconcile()

    # time and the queue

    def after(self, delay: float, act: Callable[[], None]) -> None:
        self.sequence += 1
        heapq.heappush(self.queue, (self.now + delay, self.sequence, 0, act))

    def run(self, seconds: float) -> None:
        """Let that much virtual time pass."""
        until = self.now + seconds
        while True:
            due = self.queue[0][0] if self.queue else None
            ring = alarm(self.state, self.now) if self.up else None
            upcoming = [t for t in (due, ring) if t is not None and t <= until]
            if not upcoming:
                self.now = until
                return
            self.now = max(self.now, min(upcoming))
            if due is not None and due <= self.now:
                heapq.heappop(self.queue)[3]()
            elif self.up:
                self.tell(ev.Tick())

    # the engine, in small

    def tell(self, event: ev.Event | Command) -> None:
        if not self.up:
            return
        before = self.state
        self.state = step(before, event, self.now)
        if self.state == before:
            self.reconcile()
            return
        self.log.append(f"{self.now:.2f} {event} -> {self._short()}")
        if before.rollout is not None and self.state.rollout is None:
            self.ended.append(before.rollout.id)
        self.persist()

    def persist(self) -> None:
        """Writes reach the disk at once or a little later, in order; a frozen disk takes none."""
        self.version += 1
        incarnation, state, version = self.incarnation, self.state, self.version

        def written() -> None:
            if incarnation != self.incarnation or not self.up or self.frozen_disk:
                return
            if version > self.version_on_disk:
                self.disk, self.version_on_disk = state, version
            self.reconcile()

        self.reconcile()
        if self.chance(0.7):
            written()
        else:
            self.after(self.random.uniform(0.0, 0.05), written)

    def reconcile(self) -> None:
        if not self.up:
            return
        now = self._todo(self.state)
        safe = self._todo(self.disk)
        for effect in self.running.keys() - now:
            del self.running[effect]
        for effect in sorted(now - self.running.keys(), key=repr):
            allowed = effect in safe or moves_lanes_back(effect)
            if allowed and effect not in self.running and self.up:
                self.running[effect] = object()
                self.begin(effect)

    def _todo(self, state: State) -> frozenset[Effect]:
        if state is not self.todo_of.get(id(state), (None, None))[0]:
            if len(self.todo_of) > 8:
                self.todo_of.clear()
            self.todo_of[id(state)] = (state, todo(state))
        return self.todo_of[id(state)][1]

    def command(self, command: Command) -> str:
        """Like the API: refused or done; returns the refusal's words."""
        if not self.up:
            return "down"
        refusal = refuse(self.state, command)
        if refusal is None:
            self.tell(command)
            return ""
        return refusal.message

    def finish(self, effect: Effect, delay: float, act: Callable[[], ev.Event | None]) -> None:
        """After `delay`, unless it was cancelled by then: do it and report."""
        token = self.running[effect]

        def done() -> None:
            current = self.running.get(effect)
            if current is not token:
                if self.late and self.chance(self.faults.stale_results):
                    self._tell_again(self.random.choice(self.late))
                return
            event = act()
            if self.running.get(effect) is token:
                del self.running[effect]
            if event is not None:
                self.late.append(event)
                self.late = self.late[-20:]
                self.tell(event)
            else:
                self.reconcile()

        self.after(delay, done)

    def _tell_again(self, event: ev.Event) -> None:
        """A result that comes twice; a probe of a living instance is no result but news."""
        probe = isinstance(event, ev.ReadinessProbed | ev.LivenessProbed)
        if not (probe and self.instance(event.number) is not None):
            self.tell(event)

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    # effects

    def begin(self, effect: Effect) -> None:
        r = self.random
        match effect:
            case fx.Prepare(rollout=number):
                self.finish(effect, r.uniform(0.01, 0.2), lambda: self._prepared(number))
            case fx.Spawn(number=number):
                self.finish(effect, r.uniform(0.005, 0.05), lambda: self._spawned(number))
            case fx.Release(number=number):
                self.finish(effect, r.uniform(0.001, 0.02), lambda: self._released(number))
            case fx.AwaitExit(number=number):
                process = self.process(number)
                if process is None or not process.alive:
                    self.finish(effect, 0.001, lambda: ev.Exited(number, Exit()))
            case fx.ProveReady(number=number):
                self.finish(effect, 0.2, lambda: self._probed(number))
            case fx.CheckReady(number=number):
                self.finish(effect, 5.0, lambda: self._probed(number))
            case fx.CheckLive(number=number):
                self.finish(effect, 5.0, lambda: self._live(number))
            case fx.Stop(number=number):
                self.finish(effect, 0.0, lambda: self._stopped(number))
            case fx.Kill(number=number):
                self.finish(effect, r.uniform(0.0, 0.1), lambda: self._killed(number))
            case fx.Smoke(rollout=number):
                passed = not self.chance(self.faults.smoke_fails)
                event = ev.SmokeEnded(number, passed, "" if passed else "login: 500")
                self.finish(effect, r.uniform(0.05, 1.0), lambda: event)
            case fx.RunHook(rollout=number, name=name, attempt=attempt):
                passed = not self.chance(self.faults.hook_fails)
                hook = ev.HookEnded(number, name, attempt, passed)
                self.finish(effect, r.uniform(0.05, 3.0), lambda: hook)
            case fx.Reload(generation=generation):
                self._reload(effect, generation)
            case fx.MoveLanes(rollout=number, share=share):
                self.finish(effect, 0.001, lambda: self._lanes_moved(number, share))
            case fx.RemoveLanes(rollout=number, before=before):
                self.finish(effect, 1.0, lambda: self._lanes_removed(number, before))
            case fx.CountDrain(rollout=number, since=since):
                self.finish(effect, 0.5, lambda: self._drain_counted(number, since))
            case fx.CountRequests(rollout=number):
                self.finish(effect, 1.0, lambda: self._requests(number))
            case fx.KeepGate():
                pass

    def _prepared(self, rollout: int) -> ev.Event:
        if self.chance(self.faults.prepare_fails):
            return ev.PrepareFailed(rollout, "no such directory")
        assert self.state.rollout is not None
        count = self.state.rollout.policy.slot.instances
        resting = {x.address for x in self.state.resting}
        addresses: list[str] = []
        while len(addresses) < count:
            self.next_port = 21000 + (self.next_port - 21000 + 1) % 60
            address = f"127.0.0.1:{self.next_port}"
            used = any(p.alive and p.address == address for p in self.processes.values())
            if address not in resting and not used and not self.named_now(address):
                addresses.append(address)
        return ev.Prepared(rollout, tuple(addresses))

    def _spawned(self, number: int) -> ev.Event:
        instance = self.instance(number)
        if instance is None or self.chance(self.faults.spawn_fails):
            return ev.SpawnFailed(number, "command not found")
        if any(p.alive and p.number == number for p in self.processes.values()):
            raise Violation(f"instance {number} was spawned twice")
        slot = self._slot_of(number)
        nursed = slot is not None and role(self.state, slot.color) is Role.LIVE
        hooks = [e for e in self.running if isinstance(e, fx.RunHook)]
        if not nursed and any(h.name == "before_start" for h in hooks):
            raise Violation("an instance is spawned before the hook before_start has ended")
        self.next_pid += 1
        identity = Identity(self.next_pid, int(self.now * 100), self.boot)
        self.processes[self.next_pid] = Process(
            number,
            instance.address,
            identity,
            stubborn=self.chance(self.faults.stubborn),
        )
        return ev.Spawned(number, identity)

    def _released(self, number: int) -> ev.Event:
        process = self.process(number)
        on_disk = self._instance_in(self.disk, number)
        if on_disk is None or on_disk.identity is None:
            raise Violation(f"instance {number} runs before its identity is on disk")
        if process is None or not process.alive:
            return ev.SpawnFailed(number, "gone while held")
        process.held = False
        if not self.chance(self.faults.never_ready):
            process.ready_at = self.now + self.random.uniform(0.05, 3.0)
        return ev.LetGo(number)

    def _probed(self, number: int) -> ev.Event:
        process = self.process(number)
        passed = process is not None and self._answers(process)
        if process is not None:
            process.passes = process.passes + 1 if passed else 0
            process.was_ready = process.was_ready or process.passes >= 2
        return ev.ReadinessProbed(number, passed, "" if passed else "connection refused")

    def _answers(self, process: Process) -> bool:
        return (
            process.alive
            and not process.held
            and process.ready_at is not None
            and self.now >= process.ready_at
            and not process.sick
        )

    def _live(self, number: int) -> ev.Event:
        process = self.process(number)
        passed = process is not None and process.alive and not process.sick
        if process is not None and not passed:
            process.seen_sick = True
        return ev.LivenessProbed(number, passed, "" if passed else "timed out")

    def _stopped(self, number: int) -> ev.Event:
        process = self.process(number)
        if process is not None and process.alive:
            self._may_signal(process)
            if not process.stubborn:
                self.after(self.random.uniform(0.01, 2.0), lambda: self.die(process))
        return ev.Signalled(number)

    def _killed(self, number: int) -> ev.Event:
        for process in self.processes.values():
            if process.number == number and process.alive:
                self._may_signal(process)
                self.die(process)
        return ev.TreeEmpty(number)

    def _reload(self, effect: Effect, generation: int) -> None:
        flying = self.state.gate.in_flight
        assert flying is not None
        if self.disk.gate.in_flight != flying:
            raise Violation("a reload begins before its intent is on disk")
        loaded = flying
        if self.chance(self.faults.reload_refused):
            refused = ev.ReloadEnded(generation, ev.End.REFUSED, "nginx -t failed")
            self.finish(effect, 0.02, lambda: refused)
            return
        self._may_name(loaded.routing)
        self.pending.append(loaded)
        if self.chance(self.faults.reload_unknown):
            if self.chance(self.faults.unknown_takes_effect):
                self.after(self.random.uniform(0.1, 20.0), lambda: self.take_effect(loaded))
            else:
                self.after(20.0, lambda: self._forget(loaded))
            unknown = ev.ReloadEnded(generation, ev.End.UNKNOWN, "no answer")
            self.finish(effect, 15.0, lambda: unknown)
            return
        self.after(self.random.uniform(0.02, 0.1), lambda: self.take_effect(loaded))

        def verified() -> ev.Event:
            if self.serving.generation != generation:
                return ev.ReloadEnded(generation, ev.End.UNKNOWN, "another generation answers")
            return ev.ReloadEnded(generation, ev.End.VERIFIED)

        self.finish(effect, 0.25, verified)

    def _forget(self, loaded: Loaded) -> None:
        if loaded in self.pending:
            self.pending.remove(loaded)

    def take_effect(self, loaded: Loaded) -> None:
        if loaded not in self.pending:
            return
        self.pending = [p for p in self.pending if p.generation > loaded.generation]
        if loaded.generation < self.serving.generation:
            return  # HUPs coalesce: the newest file wins
        for address in self._addresses(self.serving.routing):
            self.last_named[address] = self.now
        self.old_workers.append((self.serving, self.now + self.random.uniform(0.1, 8.0)))
        self.serving = loaded

    def _lanes_moved(self, rollout: int, share: int) -> ev.Event:
        if self.chance(self.faults.lanes_stuck):
            return ev.LanesStuck(rollout, "permission denied")
        if share and (self.disk.rollout is None or self.disk.rollout.wanted_share != share):
            raise Violation("lanes moved forward before the intent was on disk")
        candidate = self.serving.routing.candidate
        if share and candidate is not None and self.serving.routing.rollout == rollout:
            for address in candidate.addresses:
                self._was_ready(address, "gets lanes")
        self.lanes[rollout] = share
        return ev.LanesMoved(rollout, share)

    def _lanes_removed(self, rollout: int, before: int) -> ev.Event | None:
        self._reap_workers()
        if any(w.generation < before for w, _ in self.old_workers):
            return None
        if self.serving.routing.rollout == rollout:
            raise Violation("the lanes of the routing in force are removed")
        self.lanes.pop(rollout, None)
        return ev.LanesRemoved(rollout)

    def _drain_counted(self, rollout: int, since: int) -> ev.Event:
        self._reap_workers()
        workers = sum(1 for w, _ in self.old_workers if w.generation < since)
        return ev.DrainCounted(rollout, since, self.random.choice((0, 0, 3)), workers)

    def _requests(self, rollout: int) -> ev.Event:
        from reld.core.model import Counts

        running = self.state.rollout
        total = 0 if running is None else running.blue.total + self.random.randrange(100)
        return ev.RequestsCounted(rollout, Counts(total, 0), Counts(total, 0))

    # invariants, against the world's own truth

    def _addresses(self, routing: Routing) -> set[str]:
        return {
            a for t in (routing.default, routing.candidate) if t is not None for a in t.addresses
        }

    def named_now(self, address: str) -> bool:
        configs = [self.serving, *self.pending]
        return any(address in self._addresses(c.routing) for c in configs)

    def _may_name(self, routing: Routing) -> None:
        for address in self._addresses(routing) - self._addresses(self.serving.routing):
            self._was_ready(address, "is newly named")

    def _was_ready(self, address: str, what: str) -> None:
        if address == self.external:
            return
        there = [p for p in self.processes.values() if p.address == address and p.alive]
        if any(not p.was_ready for p in there):
            raise Violation(f"{address} {what} and was never ready since it was started")

    def _may_signal(self, process: Process) -> None:
        if process.held or process.identity.boot_id != self.boot:
            return
        slot = self._slot_of(process.number)
        if slot is not None and role(self.state, slot.color) is Role.LIVE:
            others = [i for i in slot.instances if i.number != process.number and not i.was_ready]
            instance = self.instance(process.number)
            assert instance is not None
            after_exit = instance.exit is not None
            if others and not after_exit and process.was_ready and not process.seen_sick:
                raise Violation("two instances of the live slot are down at once by our hand")
            if process.was_ready and not process.seen_sick and not after_exit:
                raise Violation(f"a healthy live instance {process.number} is signalled")
            return
        if self.named_now(process.address):
            raise Violation(f"{process.address} is signalled and a request can reach it")
        rollout = self.state.rollout
        if rollout is not None and rollout.moved and process.address in self.last_named:
            passed = self.now - self.last_named[process.address]
            if passed < rollout.policy.drain - 0.01 and not self._slot_dead(slot):
                raise Violation(f"{process.address} is signalled inside its drain window")

    def _slot_dead(self, slot: Slot | None) -> bool:
        return slot is None or slot.dead

    def _reap_workers(self) -> None:
        self.old_workers = [(w, t) for w, t in self.old_workers if t > self.now]

    # things that happen to the machine

    def die(self, process: Process) -> None:
        if not process.alive:
            return
        process.alive = False
        effect = fx.AwaitExit(process.number)
        if effect in self.running:
            number = process.number
            self.finish(effect, 0.001, lambda: ev.Exited(number, Exit(signal=9)))

    def kill_reld(self) -> None:
        self.up = False
        self.incarnation += 1
        self.running.clear()
        for process in self.processes.values():
            if process.held:
                process.alive = False  # EOF at its launch pipe

    def start_reld(self) -> None:
        if self.up:
            return
        self.up = True
        alive = frozenset(
            i.number
            for s in self.disk.slots
            for i in s.instances
            if i.identity is not None
            and any(p.alive and p.identity == i.identity for p in self.processes.values())
        )
        share = None
        if self.disk.rollout is not None:
            share = self.lanes.get(self.disk.rollout.id)
        serving = self.serving.generation
        observed = Observed(self.boot, alive, serving, share)
        self.state = recover(self.disk, observed, self.now)
        self.log.append(f"{self.now:.2f} reld starts: {self._short()}")
        self.persist()

    def reboot(self) -> None:
        self.kill_reld()
        self.boots += 1
        self.boot = f"boot-{self.boots}"
        self.now = 10.0  # CLOCK_BOOTTIME begins anew
        self.queue.clear()
        for process in self.processes.values():
            process.alive = False
        self.lanes.clear()
        self.last_named.clear()
        self.old_workers.clear()
        if self.pending:
            newest = max(self.pending, key=lambda p: p.generation)
            if newest.generation > self.serving.generation:
                self.serving = newest  # the file on disk is what nginx reads at boot
        self.pending.clear()
        self.late.clear()

    # looking

    def process(self, number: int) -> Process | None:
        if self.external is not None and number == 1:
            return self.external_process
        found = [p for p in self.processes.values() if p.number == number]
        return found[-1] if found else None

    def _slot_of(self, number: int) -> Slot | None:
        for slot in self.state.slots:
            if any(i.number == number for i in slot.instances):
                return slot
        return None

    def instance(self, number: int) -> Instance | None:
        return self._instance_in(self.state, number)

    @staticmethod
    def _instance_in(state: State, number: int) -> Instance | None:
        for slot in state.slots:
            for instance in slot.instances:
                if instance.number == number:
                    return instance
        return None

    def _short(self) -> str:
        r = self.state.rollout
        slots = ", ".join(
            f"{s.color}={s.release}:{'/'.join(i.state for i in s.instances)}"
            for s in self.state.slots
        )
        about = "steady" if r is None else f"#{r.id} {r.kind} {r.phase} {r.share}%"
        return f"{about} live={self.state.live} [{slots}]"

    def calm(self) -> None:
        """No more faults; whatever broke can mend."""
        self.faults = Faults()
        self.frozen_disk = False
        self.start_reld()
        for process in self.processes.values():
            process.sick = False
            if not process.held and process.ready_at is None:
                process.ready_at = self.now
        self.persist()

    @property
    def quiet(self) -> bool:
        """Only what goes on for ever is going on."""
        for_ever = (fx.KeepGate, fx.AwaitExit, fx.CheckReady, fx.CheckLive)
        busy = any(not isinstance(e, for_ever) for e in self._todo(self.state))
        return not busy and not self.state.resting and self.disk == self.state

    def check_tidy(self) -> None:
        """Quiet and tidy: nothing runs that should not, nothing is left lying about."""
        state = self.state
        if state.rollout is not None:
            raise Violation(f"still {state.rollout.phase}: {state.rollout.waiting}")
        if state.gate.in_flight or state.gate.suspects:
            raise Violation("the gate is not certain")
        if self.serving != state.gate.verified:
            raise Violation("reld believes in another gate config than the one in force")
        if self.lanes:
            raise Violation(f"lanes are left: {self.lanes}")
        live = state.slot(state.live)
        expected = set() if live is None else {i.number for i in live.instances}
        running = {p.number for p in self.processes.values() if p.alive}
        if live is not None and live.external:
            expected = set()
        if running != expected:
            raise Violation(f"running {running}, expected {expected}")
        if [s.color for s in state.slots if not s.external] != (
            [] if live is None or live.external else [live.color]
        ):
            raise Violation(f"slots are left: {state.slots}")
        if live is not None and not live.fit:
            raise Violation("the live slot is not fit")
        if live is not None:
            named = self._addresses(self.serving.routing)
            if named != {i.address for i in live.instances}:
                raise Violation(f"the gate names {named}")
        if self.disk != state:
            raise Violation("the disk is behind")


PHASES = tuple(Phase)
__all__ = ["PHASES", "Color", "Faults", "InstanceState", "Violation", "World"]
