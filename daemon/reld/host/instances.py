"""Effects on instances: spawn, let go, await, stop, kill."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterable
from pathlib import Path

from reld.config import App, Config, fill
from reld.core.addresses import of_port
from reld.core.events import (
    Exited,
    LetGo,
    PortTaken,
    Signalled,
    Spawned,
    SpawnFailed,
    TreeEmpty,
)
from reld.core.model import SHUTDOWN, Exit, Instance, Slot
from reld.core.routing import Role, role
from reld.engine import Post
from reld.errors import LaunchError, PrepareError, StoreError
from reld.host import sockets
from reld.host.roster import Roster, Running, seat_of
from reld.host.snapshots import Snapshots
from reld.host.sockets import Sockets
from reld.host.telling import why_it_ended, why_not_started
from reld.host.words import Words
from reld.leases import Leases, in_use
from reld.processes import cgroup, ports
from reld.processes.environment import clean_environment
from reld.processes.exits import wait_exit
from reld.processes.identity import adopt
from reld.processes.oom import CANDIDATE
from reld.processes.spec import Launcher, LaunchSpec, Unit
from reld.processes.tree import Tree, kill_tree, send_stop
from reld.processes.units import unit_name
from reld.reading import reading
from reld.snapshot import Snapshot, environment, placeholders, was_replaced

log = logging.getLogger("reld.instances")

LAUNCH_PATIENCE = 5.0
"""Seconds that the end of a launch may take to explain the exit of its process."""
WORDS_PATIENCE = 3.0
"""Seconds that its last words may take: the guard waits for the news of the exit."""
DAEMON_TIME = 0.05
"""Seconds that a program needs to fork twice: only then it can be told from one that just ended."""


class Instances:
    """Keeps the roster."""

    def __init__(
        self,
        roster: Roster,
        snapshots: Snapshots,
        logs_at: Path,
        launcher: Launcher,
        words: Words,
        leases: Leases,
        sockets: Sockets,
    ) -> None:
        self.roster = roster
        self._state = roster.state
        self._snapshots = snapshots
        self._logs_at = logs_at
        self._launcher = launcher
        self._words = words
        self._leases = leases
        self._sockets = sockets
        self._leasing = asyncio.Lock()

    def adopt_all(self, slots: Iterable[Slot], app: str) -> frozenset[int]:
        """Take over what an earlier reld started; the numbers of those that live."""
        for slot in slots:
            for instance in slot.processes:
                identity = instance.identity
                pidfd = adopt(identity) if identity is not None else None
                if identity is None or pidfd is None:
                    continue
                seat = seat_of(app, slot, instance, identity.boot_id)
                tree = Tree(identity, seat.marker, cgroup.group_of(identity.pid))
                # An earlier reld may have started it as its own child.
                kept = cgroup.unit_of(identity.pid) == _unit_name(app, slot, instance)
                unit = _unit_name(app, slot, instance) if kept else ""
                ending = self._launcher.adopted(unit, pidfd)
                self.roster.running[instance.number] = Running(
                    identity, pidfd, tree, ending, unit=unit
                )
        return frozenset(self.roster.running)

    def log_of(self, release: str) -> Path:
        return self._logs_at / f"{release}.log"

    async def spawn(self, number: int, post: Post) -> None:
        slot, instance = self.roster.find(number)
        snapshot = await self._snapshots.get(slot.snapshot)
        seat = self.roster.seat(slot, instance)
        try:
            if seat.socket:
                await asyncio.to_thread(self._sockets.make, seat.address, snapshot.app.user)
        except LaunchError as error:
            post(SpawnFailed(number, why_not_started(error)))
            return
        on_port = not instance.worker and not seat.socket
        taken = ports.listener(int(seat.port)) if on_port else None
        if taken is not None:
            instead = await self._another_port(snapshot)
            post(PortTaken(number, f"port {seat.port} is taken by {taken}", instead))
            return
        if await asyncio.to_thread(was_replaced, snapshot):
            log.warning("%s is another directory than when it was switched to", snapshot.directory)
        values = placeholders(snapshot, seat)
        spec = LaunchSpec(
            argv=tuple(fill(word, values) for word in snapshot.command_of(instance.worker)),
            directory=Path(snapshot.directory),
            env=environment(snapshot, clean_environment(os.environ), seat),
            user=snapshot.app.user,
            log=self.log_of(snapshot.release),
            oom=CANDIDATE if role(self._state(), slot.color) is Role.CANDIDATE else 0,
            unit=_unit(self._state().app, snapshot, slot, instance),
            writable=(str(Path(seat.socket).parent),) if seat.socket else (),
        )
        try:
            held = await self._launcher.hold(spec)
        except LaunchError as error:
            post(SpawnFailed(number, why_not_started(error)))
            return
        group = cgroup.group_of(held.identity.pid) if held.unit else None
        tree = Tree(held.identity, seat.marker, group)
        self.roster.running[number] = Running(
            held.identity, held.pidfd, tree, held.child, held, held.unit
        )
        if not post(Spawned(number, held.identity)):
            held.abandon()
            os.close(self.roster.running.pop(number).pidfd)

    async def lease(self, count: int, snapshot: Snapshot) -> tuple[str, ...]:
        """So many free addresses, ours from now on, as its command wants them. Raises PrepareError."""
        async with self._leasing:
            # One at a time: whoever got ports posts them before the next one looks at the state.
            config, taken = self._snapshots.config, in_use(self._state())
            found = await asyncio.to_thread(self._leases.pick, config, count, taken)
            if sockets.wanted(snapshot.app):
                await asyncio.to_thread(self._sockets.sweep, taken | set(found))
                return self._sockets.addresses(found)
        return tuple(map(of_port, found))

    async def foreseen(self, config: Config, count: int, app: App) -> tuple[str, ...]:
        """What `lease` would find now; nothing is taken. Raises PrepareError."""
        taken = in_use(self._state())
        found = await reading(self._leases.free, config, count, taken)
        return self._sockets.addresses(found) if sockets.wanted(app) else tuple(map(of_port, found))

    def others(self, port: int) -> str:
        """The other app that this port is for; "" = there is none. Blocks."""
        return self._leases.others(port)

    async def _another_port(self, snapshot: Snapshot) -> str:
        try:
            (address,) = await self.lease(1, snapshot)
        except PrepareError as error:
            log.warning("cannot move to another port: %s", error.message)
            return ""
        return address

    async def release(self, number: int, post: Post) -> None:
        running = self.roster.running.get(number)
        if running is None or running.held is None:
            post(SpawnFailed(number, "its process was lost while it was held"))
            return
        try:
            await running.held.let_go()
        except LaunchError as error:
            post(SpawnFailed(number, why_not_started(error)))
            running.held = None
            return
        running.held = None
        post(LetGo(number))

    async def await_exit(self, number: int, post: Post) -> None:
        running = self.roster.running.get(number)
        if running is None:
            post(Exited(number, Exit()))
            return
        found = await wait_exit(running.pidfd, running.child)
        if found.cause == SHUTDOWN:
            # No crash, nobody to blame and nothing to start again: reld is told to end, too.
            log.info("instance %d was stopped: %s", number, SHUTDOWN)
            await asyncio.Event().wait()
        await self._told_by_its_launch(running)
        slot, instance = self.roster.find(number)
        why = ""
        if found.code == 0 and not instance.was_ready:
            await asyncio.sleep(DAEMON_TIME)
        # An exit is told even if the disk is lost, or does not answer.
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(WORDS_PATIENCE):
                snapshot = await self._snapshots.get(slot.snapshot)
                said = await asyncio.to_thread(
                    self._words.last, slot.release, number, instance.identity
                )
            why = why_it_ended(snapshot, instance, running, found, said)
        post(Exited(number, found, why))

    async def _told_by_its_launch(self, running: Running) -> None:
        """A command that could not be run also exits: why it could not is the better news."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LAUNCH_PATIENCE
        while running.held is not None and loop.time() < until:
            await asyncio.sleep(0.01)

    async def stop(self, number: int, post: Post) -> None:
        slot, instance = self.roster.find(number)
        running = self.roster.running.get(number)
        if running is not None:
            # Escapees are remembered while their parents still live.
            running.tree.members()
            send_stop(running.pidfd, signal.Signals[slot.stop_signal(instance)])
        post(Signalled(number))

    async def kill(self, number: int, post: Post) -> None:
        running = self.roster.running.get(number)
        if running is None:
            slot, instance = self.roster.find(number)
            if instance.identity is not None:
                seat = seat_of(self._state().app, slot, instance, instance.identity.boot_id)
                await kill_tree(Tree(instance.identity, seat.marker))
                await self._launcher.forget(_unit_name(seat.app, slot, instance))
            post(TreeEmpty(number))
            return
        if running.held is not None:
            running.held.abandon()
            running.held = None
        if await kill_tree(running.tree):
            os.close(running.pidfd)
            del self.roster.running[number]
            await self._launcher.forget(running.unit)
            post(TreeEmpty(number))


