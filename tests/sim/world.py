"""A simulated machine for the core and the engine: processes, a gate, lanes, a disk, and bad luck.

The engine is reld's own, on an event loop whose time is virtual; the host is simulated
(`tests.sim.host`). The world keeps its own truth, apart from what reld believes; at every act the
invariants of the design are checked against that truth (`tests.sim.invariants` says which and where).
One seed is one story; the same seed tells it again.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from reld.core import effects as fx
from reld.core import events as ev
from reld.core.commands import Command, Pause, Promote, Refusal, Resume
from reld.core.effects import todo
from reld.core.machine import first_state
from reld.core.model import (
    Color,
    Identity,
    Instance,
    InstanceState,
    Kind,
    Loaded,
    Outcome,
    Phase,
    Rollout,
    Routing,
    Slot,
    State,
)
from reld.core.recovery import Observed, recover
from reld.core.verdict.finding import Finding
from reld.engine import Engine
from reld.errors import StoreError
from tests.sim import gates, invariants, one_at_a_time, rehearsals, worker_rules
from tests.sim.clock import VirtualLoop
from tests.sim.host import SimHost
from tests.sim.invariants import Violation


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
    worker: str = ""  # its name; and what tells it from others of the name
    index: int = 0
    color: Color | None = None
    stop_first: bool = False
    siblings: tuple[str, ...] = ()  # names of all workers of its slot
    stubborn: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)


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
    judged_bad: float = 0.0  # worse, in doubt, the environment, blind
    suspicion: float = 0.0
    deaf: float = 0.0  # the sensor reads nothing
    stale_results: float = 0.0
    disk_fails: float = 0.0  # a write ends with an error, and nothing was written


class SimDisk:
    """Implements engine.Saver: writes take a moment; a frozen disk takes none until it thaws."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def save(self, state: State, ended: tuple[Rollout, ...]) -> None:
        world = self._world
        if not world.chance(0.7):
            await asyncio.sleep(world.random.uniform(0.0, 0.05))
        while world.frozen_disk:
            await asyncio.sleep(0.5)
        if world.chance(world.faults.disk_fails):
            raise StoreError("cannot save the state: disk full")
        world.disk = state
        world.receipts += [rollout.id for rollout in ended if rollout.id not in world.receipts]


