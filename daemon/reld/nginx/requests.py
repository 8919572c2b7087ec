"""The request log: one line per request that ended, read as it grows.

    msec|upstream_addr|upstream_status|status|request_time|upstream_header_time|method|length|rollout|generation

A request that was tried twice has lists ("A, B", or "A : B" after a redirect of nginx's own). The log
is rotated by rename and USR1: nginx flushes its buffers into the old file and opens a new one, so no
line is lost; the old file goes when it is read and no process has it open any more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reld.nginx import connections

_LIST = re.compile(r", | : ")


@dataclass(frozen=True, slots=True)
class Attempt:
    """`status` None: the client left before there was one. `header_seconds`: to the first byte."""

    address: str
    status: int | None
    header_seconds: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """`at`: wall clock of the request's end. `attempts` is empty when no slot was asked."""

    at: float
    attempts: tuple[Attempt, ...]
    status: int
    seconds: float
    method: str
    length: int
    rollout: int | None
    generation: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests of one address.

    `total`, `errors` (5xx): by who answered last, as users saw them.
    `attempts`, `failures` (5xx): every try, the ones that another slot made good too.
    """

    total: int = 0
    errors: int = 0
    attempts: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """How far the log was read: bytes of the file with this inode."""

    inode: int = 0
    offset: int = 0


class Tail:
    """Reads on from a position, also over a rotation that happened in between."""

    def __init__(self, path: Path, position: Position = Position()) -> None:
        self.position = position
        self._path = path
        self._old = path.with_name(f"{path.name}.old")

    @property
    def size(self) -> int:
        """Bytes of the current file."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def read(self, limit: int = 4 << 20) -> list[Line]:
        """The next lines, at most `limit` bytes of them; [] = nothing new. Raises OSError."""
        for path in (self._old, self._path):
            # The old file first and to its end: time goes forward in what is read.
            lines = self._read(path, limit)
            if lines or path.exists():
                return lines
        return []

    def rotate(self) -> bool:
        """Renames the log; the caller has nginx reopen it. False while an older one is not done."""
        if self._old.exists():
            return False
        try:
            os.rename(self._path, self._old)
        except FileNotFoundError:
            return False
        return True

    def retire(self, writers: Iterable[int]) -> bool:
        """Removes the old file once it is read and none of these processes has it open."""
        try:
            found = self._old.stat()
        except OSError:
            return False
        if any(str(self._old) in connections.open_files(pid) for pid in writers):
            return False
        # Looked at again after the writers: what they flushed last must have been read.
        if self.position.inode == found.st_ino and self._unread(self._old):
            return False
        if self.position.inode != found.st_ino and found.st_size:
            return False
        self._old.unlink(missing_ok=True)
        return True

    def _unread(self, path: Path) -> bool:
        with path.open("rb") as log:
            log.seek(self.position.offset)
            # A torn last line (nginx met the size limit) never gets whole.
            return b"\n" in log.read(1 << 16)

    def _read(self, path: Path, limit: int) -> list[Line]:
        try:
            log = path.open("rb")
        except FileNotFoundError:
            return []
        with log:
            found = os.fstat(log.fileno())
            offset = self.position.offset if self.position.inode == found.st_ino else 0
            if offset > found.st_size:
                offset = 0
            log.seek(offset)
            data = log.read(limit)
        data = data[: data.rfind(b"\n") + 1]
        self.position = Position(found.st_ino, offset + len(data))
        parsed = map(parse, data.decode("ascii", "replace").splitlines())
        return [line for line in parsed if line is not None]


def parse(text: str) -> Line | None:
    """One line of the log; None for a torn one."""
    fields = text.split("|")
    if len(fields) != 10:
        return None
    at, addresses, statuses, status, seconds, headers, method, length, rollout, generation = fields
    try:
        return Line(
            float(at),
            _attempts(addresses, statuses, headers),
            int(status),
            float(seconds),
            method,
            int(length),
            None if rollout == "-" else int(rollout),
            int(generation),
        )
    except ValueError:
        return None


def tally(lines: Iterable[Line], counts: dict[str, Tally] | None = None) -> dict[str, Tally]:
    """Adds lines to counts per address ("-" = no slot was asked); returns a new dict."""
    found = dict(counts or {})
    for line in lines:
        for attempt in line.attempts:
            had = found.get(attempt.address, Tally())
            failed = (attempt.status or 0) >= 500
            found[attempt.address] = Tally(
                had.total, had.errors, had.attempts + 1, had.failures + failed
            )
        last = line.attempts[-1].address if line.attempts else "-"
        had = found.get(last, Tally())
        found[last] = Tally(
            had.total + 1, had.errors + (line.status >= 500), had.attempts, had.failures
        )
    return found


def _attempts(addresses: str, statuses: str, headers: str) -> tuple[Attempt, ...]:
    if addresses == "-":
        return ()
    return tuple(
        Attempt(
            address,
            None if status == "-" else int(status),
            None if header == "-" else float(header),
        )
        for address, status, header in zip(
            _LIST.split(addresses), _LIST.split(statuses), _LIST.split(headers), strict=True
        )
    )
