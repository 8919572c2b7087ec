"""Effects that ask instances: are they ready, do they live, and is it they who answer?"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from pathlib import Path

from reld.config import fill
from reld.core.addresses import socket_path
from reld.core.events import LivenessProbed, ReadinessProbed
from reld.core.model import Instance, Slot
from reld.engine import Post
from reld.errors import GateError
from reld.host.eject import not_of_its_unit
from reld.host.roster import Roster
from reld.host.snapshots import Snapshots
from reld.host.sockets import Sockets, stranger
from reld.host.telling import why_not_ready
from reld.host.words import Words
from reld.nginx import connections
from reld.probes.probe import probe
from reld.probes.spec import ExecProbe, HttpProbe, Probe, Result, TcpProbe
from reld.processes import ports
from reld.processes.environment import clean_environment
from reld.processes.spec import Launcher
from reld.snapshot import Seat, Snapshot, environment, placeholders

log = logging.getLogger("reld.instances")

CHECK_EVERY = 5.0
"""Seconds between two readiness probes of an instance that serves."""
ASK_AGAIN = 1.0


class Probing:
    """Asks the instances of a roster, each in its own way."""

    def __init__(
        self,
        roster: Roster,
        snapshots: Snapshots,
        launcher: Launcher,
        words: Words,
        sockets: Sockets,
    ) -> None:
        self._roster = roster
        self._snapshots = snapshots
        self._launcher = launcher
        self._words = words
        self._sockets = sockets

    async def prove_ready(self, number: int, post: Post) -> None:
        slot, instance = self._roster.find(number)
        if slot.external:
            await self._ask(number, post, await self._external_probe(slot, instance), 1.0)
            return
        snapshot = await self._snapshots.get(slot.snapshot)
        spec = readiness_probe(snapshot, self._roster.seat(slot, instance))
        await self._ask(number, post, spec, snapshot.readiness.interval)

    async def check_ready(self, number: int, post: Post) -> None:
        running = self._roster.running.get(number)
        unit = "" if running is None else running.unit
        # Beside each other: a PID 1 that does not answer must not keep us from looking.
        await asyncio.gather(self._launcher.unleash(unit), self._keep_checking(number, post))

    async def _keep_checking(self, number: int, post: Post) -> None:
        slot, instance = self._roster.find(number)
        await asyncio.sleep(CHECK_EVERY)
        if slot.external:
            await self._ask(number, post, await self._external_probe(slot, instance), CHECK_EVERY)
            return
        snapshot = await self._snapshots.get(slot.snapshot)
        spec = readiness_probe(snapshot, self._roster.seat(slot, instance))
        await self._ask(number, post, spec, CHECK_EVERY)

    async def asked_now(self, slot: Slot) -> str:
        """What keeps the slot from being ready at this moment; "" = nothing."""
        for instance in slot.crew:
            if slot.external:
                spec = await self._external_probe(slot, instance)
            else:
                snapshot = await self._snapshots.get(slot.snapshot)
                spec = readiness_probe(snapshot, self._roster.seat(slot, instance))
            result = await probe(spec, instance.address, self._launcher)
            if not result.ok:
                return result.detail
        return ""

    async def _ask(self, number: int, post: Post, spec: Probe, interval: float) -> None:
        while True:
            slot, instance = self._roster.find(number)
            result = await self._asked(spec, instance.address)
            detail = result.detail
            if result.ok:
                detail = self._stranger(slot, instance)
            passed = result.ok and not detail
            running = self._roster.running.get(number)
            if running is not None:
                running.last = result
            if not passed and not slot.external:
                snapshot = await self._snapshots.get(slot.snapshot)
                said = await asyncio.to_thread(
                    self._words.so_far, slot.release, number, instance.identity
                )
                members = running.tree.members() if running is not None else frozenset()
                detail = why_not_ready(snapshot, instance, members, detail, result, said)
            if not post(ReadinessProbed(number, passed, detail)):
                return
            await asyncio.sleep(interval)

    async def _external_probe(self, slot: Slot, instance: Instance) -> Probe:
        """What was ejected is asked what it was asked as an instance."""
        if not slot.unit:
            return self._snapshots.external_probe()
        return readiness_probe(
            await self._snapshots.get(slot.snapshot), self._roster.seat(slot, instance)
        )

    def _stranger(self, slot: Slot, instance: Instance) -> str:
        if slot.unit:
            return not_of_its_unit(slot, instance.address)
        # The process behind an external address is not ours, and need not be.
        if slot.external:
            return ""
        if socket_path(instance.address):
            return self._shut(instance)
        return self._foreign(instance.number, instance)

    def _shut(self, instance: Instance) -> str:
        """What answers us is of no use if the gate cannot get in."""
        running = self._roster.running.get(instance.number)
        if running is None:
            return ""
        members = (identity.pid for identity in running.tree.members())
        pids = itertools.chain((running.identity.pid,), members)
        return self._sockets.admit(instance.address) or stranger(instance.address, pids)

    def _foreign(self, number: int, instance: Instance) -> str:
        """A ready answer only counts if it comes from our process."""
        running = self._roster.running.get(number)
        if running is None:
            return ""
        port = int(instance.address.rpartition(":")[2])
        if _holds_listener(running.identity.pid, instance.address):
            return ""
        if ports.owned_by(port, running.tree.members()):
            return ""
        return f"port {port} is answered by {ports.listener(port)}, not by the instance"

    async def check_live(self, number: int, post: Post) -> None:
        slot, instance = self._roster.find(number)
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

    async def _asked(self, spec: Probe, address: str) -> Result:
        """Waits while it is we who cannot ask: that is nobody's fault but ours."""
        while not (result := await probe(spec, address, self._launcher)).asked:
            log.warning("cannot ask the app: %s", result.detail)
            await asyncio.sleep(ASK_AGAIN)
        return result


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


def _holds_listener(pid: int, address: str) -> bool:
    """The usual case, 80 times cheaper than reading /proc/net/tcp and all processes."""
    try:
        found = connections.listeners(address)
    except GateError:
        return False
    held = connections.open_files(pid)
    return bool(found) and all(f"socket:[{listener.inode}]" in held for listener in found)
