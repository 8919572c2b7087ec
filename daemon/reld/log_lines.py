"""What a release's instances and hooks say: the last lines, and those that come.

Two worlds are read: files, to which the direct launcher lets them write, and the journal, where units
write. A release that runs since before an upgrade may have said something in both.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from reld.core.model import Rollout
from reld.processes import logs
from reld.processes.journal import Entry, Following, Journal
from reld.reading import reading

FOLLOW_EVERY = 0.3
"""Seconds between two looks at a log that is followed."""


async def of(
    directory: Path, journal: Journal, release: str, lines: int, *, follow: bool
) -> AsyncGenerator[Entry, None]:
    """The last `lines`, newest last; when it follows, without end. `directory`: of the log files."""
    source = _Source(directory, journal, release)
    if not follow:
        for entry in await reading(source.last, lines):
            yield entry
        return
    try:
        found = await reading(source.begin, lines)
        while True:
            for entry in found:
                yield entry
            if not found:
                await asyncio.sleep(FOLLOW_EVERY)
            found = await reading(source.more)
    finally:
        source.close()


def last_of(directory: Path, journal: Journal, rollout: Rollout, lines: int) -> list[str]:
    """The last lines of what a rollout started. Blocks: call it in a thread."""
    fields = {"RELCTL_RELEASE": rollout.to, "RELCTL_ROLLOUT": str(rollout.id)}
    app = _File(directory / f"{rollout.to}.log").last(lines)
    return [entry.line for entry in _newest(lines, [app], journal.entries(fields, lines))]


class _Source:
    """Of one release. Blocks; `close` waits until nobody is inside."""

    def __init__(self, directory: Path, journal: Journal, release: str) -> None:
        self._files = [
            _File(directory / f"{release}.hooks.log", hook=True),
            _File(directory / f"{release}.log"),
        ]
        self._journal = journal
        self._fields = {"RELCTL_RELEASE": release}
        self._following = Following(journal, self._fields)
        self._inside = threading.Lock()
        self._closed = False

    def last(self, lines: int) -> list[Entry]:
        said = self._journal.entries(self._fields, lines)
        return _newest(lines, [file.last(lines) for file in self._files], said)

    def begin(self, lines: int) -> list[Entry]:
        with self._inside:
            said = [] if self._closed else self._following.begin(lines)
        return _newest(lines, [file.begin(lines) for file in self._files], said)

    def more(self) -> list[Entry]:
        with self._inside:
            said = [] if self._closed else self._following.more()
        return [*said, *(entry for file in self._files for entry in file.more())]

    def close(self) -> None:
        """A look whose caller was cancelled may still go on in its thread."""
        with self._inside:
            self._closed = True
            self._following.close()


@dataclass(slots=True)
class _File:
    path: Path
    hook: bool = False
    _place: logs.Place = field(default_factory=lambda: logs.Place(0, 0))
    _rest: bytes = b""

    def last(self, lines: int) -> list[Entry]:
        return self._entries(logs.tail(self.path, lines))

    def begin(self, lines: int) -> list[Entry]:
        found, self._place = logs.begin(self.path, lines)
        return self._entries(found)

    def more(self) -> list[Entry]:
        data, self._place = logs.read_on(self.path, self._place)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > logs.LONGEST:  # a line without an end
            whole, self._rest = [*whole, self._rest], b""
        return [Entry(time.time(), logs.printable(raw), self.hook) for raw in whole]

    def _entries(self, lines: list[str]) -> list[Entry]:
        """A file does not say when its lines were written, but when the last one was."""
        at = 0.0
        with suppress(OSError):
            at = self.path.stat().st_mtime
        return [Entry(at, line, self.hook) for line in lines]


def _newest(lines: int, files: list[list[Entry]], journal: list[Entry]) -> list[Entry]:
    """Files whole, in the order of their last lines; the journal's entries each at its time."""
    if lines <= 0:
        return []
    found = [entry for file in files for entry in file]
    return sorted([*found, *journal], key=lambda entry: entry.at)[-lines:]
