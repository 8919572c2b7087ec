"""The gate: an nginx of our own that is loaded, asked, moved and kept alive.

Nothing here chooses a routing. A load has three ends, and *unknown* is one of them: nginx never says
that a reload worked, so it is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from reld.core.model import Routing
from reld.errors import GateError
from reld.nginx import (
    beat,
    command,
    connections,
    lanes,
    master,
    obedience,
    owner,
    pages,
    places,
    staging,
    start,
    status,
    takeover,
    watch,
)
from reld.nginx.mark import read_back, settings_of
from reld.nginx.render import lanes_in_use, render
from reld.nginx.requests import Tail
from reld.nginx.settings import GateSettings

ROTATE_AT = 16 << 20
_POLL = 0.01


class LoadEnd(StrEnum):
    VERIFIED = "verified"
    REFUSED = "refused"  # nothing was changed
    UNKNOWN = "unknown"  # it may serve the old config, the new one, or soon the new one


@dataclass(frozen=True, slots=True)
class End:
    what: LoadEnd
    detail: str = ""


class Left(NamedTuple):
    """What still holds a drain."""

    connections: int
    old_workers: int


class Gate:
    """One app's gate. All times are seconds.

    `roots`: directories of releases that the next config serves files from, newest first.
    """

    def __init__(self, settings: GateSettings) -> None:
        self.settings = settings
        self.roots: tuple[str, ...] = ()
        self._lock = asyncio.Lock()
        self._generations: dict[master.Process, int] = {}
        self._strays: set[master.Worker] = set()
        self._known: master.Process | None = None

    @property
    def owner(self) -> owner.Owner:
        """Raises GateError when there is no such user."""
        return owner.of(self.settings.user)

    async def load(self, generation: int, routing: Routing, deadline: float) -> End:
        """Brings a routing into effect, within `deadline` seconds once nginx was told.

        Never raises for what nginx, the disk or a value does: that is in the end's detail.
        """
        async with self._lock:
            try:
                text = self.render(generation, routing)
                old = await asyncio.to_thread(staging.stage, self.settings, text)
            except (OSError, GateError) as error:
                return End(LoadEnd.REFUSED, str(error))
            found = master.find(self.settings)
            before = () if found is None else master.workers(found)
            mark = command.log_size(self.settings)
            try:
                await self._tell(found)
            except (OSError, GateError) as error:
                await asyncio.to_thread(staging.restore, self.settings, old)
                return End(LoadEnd.REFUSED, str(error))
            return await self._verify(generation, before, deadline, mark)

    def keep_page(self, content: bytes) -> str:
        """The name by which a routing may ask for this page. Raises OSError, GateError."""
        return pages.keep(self.settings, content)

    def forget_pages(self, used: Container[str]) -> None:
        """All others, unless they are new."""
        pages.forget(self.settings, used)

    def render(self, generation: int, routing: Routing) -> str:
        """The config text. Raises GateError."""
        return render(self.settings, generation, routing, self.roots)

    async def serving(self) -> tuple[int, str] | None:
        """Generation and boot id that the gate answers with; None when our gate does not answer."""
        answer = await status.ask(self.settings)
        if answer is None or answer.app != self.settings.app:
            return None
        return answer.generation, answer.boot

    async def beat(self, number: int) -> bool:
        """Has the gate write `number` into the request log; False when it does not answer."""
        return await beat.beat(self.settings, number)

    def routing_on_disk(self) -> tuple[int, Routing] | None:
        """What a gate that is started now would serve; None when there is no readable config."""
        try:
            return read_back(self.settings.config.read_text())
        except (OSError, GateError):
            return None

    def outdated(self) -> bool:
        """The config that is there was made from other settings."""
        try:
            made = settings_of(self.settings.config.read_text())
        except (OSError, ValueError):
            return False
        return made not in (None, self.settings.fingerprint)

    def prepare_lanes(self, rollout: int, shares: Iterable[int] = ()) -> None:
        """Lanes at share 0; moving to one of `shares` is then one rename. Raises GateError."""
        try:
            lanes.prepare(self.settings.runtime, rollout, shares)
        except OSError as error:
            raise GateError(f"cannot prepare the lanes of rollout {rollout}: {error}") from error

    async def move(self, rollout: int, share: int) -> None:
        """Gives the candidate `share` lanes and asks the gate that it obeys.

        Raises GateError when the rename is not possible (nothing moved), or when the gate does not
        obey (moved, as far as files go).
        """
        try:
            if share:
                lanes.mend(self.settings.runtime, rollout)
            lanes.move_now(self.settings.runtime, rollout, share)
        except OSError as error:
            raise GateError(
                f"cannot move the lanes of rollout {rollout}: {error}",
                hint=f"look at {lanes.directory(self.settings.runtime, rollout)}",
            ) from error
        await self.obeys(rollout, share)

    async def obeys(self, rollout: int, share: int) -> None:
        """Asks the gate whether it deals this share; a config without these lanes needs not.

        Raises obedience.Disobeys, or GateError when it cannot be asked.
        """
        loaded = self.routing_on_disk()
        if loaded is None or loaded[1].rollout != rollout or not lanes_in_use(loaded[1]):
            return
        await obedience.check(self.settings, loaded[1], share)

    def share(self, rollout: int) -> int | None:
        return lanes.share(self.settings.runtime, rollout)

    def shield(self, rollout: int) -> None:
        """Failures of the candidate are answered by live again (if the settings say so)."""
        lanes.shield_on(self.settings.runtime, rollout)

    def unshield(self, rollout: int) -> None:
        """Both slots suffer: no second tries from the candidate."""
        lanes.shield_off(self.settings.runtime, rollout)

    def mirror(self, rollout: int, *, on: bool) -> None:
        """Whether some of live's GETs are asked of the candidate, too. Raises OSError."""
        (lanes.shadow_on if on else lanes.shadow_off)(self.settings.runtime, rollout)

    def mirrors(self, rollout: int) -> bool:
        return lanes.shadow_is_on(self.settings.runtime, rollout)

    def remove_lanes(self, rollout: int) -> None:
        lanes.remove(self.settings.runtime, rollout)

    def left(self, addresses: Iterable[str], below_generation: int) -> Left:
        """Connections to the addresses, and leaving workers of generations below the given one.

        A leaving worker that we did not see come (reld was restarted meanwhile) counts as old.
        Raises GateError when the kernel does not answer.
        """
        found = master.find(self.settings)
        self._strays = {s for s in self._strays if master.start_ticks(s.pid) == s.start_ticks}
        leaving = {w for w in (master.workers(found) if found else ()) if w.leaving} | self._strays
        old = sum(self._generations.get(w.process, -1) < below_generation for w in leaving)
        return Left(connections.count(addresses), old)

    def leaving(self) -> tuple[master.Process, ...]:
        """Workers that take no new requests."""
        found = master.find(self.settings)
        workers = {*(master.workers(found) if found else ()), *self._strays}
        return tuple(w.process for w in workers if w.leaving)

    def tend_log(self, tail: Tail) -> None:
        """Keeps the request log small; to be called once a second or so by whoever reads it."""
        found = master.find(self.settings)
        if found is None:
            return
        if tail.size > ROTATE_AT and tail.rotate():
            master.send(found, signal.SIGUSR1)
        pids = {found.pid, *(w.pid for w in (*master.workers(found), *self._strays))}
        tail.retire(pids)

    async def keep(self, report: Callable[[str], None], every: float = 5.0) -> None:
        """Watches the gate for ever: starts it again the moment it dies, looks at it `every` seconds.

        `report` gets each change of the trouble, in words; "" = none.
        """
        told: str | None = None
        with contextlib.suppress(OSError):  # then it is in the way of the next load, and told there
            places.prepare(self.settings)
        while True:
            trouble = await self._look()
            if trouble != told:
                report(trouble)
                told = trouble
            await watch.until_it_dies(self.settings, min(every, 1.0) if trouble else every)

    async def start(self) -> None:
        """Starts the gate with the config on disk unless it runs. Raises GateError, OSError."""
        async with self._lock:
            if master.find(self.settings) is None:
                self._strays |= set(await asyncio.to_thread(start.start, self.settings))

    async def renew(self) -> None:
        """Puts an upgraded nginx binary into service: a new master on the same sockets (nginx's own
        way), then the old one leaves. Raises GateError, and then the old one serves on.
        """
        async with self._lock:
            found = master.find(self.settings)
            if found is not None:
                before = master.workers(found)
                await watch.replace(self.settings, found)
                self._strays |= {replace(worker, leaving=True) for worker in before}

    async def _look(self) -> str:
        settings = self.settings
        try:
            found = master.find(settings)
            if found is None and settings.config.exists():
                await self.start()
            elif found is not None and master.replaced(found) and await self._settled():
                await self.renew()
            elif found not in (None, self._known) and settings.unit:
                # systemd may have been faster than we were.
                self._strays |= set(takeover.strays(self.owner, found))
            self._known = found
            return await watch.trouble(settings)
        except (OSError, GateError) as error:
            return str(error)

    async def _settled(self) -> bool:
        """The gate serves the config on disk: another master would serve the same."""
        serving, disk = await self.serving(), self.routing_on_disk()
        return serving is not None and disk is not None and serving[0] == disk[0]

    async def _tell(self, found: master.Process | None) -> None:
        if found is not None and master.send(found, signal.SIGHUP):
            return
        self._strays |= set(await asyncio.to_thread(start.start, self.settings))

    async def _verify(
        self, generation: int, before: tuple[master.Worker, ...], deadline: float, mark: int
    ) -> End:
        limit = time.monotonic() + deadline
        known = {worker.process for worker in before}
        missing = "it was not asked"
        while time.monotonic() < limit:
            answer = await status.ask(self.settings, timeout=min(1.0, limit - time.monotonic()))
            found = master.find(self.settings)
            now = () if found is None else master.workers(found)
            serving = {worker.process for worker in now if not worker.leaving}
            missing = self._missing(answer, generation, known, serving)
            if not missing:
                self._remember(now, generation)
                return End(LoadEnd.VERIFIED)
            await asyncio.sleep(_POLL)
        return End(LoadEnd.UNKNOWN, f"{missing}{self._why(mark)}")

    def _missing(
        self,
        answer: status.Answer | None,
        generation: int,
        known: set[master.Process],
        serving: set[master.Process],
    ) -> str:
        if answer is None:
            return f"the gate's status endpoint {self.settings.status} does not answer"
        if answer.app != self.settings.app:
            return f"{self.settings.status} is answered by the gate of {answer.app}"
        if (answer.boot, answer.generation) != (self.settings.boot, generation):
            return f"the gate still serves generation {answer.generation}, not {generation}"
        if serving & known:
            return "an old worker of the gate goes on taking requests"
        return "" if serving else "the gate has no worker"

    def _remember(self, now: tuple[master.Worker, ...], generation: int) -> None:
        # Only what still lives: the numbers of the dead come again.
        kept = {w.process: g for w in now if (g := self._generations.get(w.process)) is not None}
        fresh = {w.process: generation for w in now if not w.leaving}
        self._generations = fresh | kept

    def _why(self, mark: int) -> str:
        found = master.find(self.settings)
        if found is None:
            return "; its master process is gone"
        if master.stopped(found):
            return f"; its master process is stopped: kill -CONT {found.pid}"
        said = command.logged(self.settings, mark)
        return f"; nginx says: {said}" if said else ""
