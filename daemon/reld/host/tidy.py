"""The runtime directory is on tmpfs, and everybody's cleaning job may empty it: what can be, is made anew.

The app and its gate go on meanwhile: they have open what they need. The lanes are `lanes_watch`'s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from reld.errors import GateError, RelctlError
from reld.nginx import master, owner, places
from reld.nginx.settings import GateSettings

log = logging.getLogger("reld.runtime")

LOOK_EVERY = 1.0


class Runtime:
    """`listens` says whether what is at the control socket's path is ours, `listen` opens it anew.

    `publish`: takes an event's name and its words, see `api.hub`.
    """

    def __init__(
        self,
        settings: GateSettings,
        listens: Callable[[], bool],
        listen: Callable[[], Awaitable[None]],
        publish: Callable[[str, str], object],
    ) -> None:
        self._settings = settings
        self._listens = listens
        self._listen = listen
        self._publish = publish
        self._missing: frozenset[Path] = frozenset()
        self._prepared = False

    async def keep(self) -> None:
        """For ever."""
        while True:
            try:
                await self.look()
            except (OSError, RelctlError) as error:
                log.warning("cannot mend %s: %s", self._settings.runtime, error)
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Raises OSError, RelctlError."""
        settings = self._settings
        if not settings.place.is_dir():
            if self._prepared:
                self._say(f"{settings.place} was removed: it is made anew")
            places.prepare(settings)
        self._prepared = True
        if not self._listens():
            self._say("the control socket was removed: it is opened anew")
            await self._listen()
        self._mend_gate()

    def _say(self, words: str) -> None:
        log.warning("%s", words)
        self._publish("degraded", words)

    def _mend_gate(self) -> None:
        settings = self._settings
        files = (settings.request_log, settings.error_log, settings.pid_file)
        missing = frozenset(path for path in files if not os.path.lexists(path))
        # Twice in a row: a log that is rotated is away for some milliseconds.
        gone, self._missing = missing & self._missing, missing
        found = self._gate() if gone else None
        if found is None:
            return
        self._say(f"{', '.join(sorted(p.name for p in gone))} of the gate gone: made anew")
        if settings.pid_file in gone:
            _write_pid(settings, found.pid)
        if gone - {settings.pid_file}:
            master.send(found, signal.SIGUSR1)

    def _gate(self) -> master.Process | None:
        try:
            return master.find(self._settings)
        except GateError:
            return None


def _write_pid(settings: GateSettings, pid: int) -> None:
    """For the gate, in its directory; never through what somebody put there meanwhile."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(settings.pid_file, flags, 0o644)
    try:
        os.write(file, f"{pid}\n".encode())
        gate = owner.of(settings.user)
        os.fchown(file, gate.uid, gate.gid)
    finally:
        os.close(file)