def _unit_name(app: str, slot: Slot, instance: Instance) -> str:
    return unit_name(app, slot.snapshot, slot.color, instance.number)


def _unit(app: str, snapshot: Snapshot, slot: Slot, instance: Instance) -> Unit:
    which = f"{instance.worker} {instance.index}".lstrip()
    worker = (("RELCTL_WORKER", instance.worker),) if instance.worker else ()
    return Unit(
        name=_unit_name(app, slot, instance),
        description=f"{app} {slot.release}: {slot.color} {which} (rollout {slot.snapshot})",
        identifier=app,
        fields=(
            ("RELCTL_APP", app),
            ("RELCTL_ROLLOUT", str(slot.snapshot)),
            ("RELCTL_SLOT", slot.color),
            ("RELCTL_RELEASE", slot.release),
            ("RELCTL_INSTANCE", str(instance.number)),
            *worker,
        ),
        # At a shutdown: reld, the site's nginx, the gate, and then the app.
        before=(f"relctl-gate@{app}.service", f"reld@{app}.service"),
        stop_signal=slot.stop_signal(instance),
        stop_timeout=slot.stop_timeout(instance),
        held_back=not instance.worker,
        memory_max=snapshot.app.memory_max,
        tasks_max=snapshot.app.tasks_max,
    )
