"""Effects on instances: spawn, let go, await, ask, stop, kill."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from reld.config import fill
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
from reld.core.model import SHUTDOWN, Exit, Identity, Instance, Slot, State
from reld.core.routing import Role, role
from reld.engine import Post
from reld.errors import GateError, LaunchError, PrepareError, StoreError
from reld.host.eject import not_of_its_unit
from reld.host.snapshots import Snapshots
from reld.host.words import Words
from reld.leases import Leases, in_use
from reld.nginx import connections
from reld.probes.hints import Seen, classic_hint
from reld.probes.probe import probe
from reld.probes.spec import ExecProbe, HttpProbe, Probe, Result, TcpProbe
from reld.processes import cgroup, ports
from reld.processes.environment import clean_environment
from reld.processes.exits import wait_exit
from reld.processes.held import Held
from reld.processes.identity import adopt
from reld.processes.oom import CANDIDATE
from reld.processes.spec import Ending, Launcher, LaunchSpec, Unit
from reld.processes.tree import Tree, kill_tree, send_stop
from reld.processes.units import unit_name
from reld.snapshot import Seat, Snapshot, environment, placeholders

log = logging.getLogger("reld.instances")

CHECK_EVERY = 5.0
"""Seconds between two readiness probes of an instance that serves."""
ASK_AGAIN = 1.0
LAUNCH_PATIENCE = 5.0
"""Seconds that the end of a launch may take to explain the exit of its process."""
DAEMON_TIME = 0.05
"""Seconds that a program needs to fork twice: only then it can be told from one that just ended."""


@dataclass(slots=True)
class Running:
    """A process that is ours to watch. `child` None: adopted, and nobody knows how it will end."""

    identity: Identity
    pidfd: int
    tree: Tree
    child: Ending | None = None
    held: Held | None = None
    unit: str = ""
    last: Result | None = None
    stopped: bool = field(default=False)


class Instances:
    """Knows the processes behind the instance numbers."""

    def __init__(
        self,
        state: Callable[[], State],
        snapshots: Snapshots,
        logs_at: Path,
        launcher: Launcher,
        words: Words,
        leases: Leases,
    ) -> None:
        self._state = state
        self._snapshots = snapshots
        self._logs_at = logs_at
        self._launcher = launcher
        self._words = words
        self._leases = leases
        self._running: dict[int, Running] = {}

    def adopt_all(self, slots: Iterable[Slot], app: str) -> frozenset[int]:
        """Take over what an earlier reld started; the numbers of those that live."""
        for slot in slots:
            for instance in slot.instances:
                identity = instance.identity
                pidfd = adopt(identity) if identity is not None else None
                if identity is None or pidfd is None:
                    continue
                seat = _seat(app, slot, instance, identity.boot_id)
                tree = Tree(identity, seat.marker, cgroup.group_of(identity.pid))
                # An earlier reld may have started it as its own child.
                kept = cgroup.unit_of(identity.pid) == _unit_name(app, slot, instance)
                unit = _unit_name(app, slot, instance) if kept else ""
                ending = self._launcher.adopted(unit, pidfd)
                self._running[instance.number] = Running(identity, pidfd, tree, ending, unit=unit)
        return frozenset(self._running)

    def units(self) -> frozenset[str]:
        """What systemd keeps and reld has taken over."""
        return frozenset(r.unit for r in self._running.values() if r.unit)

    def log_of(self, release: str) -> Path:
        return self._logs_at / f"{release}.log"

    def members(self, slot: Slot) -> frozenset[Identity]:
        """Every process of a slot."""
        trees = [self._running[i.number].tree for i in slot.instances if i.number in self._running]
        return frozenset().union(*(t.members() for t in trees))

    async def spawn(self, number: int, post: Post) -> None:
        slot, instance = self._find(number)
        snapshot = await self._snapshots.get(slot.snapshot)
        seat = _seat(self._state().app, slot, instance, self._state().boot)
        taken = ports.listener(int(seat.port))
        if taken is not None:
            instead = await self._another_port()
            post(PortTaken(number, f"port {seat.port} is taken by {taken}", instead))
            return
        values = placeholders(snapshot, seat)
        spec = LaunchSpec(
            argv=tuple(fill(word, values) for word in snapshot.app.command),
            directory=Path(snapshot.directory),
            env=environment(snapshot, clean_environment(os.environ), seat),
            user=snapshot.app.user,
            log=self.log_of(snapshot.release),
            oom=CANDIDATE if role(self._state(), slot.color) is Role.CANDIDATE else 0,
            unit=_unit(self._state().app, snapshot, slot, instance),
        )
        try:
            held = await self._launcher.hold(spec)
        except LaunchError as error:
            post(SpawnFailed(number, _words(error)))
            return
        group = cgroup.group_of(held.identity.pid) if held.unit else None
        tree = Tree(held.identity, seat.marker, group)
        self._running[number] = Running(
            held.identity, held.pidfd, tree, held.child, held, held.unit
        )
        if not post(Spawned(number, held.identity)):
            held.abandon()
            os.close(self._running.pop(number).pidfd)

    async def lease(self, count: int) -> tuple[str, ...]:
        """So many free addresses, ours from now on. Raises PrepareError."""
        config, taken = self._snapshots.config, in_use(self._state())
        found = await asyncio.to_thread(self._leases.pick, config, count, taken)
        return tuple(f"127.0.0.1:{port}" for port in found)

    async def _another_port(self) -> str:
        try:
            (address,) = await self.lease(1)
        except PrepareError as error:
            log.warning("cannot move to another port: %s", error.message)
            return ""
        return address

    async def release(self, number: int, post: Post) -> None:
        running = self._running.get(number)
        if running is None or running.held is None:
            post(SpawnFailed(number, "its process was lost while it was held"))
            return
        try:
            await running.held.let_go()
        except LaunchError as error:
            post(SpawnFailed(number, _words(error)))
            running.held = None
            return
        running.held = None
        post(LetGo(number))

    async def await_exit(self, number: int, post: Post) -> None:
        running = self._running.get(number)
        if running is None:
            post(Exited(number, Exit()))
            return
        found = await wait_exit(running.pidfd, running.child)
        if found.cause == SHUTDOWN:
            # No crash, nobody to blame and nothing to start again: reld is told to end, too.
            log.info("instance %d was stopped: %s", number, SHUTDOWN)
            await asyncio.Event().wait()
        await self._told_by_its_launch(running)
        slot, instance = self._find(number)
        why = ""
        if found.code == 0 and not instance.was_ready:
            await asyncio.sleep(DAEMON_TIME)
        with contextlib.suppress(StoreError):  # an exit is told even if the disk is lost
            snapshot = await self._snapshots.get(slot.snapshot)
            said = await asyncio.to_thread(
                self._words.last, slot.release, number, instance.identity
            )
            why = _why(snapshot, instance, running, found, said)
        post(Exited(number, found, why))

    async def _told_by_its_launch(self, running: Running) -> None:
        """A command that could not be run also exits: why it could not is the better news."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LAUNCH_PATIENCE
        while running.held is not None and loop.time() < until:
            await asyncio.sleep(0.01)

    async def prove_ready(self, number: int, post: Post) -> None:
        slot, instance = self._find(number)
        if slot.external:
            await self._ask(number, post, await self._external_probe(slot, instance), 1.0)
            return
        snapshot = await self._snapshots.get(slot.snapshot)
        spec = readiness_probe(snapshot, self._seat_of(slot, instance))
        await self._ask(number, post, spec, snapshot.readiness.interval)

    async def check_ready(self, number: int, post: Post) -> None:
        slot, instance = self._find(number)
        running = self._running.get(number)
        if running is not None:
            await self._launcher.unleash(running.unit)
        await asyncio.sleep(CHECK_EVERY)
        if slot.external:
            await self._ask(number, post, await self._external_probe(slot, instance), CHECK_EVERY)
            return
        snapshot = await self._snapshots.get(slot.snapshot)
        spec = readiness_probe(snapshot, self._seat_of(slot, instance))
        await self._ask(number, post, spec, CHECK_EVERY)

    async def asked_now(self, slot: Slot) -> str:
        """What keeps the slot from being ready at this moment; "" = nothing."""
        for instance in slot.instances:
            if slot.external:
                spec = await self._external_probe(slot, instance)
            else:
                snapshot = await self._snapshots.get(slot.snapshot)
                spec = readiness_probe(snapshot, self._seat_of(slot, instance))
            result = await probe(spec, instance.address, self._launcher)
            if not result.ok:
                return result.detail
        return ""

    async def _ask(self, number: int, post: Post, spec: Probe, interval: float) -> None:
        while True:
            slot, instance = self._find(number)
            result = await self._asked(spec, instance.address)
            detail = result.detail
            if result.ok:
                detail = self._stranger(slot, instance)
            passed = result.ok and not detail
            running = self._running.get(number)
            if running is not None:
                running.last = result
            if not passed and not slot.external:
                snapshot = await self._snapshots.get(slot.snapshot)
                said = await asyncio.to_thread(
                    self._words.so_far, slot.release, number, instance.identity
                )
                detail = self._explained(snapshot, instance, detail, result, said)
            if not post(ReadinessProbed(number, passed, detail)):
                return
            await asyncio.sleep(interval)

    async def _external_probe(self, slot: Slot, instance: Instance) -> Probe:
        """What was ejected is asked what it was asked as an instance."""
        if not slot.unit:
            return self._snapshots.external_probe()
        return readiness_probe(
            await self._snapshots.get(slot.snapshot), self._seat_of(slot, instance)
        )

    def _stranger(self, slot: Slot, instance: Instance) -> str:
        if slot.unit:
            return not_of_its_unit(slot, instance.address)
        # The process behind an external address is not ours, and need not be.
        return "" if slot.external else self._foreign(instance.number, instance)

    def _foreign(self, number: int, instance: Instance) -> str:
        """A ready answer only counts if it comes from our process."""
        running = self._running.get(number)
        if running is None or instance.address.startswith("unix:"):
            return ""
        port = int(instance.address.rpartition(":")[2])
        if _holds_listener(running.identity.pid, instance.address):
            return ""
        if ports.owned_by(port, running.tree.members()):
            return ""
        return f"port {port} is answered by {ports.listener(port)}, not by the instance"

    async def check_live(self, number: int, post: Post) -> None:
        slot, instance = self._find(number)
        snapshot = await self._snapshots.get(slot.snapshot)
        live = snapshot.liveness
        spec: Probe = TcpProbe(live.timeout)
        if live.path is not None:
            spec = HttpProbe(live.path, host=snapshot.app.host, timeout=live.timeout)
        while True:
            await asyncio.sleep(live.interval)
            result = await self._asked(spec, instance.address)
            if not post(LivenessProbed(number, result.ok, "" if result.ok else result.detail)):
                return

    async def stop(self, number: int, post: Post) -> None:
        slot, _ = self._find(number)
        running = self._running.get(number)
        if running is not None:
            # Escapees are remembered while their parents still live.
            running.tree.members()
            running.stopped = True
            send_stop(running.pidfd, signal.Signals[slot.policy.stop_signal])
        post(Signalled(number))

    async def kill(self, number: int, post: Post) -> None:
        running = self._running.get(number)
        if running is None:
            slot, instance = self._find(number)
            if instance.identity is not None:
                seat = _seat(self._state().app, slot, instance, instance.identity.boot_id)
                await kill_tree(Tree(instance.identity, seat.marker))
                await self._launcher.forget(_unit_name(seat.app, slot, instance))
            post(TreeEmpty(number))
            return
        if running.held is not None:
            running.held.abandon()
            running.held = None
        if await kill_tree(running.tree):
            os.close(running.pidfd)
            del self._running[number]
            await self._launcher.forget(running.unit)
            post(TreeEmpty(number))

    async def _asked(self, spec: Probe, address: str) -> Result:
        """Waits while it is we who cannot ask: that is nobody's fault but ours."""
        while not (result := await probe(spec, address, self._launcher)).asked:
            log.warning("cannot ask the app: %s", result.detail)
            await asyncio.sleep(ASK_AGAIN)
        return result

    def _explained(
        self,
        snapshot: Snapshot,
        instance: Instance,
        detail: str,
        result: Result,
        tail: list[str],
    ) -> str:
        running = self._running.get(instance.number)
        members = running.tree.members() if running is not None else frozenset()
        port = _port(instance)
        seen = Seen(
            result=result,
            port=port,
            elsewhere=tuple(p for p in ports.listening_ports(members) if p != port),
            argv=snapshot.app.command,
            host=snapshot.app.host,
            log_tail=tail,
        )
        body = f'; it said: "{result.body}"' if result.body else ""
        return _joined(f"{detail}{body}", (), classic_hint(seen), tail)

    def _find(self, number: int) -> tuple[Slot, Instance]:
        for slot in self._state().slots:
            for instance in slot.instances:
                if instance.number == number:
                    return slot, instance
        raise LookupError(number)

    def _seat_of(self, slot: Slot, instance: Instance) -> Seat:
        return _seat(self._state().app, slot, instance, self._state().boot)


