"""The runtime directory is on tmpfs, and everybody's cleaning job may empty it: what can be, is made anew.

The app and its gate go on meanwhile: they have open what they need. The lanes are `lanes_watch`'s.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from reld.errors import GateError, RelctlError
from reld.nginx import master
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
        if not settings.runtime.is_dir():
            self._say(f"{settings.runtime} was removed: it is made anew")
            settings.runtime.mkdir(parents=True)
            settings.runtime.chmod(0o755)  # nginx's workers are another user
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
        missing = frozenset(path for path in files if not path.exists())
        # Twice in a row: a log that is rotated is away for some milliseconds.
        gone, self._missing = missing & self._missing, missing
        found = self._gate() if gone else None
        if found is None:
            return
        self._say(f"{', '.join(sorted(p.name for p in gone))} of the gate gone: made anew")
        if settings.pid_file in gone:
            settings.pid_file.write_text(f"{found.pid}\n")
        if gone - {settings.pid_file}:
            master.send(found, signal.SIGUSR1)

    def _gate(self) -> master.Process | None:
        try:
            return master.find(self._settings)
        except GateError:
            return None
