"""When does a file change, or a link? watchfiles (inotify) tells at once; without it, as on Debian 12,
it is looked at every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

LOOK_EVERY = 5.0
"""Seconds."""

Changes = Callable[[Path], AsyncGenerator[None, None]]
Mark = Callable[[Path], object]
"""What is compared to see that something has changed; may block."""


def mark(path: Path) -> object:
    """Of a file that is written in place, of one that took another's place, and of a link's target."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def link_mark(path: Path) -> object:
    """Of a symlink: what happens in the directory that it leads to is no change of it."""
    try:
        return os.readlink(path), os.path.realpath(path)
    except OSError:
        return None


async def polled(path: Path, marked: Mark = mark) -> AsyncGenerator[None, None]:
    """Once for each change that is seen every `LOOK_EVERY` seconds."""
    before = await asyncio.to_thread(marked, path)
    while True:
        await asyncio.sleep(LOOK_EVERY)
        now = await asyncio.to_thread(marked, path)
        if now != before:
            before = now
            yield None


async def notified(path: Path) -> AsyncGenerator[None, None]:
    """The same from inotify. Of the directory: editors put a new file in the place of the old one.

    Raises ImportError where watchfiles is not installed, OSError where there are too many watches, and
    what watchfiles cannot do.
    """
    from watchfiles import awatch

    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it has a line for each change

    def ours(_change: object, changed: str) -> bool:
        return Path(changed).name == path.name

    async for _ in awatch(path.parent, watch_filter=ours, recursive=False):
        yield None


async def changes(path: Path, marked: Mark = mark) -> AsyncGenerator[None, None]:
    try:
        async with aclosing(notified(path)) as told:
            async for _ in told:
                yield None
    except Exception as error:
        if not isinstance(error, ImportError | OSError):
            # A name beside it that is no UTF-8, for instance: an error of watchfiles' own kind.
            yield None  # what it came with may have been a change
        async with aclosing(polled(path, marked)) as seen:
            async for _ in seen:
                yield None


async def link_changes(path: Path) -> AsyncGenerator[None, None]:
    async with aclosing(changes(path, link_mark)) as seen:
        async for _ in seen:
            yield None