def _why(
    snapshot: Snapshot, instance: Instance, running: Running, found: Exit, tail: list[str]
) -> str:
    """Everything that helps at 2 a.m.: a hint where the cause is a classic, and its last words."""
    seen = Seen(
        port=_port(instance),
        exit=found,
        survivors=len(running.tree.everyone()),  # a daemon has left session and parents
        argv=snapshot.app.command,
        host=snapshot.app.host,
        log_tail=tail,
        result=running.last,
    )
    return _joined(classic_hint(seen) or (tail[-1] if tail else "it said nothing"), tail)


def _unit_name(app: str, slot: Slot, instance: Instance) -> str:
    return unit_name(app, slot.snapshot, slot.color, instance.number)


def _unit(app: str, snapshot: Snapshot, slot: Slot, instance: Instance) -> Unit:
    return Unit(
        name=_unit_name(app, slot, instance),
        description=f"{app} {slot.release}: {slot.color} {instance.index} (rollout {slot.snapshot})",
        identifier=app,
        fields=(
            ("RELCTL_APP", app),
            ("RELCTL_ROLLOUT", str(slot.snapshot)),
            ("RELCTL_SLOT", slot.color),
            ("RELCTL_RELEASE", slot.release),
            ("RELCTL_INSTANCE", str(instance.number)),
        ),
        # At a shutdown: reld, the site's nginx, the gate, and then the app.
        before=(f"relctl-gate@{app}.service", f"reld@{app}.service"),
        stop_signal=slot.policy.stop_signal,
        stop_timeout=slot.policy.stop_timeout,
        memory_max=snapshot.app.memory_max,
        tasks_max=snapshot.app.tasks_max,
    )