@dataclass
class World:
    seed: int
    faults: Faults = field(default_factory=Faults)
    external: str | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(self._unhandled)
        self.shift = 0.0  # CLOCK_BOOTTIME begins anew with each boot, the loop's time does not
        self.boots = 1
        self.starts = 0
        self.boot = "boot-1"
        self.broken: BaseException | None = None
        self.up = False
        self.running: asyncio.Task[None] | None = None
        self.processes: dict[int, Process] = {}
        self.next_pid = 100
        self.next_port = 21000
        self.serving = Loaded(0, Routing())
        self.old_workers: list[tuple[Loaded, float]] = []
        self.pending: list[Loaded] = []
        self.lanes: dict[int, int] = {}
        self.mirrors: set[int] = set()
        self.last_named: dict[str, float] = {}
        self.late: list[ev.Event] = []
        self.log: list[str] = []
        self.script: list[str] = []  # what was done to it, for people
        self.frozen_disk = False
        self.ended: list[int] = []
        self.receipts: list[int] = []
        self.opinion: tuple[int, Finding] = (0, Finding())
        self.unshielded: set[int] = set()
        self.active: set[Color] = set()
        self.promoted: set[int] = set()
        self.paused: int | None = None
        self.seen: Counter[str] = Counter()
        self.waits_for: object = None
        self.waits_since = 0.0
        self.units: dict[int, list[Process]] = {}  # by the eject that made them
        self.ejects: set[int] = set()  # those that were done
        self.external_process: Process | None = None
        if self.external is not None:
            self.external_process = Process(
                1, self.external, Identity(1, 1, self.boot), held=False, ready_at=0.0
            )
        self.disk = first_state("web", self.boot, self.external)
        self._serve(self.disk)

    # time

    @property
    def now(self) -> float:
        """CLOCK_BOOTTIME."""
        return self.loop.time() - self.shift

    @property
    def state(self) -> State:
        return self.engine.state

    def after(self, delay: float, act: Callable[[], None]) -> None:
        """Something of the machine's own; a reboot undoes it."""
        boot = self.boot
        self.loop.call_later(delay, lambda: act() if self.boot == boot else None)

    def run(self, seconds: float) -> None:
        """Let that much virtual time pass."""
        until = self.loop.time() + seconds
        while True:
            # Looked at every now and then: a wait without end makes no noise.
            upcoming = min(until, self.loop.time() + 5.0)
            self.loop.run_until(upcoming)
            if self.broken is not None:
                raise self.broken
            invariants.waits_are_bounded(self)
            if upcoming >= until:
                return

    def fail(self, error: BaseException) -> None:
        """The story ends here."""
        if self.broken is None:
            self.broken = error
        self.loop.stop()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        self.fail(error if isinstance(error, BaseException) else Violation(str(context)))

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    # reld

    def _serve(self, state: State) -> None:
        self.looked_at = self.now
        self.engine = Engine(state, SimHost(self), SimDisk(self), self._clock)
        self.engine.watch(self._moved)
        self.up = True
        self.running = self.loop.create_task(self.engine.run())

    def _clock(self) -> float:
        self.looked_at = self.now
        return self.looked_at

    def tell(self, event: ev.Event | Command) -> None:
        """Straight to the state machine, past whoever should have reported it."""
        if self.up:
            self._in_loop(lambda: self.engine._step(event))

    def command(self, command: Command) -> str:
        """Like the API: refused or done; returns the refusal's words."""
        if not self.up:
            return "down"
        refusals: list[Refusal | None] = []
        paused = self.paused
        if isinstance(command, Promote):
            self.promoted.add(command.rollout)
        if isinstance(command, Promote | Resume):
            self.paused = None
        self._in_loop(lambda: refusals.append(self.engine.command(command)))
        refusal = refusals[0]
        if refusal is not None:
            self.paused = paused
            return refusal.message
        if isinstance(command, Pause):
            self.paused = command.rollout
        return ""

    def _in_loop(self, act: Callable[[], object]) -> None:
        """The engine is only ever touched from its loop."""
        if asyncio._get_running_loop() is not None:
            act()
            return
        self.loop.call_soon(act)
        self.loop.run_until(self.loop.time())
        if self.broken is not None:
            raise self.broken

    def reported(self, event: ev.Event) -> None:
        self.late = [*self.late, event][-20:]

    def cancelled(self) -> None:
        """Work that is not wanted any more; its result may come all the same, or an older one twice."""
        if not self.up or not self.late or not self.chance(self.faults.stale_results):
            return
        event = self.random.choice(self.late)
        probe = isinstance(event, ev.ReadinessProbed | ev.LivenessProbed)
        if not (probe and self.instance(event.number) is not None):
            self.loop.call_soon(lambda: self.tell(event))

    def _moved(self, before: State, after: State) -> None:
        """Called with every change of the state, in the middle of the engine's step."""
        try:
            self._looked_at(before, after)
        except AssertionError as error:
            self.fail(error)

    def _looked_at(self, before: State, after: State) -> None:
        self.log.append(f"{self.now:.2f} {self._short()}")
        if before.rollout is not None and after.rollout is None:
            self.ended.append(before.rollout.id)
        self._count(before)
        invariants.one_rollout(before, after)
        invariants.obey(one_at_a_time.ends_served(before, after))
        invariants.obey(rehearsals.stays_as_it_is(before, after))
        invariants.obey(worker_rules.moves(before, after, self.now))
        if not self._by_command(before, after):
            invariants.silence_is_told(self, before, after)
            invariants.verdicts_are_obeyed(self, before, after)
        invariants.a_pause_holds(self, before, after)
        invariants.two_people(before, after)
        invariants.obey(gates.passed(before, after))
        rollout = after.rollout
        if rollout is not None and rollout.phase is Phase.REVERTING:
            number, engine = rollout.id, self.engine
            self.after(0.2, lambda: self._went_back(engine, number))

    @staticmethod
    def _by_command(before: State, after: State) -> bool:
        """`promote` was typed: what it skips is what it was typed for."""
        was, now = before.rollout, after.rollout
        return (
            was is not None
            and now is not None
            and (was.phase, was.step) != (now.phase, now.step)
            and (was.promoted or was.full or now.full)
        )

    def _went_back(self, engine: Engine, number: int) -> None:
        if self.engine is engine and self.up:
            try:
                invariants.goes_back_at_once(self, number)
            except AssertionError as error:
                self.fail(error)

    def _count(self, before: State) -> None:
        """What this story has come by."""
        rollout = self.state.rollout
        if rollout is not None:
            if before.rollout is None or before.rollout.phase is not rollout.phase:
                self.seen[f"phase {rollout.phase}"] += 1
            if rollout.unproven:
                self.seen["unproven"] += 1
            if rollout.skipped:
                self.seen["skipped"] += 1
            if rollout.shadow.over:
                self.seen["shadow"] += 1
            self.seen[f"verdict {rollout.watch.finding.verdict}"] += 1
            for word in (
                "is not fit",
                "unproven,",
                "locked",
                "not obey",
                "both slots stay warm",
                "approver",
                "to agree after",
                "to agree before any traffic",
                "to agree before the bake",
            ):
                if word in rollout.waiting:
                    self.seen[f"waiting: {word}"] += 1
        elif any(s.color is not self.state.live and not s.external for s in self.state.slots):
            self.seen["locked slot"] += 1
        if self.state.store_trouble:
            self.seen["the disk fails"] += 1
        last = self.state.last
        if last is not None and last is not before.last:
            self.seen[f"kind {last.kind}"] += 1
            if last.kind is Kind.EJECT and last.outcome is Outcome.DONE:
                self.ejects.add(last.id)
            self.seen[f"outcome {last.outcome}"] += 1
            self.seen[f"{last.kind} {last.outcome}"] += 1
            if last.stop_first:
                self.seen[f"stop-first {last.outcome}"] += 1
                self.seen["stranded"] += last.stranded
            if last.worker_moves:
                self.seen[f"workers moved, {last.outcome}"] += 1
            if last.reason.startswith("failed in shadow"):
                self.seen["failed in shadow"] += 1
            if "could not be removed in time" in last.reason:  # told, and a person's to do now
                self.units.pop(last.id, None)
            if "could not go back" in last.reason:
                self.seen["could not go back"] += 1

    # things that happen to the machine

    def spawned(self, number: int, address: str) -> Process:
        self.next_pid += 1
        identity = Identity(self.next_pid, int(self.now * 100), self.boot)
        stubborn = self.chance(self.faults.stubborn)
        process = Process(number, address, identity, stubborn=stubborn)
        self.processes[self.next_pid] = process
        return process

    def unit(self, number: int, address: str) -> Process:
        """What systemd runs."""
        self.next_pid += 1
        identity = Identity(self.next_pid, int(self.now * 100), self.boot)
        process = Process(number, address, identity, held=False)
        process.alive = not self.chance(self.faults.spawn_fails)
        if not self.chance(self.faults.never_ready):
            process.ready_at = self.now + self.random.uniform(0.05, 3.0)
        return process

    def die(self, process: Process) -> None:
        process.alive = False
        process.gone.set()

    def kill_reld(self) -> None:
        """SIGKILL: nothing that it was about to do is done, or undone."""
        if not self.up:
            return
        self.up = False
        self.waits_for = None
        self.engine._closing = True
        assert self.running is not None
        self.running.cancel()
        self.loop.run_until(self.loop.time())
        for process in self.processes.values():
            if process.held:
                self.die(process)  # EOF at its launch pipe

    def start_reld(self) -> None:
        if self.up:
            return
        alive = frozenset(
            i.number
            for s in self.disk.slots
            for i in s.processes
            if i.identity is not None
            and any(p.alive and p.identity == i.identity for p in self.processes.values())
        )
        for process in self.processes.values():
            known = self.instance_in(self.disk, process.number)
            if known is not None and not known.was_ready:
                process.was_ready = False  # what was seen since is forgotten
                process.passes = known.ready_streak
        share = None
        if self.disk.rollout is not None:
            share = self.lanes.get(self.disk.rollout.id)
        self.starts += 1
        edited = self.starts % 3 == 0  # [gate], while reld was away
        observed = Observed(self.boot, alive, self.serving.generation, share, edited)
        self._serve(recover(self.disk, observed, self.now))
        if self.disk.rollout is None or not self.disk.rollout.paused:
            self.paused = None  # it was typed, and was not on disk yet
        self.log.append(f"{self.now:.2f} reld starts: {self._short()}")

    def reboot(self) -> None:
        self.kill_reld()
        self.boots += 1
        self.boot = f"boot-{self.boots}"
        self.shift = self.loop.time() - 10.0  # CLOCK_BOOTTIME begins anew
        for process in self.processes.values():
            self.die(process)
        for unit in self._every_unit():  # they are enabled
            unit.alive, unit.was_ready, unit.identity = True, False, Identity(1, 1, self.boot)
            unit.ready_at = self.now
        self.waits_for = None
        self.lanes.clear()
        self.mirrors.clear()
        self.unshielded.clear()
        self.active.clear()
        self.last_named.clear()
        self.old_workers.clear()
        if self.pending:
            newest = max(self.pending, key=lambda p: p.generation)
            if newest.generation > self.serving.generation:
                self.serving = newest  # the file on disk is what nginx reads at boot
        self.pending.clear()
        self.late.clear()

    def calm(self) -> None:
        """No more faults; whatever broke can mend."""
        self.faults = Faults()
        self.frozen_disk = False
        self.start_reld()
        for process in self.processes.values():
            process.sick = False
            if not process.held and process.ready_at is None:
                process.ready_at = self.now
        for unit in self._every_unit():
            unit.alive, unit.sick, unit.ready_at = True, False, self.now
        if self.external_process is not None:
            self.external_process.sick, self.external_process.ready_at = False, self.now

    def close(self) -> None:
        """Nothing of the story is left behind."""
        self.kill_reld()
        self.loop.close()

    # looking

    def process(self, number: int) -> Process | None:
        if number == 1 and self.external_process is not None:
            return self.external_process
        found = [p for p in self.everything() if p.number == number]
        return found[-1] if found else None

    def everything(self) -> list[Process]:
        """Instances, and what systemd runs."""
        return [*self.processes.values(), *self._every_unit()]

    def _every_unit(self) -> list[Process]:
        return [process for made in self.units.values() for process in made]

    def slot_of(self, number: int) -> Slot | None:
        for slot in self.state.slots:
            if any(i.number == number for i in slot.processes):
                return slot
        return None

    def instance(self, number: int) -> Instance | None:
        return self.instance_in(self.state, number)

    @staticmethod
    def instance_in(state: State, number: int) -> Instance | None:
        for slot in state.slots:
            for instance in slot.processes:
                if instance.number == number:
                    return instance
        return None

    def named_now(self, address: str) -> bool:
        configs = [self.serving, *self.pending]
        return any(address in invariants.addresses(c.routing) for c in configs)

    def reap_workers(self) -> None:
        self.old_workers = [(w, t) for w, t in self.old_workers if t > self.now]

    @property
    def quiet(self) -> bool:
        """Only what goes on for ever is going on."""
        for_ever = (fx.KeepGate, fx.KeepActive, fx.AwaitExit, fx.CheckReady, fx.CheckLive)
        busy = any(not isinstance(e, for_ever) for e in todo(self.state))
        return not busy and not self.state.resting and self.disk == self.state

    def _short(self) -> str:
        r = self.state.rollout
        slots = ", ".join(
            f"{s.color}={s.release}:{'/'.join(f'{i.worker}{i.state}' for i in s.processes)}"
            for s in self.state.slots
        )
        about = "steady" if r is None else f"#{r.id} {r.kind} {r.phase} {r.share}%"
        return f"{about} live={self.state.live} [{slots}]"


__all__ = ["Color", "Faults", "InstanceState", "Violation", "World"]
