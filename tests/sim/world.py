"""A simulated machine for the core: processes, a gate, lanes, probes, a disk, and things going wrong.

Time is virtual. The world keeps its own truth, apart from what reld believes; at every act the
invariants of the design are checked against that truth (`tests.sim.invariants` says which and where).
One seed is one story; the same seed tells it again.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from reld.core import effects as fx
from reld.core import events as ev
from reld.core.commands import Command, Pause, Promote, Resume, refuse
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
from tests.sim import invariants
from tests.sim.invariants import Violation

_ENDING = (InstanceState.STOPPING, InstanceState.KILLING, InstanceState.EXITED)


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
    unkillable: float = 0.0  # for some time: in an uninterruptible sleep
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
        self.promoted: set[int] = set()
        self.paused: int | None = None
        self.seen: Counter[str] = Counter()
        self.waits_for: object = None
        self.waits_since = 0.0
        self.external_process: Process | None = None
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
            invariants.waits_are_bounded(self)
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
        self._count(before)
        invariants.one_rollout(before, self.state)
        invariants.silence_is_told(self, before, self.state)
        invariants.a_pause_holds(self, before, self.state)
        rollout = self.state.rollout
        if rollout is not None and rollout.phase is Phase.REVERTING:
            number, incarnation = rollout.id, self.incarnation
            self.after(
                0.2,
                lambda: (
                    invariants.goes_back_at_once(self, number)
                    if self.incarnation == incarnation
                    else None
                ),
            )
        self.persist()

    def _count(self, before: State) -> None:
        """What this story has come by."""
        rollout = self.state.rollout
        if rollout is not None:
            if before.rollout is None or before.rollout.phase is not rollout.phase:
                self.seen[f"phase {rollout.phase}"] += 1
            if rollout.unproven:
                self.seen["unproven"] += 1
            for word in ("is not fit", "unproven,", "locked", "not obey", "both slots stay warm"):
                if word in rollout.waiting:
                    self.seen[f"waiting: {word}"] += 1
        elif any(s.color is not self.state.live and not s.external for s in self.state.slots):
            self.seen["locked slot"] += 1
        last = self.state.last
        if last is not None and last is not before.last:
            self.seen[f"kind {last.kind}"] += 1
            self.seen[f"outcome {last.outcome}"] += 1
            self.seen[f"{last.kind} {last.outcome}"] += 1
            if "could not go back" in last.reason:
                self.seen["could not go back"] += 1

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
            if isinstance(command, Promote):
                self.promoted.add(command.rollout)
            if isinstance(command, Promote | Resume):
                self.paused = None
            if isinstance(command, Pause):
                self.paused = command.rollout
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
                long = self.chance(self.faults.unkillable)
                delay = r.uniform(12.0, 40.0) if long else r.uniform(0.0, 0.1)
                self.finish(effect, delay, lambda: self._killed(number))
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
                self._move_lanes(effect, number, share)
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
        invariants.may_spawn(self, number, instance.address)
        slot = self.slot_of(number)
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
        known = on_disk is not None and on_disk.identity is not None
        invariants.on_disk_first(self, known, f"instance {number} runs")
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
            on_disk = self._instance_in(self.disk, number)
            known = on_disk is not None and on_disk.state in _ENDING
            invariants.on_disk_first(self, known, f"instance {number} is signalled")
            invariants.may_signal(self, process)
            if not process.stubborn:
                self.after(self.random.uniform(0.01, 2.0), lambda: self.die(process))
        return ev.Signalled(number)

    def _killed(self, number: int) -> ev.Event:
        for process in self.processes.values():
            if process.number == number and process.alive:
                invariants.lives_on(self, process)
                invariants.may_signal(self, process)
                self.die(process)
        return ev.TreeEmpty(number)

    def _reload(self, effect: Effect, generation: int) -> None:
        flying = self.state.gate.in_flight
        assert flying is not None
        invariants.on_disk_first(self, self.disk.gate.in_flight == flying, "a reload begins")
        loaded = flying
        if loaded.routing.rollout is not None:
            self.lanes.setdefault(loaded.routing.rollout, 0)
        if self.chance(self.faults.reload_refused):
            refused = ev.ReloadEnded(generation, ev.End.REFUSED, "nginx -t failed")
            self.finish(effect, 0.02, lambda: refused)
            return
        invariants.may_name(self, loaded.routing)
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
        for address in invariants.addresses(self.serving.routing):
            self.last_named[address] = self.now
        self.old_workers.append((self.serving, self.now + self.random.uniform(0.1, 8.0)))
        self.serving = loaded

    def _move_lanes(self, effect: Effect, number: int, share: int) -> None:
        """The rename at once; then the gate is asked whether it obeys, which can take its time."""
        token = self.running[effect]
        stuck = self.chance(self.faults.lanes_stuck)

        def rename() -> None:
            if self.running.get(effect) is token:
                self._lanes_renamed(number, share)

        self.after(0.001, rename)
        late = self.random.uniform(1.0, 8.0) if stuck else self.random.choice((0.002, 0.3))
        self.finish(effect, late, lambda: self._lanes_obeyed(number, share, stuck=stuck))

    def _lanes_renamed(self, rollout: int, share: int) -> None:
        if share and self.chance(self.faults.lanes_stuck / 2):
            return
        if share:
            known = self.disk.rollout is not None and self.disk.rollout.wanted_share == share
            invariants.on_disk_first(self, known, "lanes move forward")
        invariants.may_have_lanes(self, rollout, share)
        self.lanes[rollout] = share

    def _lanes_obeyed(self, rollout: int, share: int, *, stuck: bool) -> ev.Event:
        if stuck or self.lanes.get(rollout, 0) != share:
            return ev.LanesStuck(rollout, "permission denied")
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

    def named_now(self, address: str) -> bool:
        configs = [self.serving, *self.pending]
        return any(address in invariants.addresses(c.routing) for c in configs)

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
        self.waits_for = None
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
        for process in self.processes.values():
            known = self._instance_in(self.disk, process.number)
            if known is not None and not known.was_ready:
                process.was_ready = False  # what was seen since is forgotten
                process.passes = known.ready_streak
        share = None
        if self.disk.rollout is not None:
            share = self.lanes.get(self.disk.rollout.id)
        serving = self.serving.generation
        observed = Observed(self.boot, alive, serving, share)
        self.state = recover(self.disk, observed, self.now)
        if self.disk.rollout is None or not self.disk.rollout.paused:
            self.paused = None  # it was typed, and was not on disk yet
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
        self.waits_for = None
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
        if number == 1 and self.external_process is not None:
            return self.external_process
        found = [p for p in self.processes.values() if p.number == number]
        return found[-1] if found else None

    def slot_of(self, number: int) -> Slot | None:
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
        if self.external_process is not None:
            self.external_process.sick, self.external_process.ready_at = False, self.now
        self.persist()

    @property
    def quiet(self) -> bool:
        """Only what goes on for ever is going on."""
        for_ever = (fx.KeepGate, fx.AwaitExit, fx.CheckReady, fx.CheckLive)
        busy = any(not isinstance(e, for_ever) for e in self._todo(self.state))
        return not busy and not self.state.resting and self.disk == self.state


__all__ = ["Color", "Faults", "InstanceState", "Violation", "World"]