def readiness_probe(snapshot: Snapshot, seat: Seat) -> Probe:
    """The probe that the release's own settings ask for."""
    ready = snapshot.readiness
    if ready.path is not None:
        return HttpProbe(ready.path, host=snapshot.app.host, timeout=ready.timeout)
    if ready.command:
        values = placeholders(snapshot, seat)
        return ExecProbe(
            tuple(fill(word, values) for word in ready.command),
            Path(snapshot.directory),
            environment(snapshot, clean_environment(os.environ), seat),
            snapshot.app.user,
            ready.timeout,
        )
    return TcpProbe(ready.timeout)


def _seat(app: str, slot: Slot, instance: Instance, boot: str) -> Seat:
    return Seat(app, slot.color, instance.index, instance.number, instance.address, boot)


def _holds_listener(pid: int, address: str) -> bool:
    """The usual case, 80 times cheaper than reading /proc/net/tcp and all processes."""
    try:
        found = connections.listeners(address)
    except GateError:
        return False
    held = connections.open_files(pid)
    return bool(found) and all(f"socket:[{listener.inode}]" in held for listener in found)


def _port(instance: Instance) -> int | None:
    port = instance.address.rpartition(":")[2]
    return int(port) if port.isdigit() else None


def _words(error: LaunchError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message


def _joined(first: str, *rest: str | tuple[str, ...] | list[str]) -> str:
    lines = [first] if first else []
    for part in rest:
        if isinstance(part, str):
            lines += [f"hint: {part}"] if part else []
        elif part:
            lines += ["its last lines:", *(f"  {line}" for line in part)]
    return "\n".join(lines)
