"""Has the config been edited since it was used? Said in `status` before somebody relies on it.

An edit reaches the app with the next rollout only, so until then file and app may differ, and a mistake
in it would be found when a switch is refused. watchfiles (inotify) tells of a change at once; without it,
as on Debian 12, the file is looked at every few seconds.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

from reld.config import Config
from reld.core.model import State
from reld.errors import ConfigError
from reld.host.snapshots import Snapshots

LOOK_EVERY = 5.0

Changes = Callable[[Path], AsyncGenerator[None, None]]


async def polled(path: Path) -> AsyncGenerator[None, None]:
    """Once for each change of the file that is seen every `LOOK_EVERY` seconds."""
    before = await asyncio.to_thread(_mark, path)
    while True:
        await asyncio.sleep(LOOK_EVERY)
        now = await asyncio.to_thread(_mark, path)
        if now != before:
            before = now
            yield None


async def notified(path: Path) -> AsyncGenerator[None, None]:
    """The same from inotify. Of the directory: editors put a new file in the place of the old one.

    Raises ImportError where watchfiles is not installed, OSError where there are too many watches.
    """
    from watchfiles import awatch

    def ours(_change: object, changed: str) -> bool:
        return Path(changed).name == path.name

    async for _ in awatch(path.parent, watch_filter=ours, recursive=False):
        yield None


async def changes(path: Path) -> AsyncGenerator[None, None]:
    try:
        async with aclosing(notified(path)) as told:
            async for _ in told:
                yield None
    except (ImportError, OSError):
        async with aclosing(polled(path)) as seen:
            async for _ in seen:
                yield None


class ConfigWatch:
    """`load` reads the config as a rollout would, now; raises ConfigError."""

    def __init__(
        self,
        state: Callable[[], State],
        snapshots: Snapshots,
        load: Callable[[], Config],
        seen: Changes = changes,
    ) -> None:
        self._state = state
        self._snapshots = snapshots
        self._load = load
        self._seen = seen
        self._path = snapshots.config.path
        self._today = snapshots.config
        self._wrong: tuple[str, ...] = ()

    async def keep(self) -> None:
        """Until cancelled."""
        await self._look()
        async with aclosing(self._seen(self._path)) as changes_:
            async for _ in changes_:
                await self._look()

    def said(self) -> str:
        """For people, one line; "" = what runs is what the file says."""
        if self._wrong:
            more = f", and {len(self._wrong) - 1} more" if len(self._wrong) > 1 else ""
            return f"has an error, no switch will begin: {self._wrong[0]}{more}"
        if self._differs():
            return "was changed since: takes effect with the next rollout"
        return ""

    def _differs(self) -> bool:
        if self._today != self._snapshots.config:
            return True
        state = self._state()
        live = state.slot(state.live)
        used = self._snapshots.known(live.snapshot) if live is not None else None
        if used is None:
            return False
        today = self._today
        return (used.app, used.readiness, used.liveness) != (
            today.app,
            today.readiness,
            today.liveness,
        )

    async def _look(self) -> None:
        try:
            self._today = await asyncio.to_thread(self._load)
            self._wrong = ()
        except ConfigError as error:
            self._wrong = error.findings


def _mark(path: Path) -> tuple[int, int, int] | None:
    """Of a file that is written in place, and of one that took another's place."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
