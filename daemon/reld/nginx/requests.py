"""The request log, read as it grows. What a line looks like: `request_log`.

The log is rotated by rename and USR1: nginx flushes its buffers into the old file and opens a new
one, so no line is lost; the old file goes when it is read and no process has it open any more.

The directory is the gate's: what is no plain file of its user is not read, see `owner`.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reld.nginx import command, connections, owner

CHUNK = 1 << 20
"""Bytes of one read: some 10,000 lines."""
_END = b"\n"


@dataclass(frozen=True, slots=True)
class Position:
    """How far the log was read: bytes of the file with this inode, and of the one that was renamed.

    Means something until the machine restarts.
    """

    inode: int = 0
    offset: int = 0
    old_inode: int = 0
    old_offset: int = 0

    def of(self, inode: int) -> int:
        """Bytes that were read of the file with this inode, whatever its name is now."""
        if inode == self.inode:
            return self.offset
        return self.old_offset if inode == self.old_inode else 0


class Tail:
    """Reads on from a position, also over rotations that happened in between.

    May be used by several threads. `overrun`: files of the log that were full when their end was
    read, so that lines are missing after it. `uid`: whose the log must be; None: our own user's.
    """

    def __init__(self, path: Path, position: Position = Position(), uid: int | None = None) -> None:
        self.position = position
        self.overrun = 0
        self._uid = os.geteuid() if uid is None else uid
        self._path = path
        self._old = path.with_name(f"{path.name}.old")
        self._full = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of the current file."""
        try:
            return self._path.lstat().st_size
        except OSError:
            return 0

    def read_raw(self, limit: int = CHUNK) -> list[str]:
        """The next lines as they are, at most `limit` bytes; [] = nothing new. Raises OSError."""
        with self._lock:
            # The old file first: time goes forward in what is read.
            old, old_inode, old_offset = self._read(self._old, limit)
            now, inode, offset = b"", self.position.inode, self.position.offset
            if inode == old_inode:
                inode, offset = 0, 0
            if len(old) < limit // 2:
                now, inode, offset = self._read(self._path, limit)
            self.position = Position(inode, offset, old_inode, old_offset)
        lines = (old + now).decode("ascii", "replace").split("\n")
        # What comes after the last line's end.
        lines.pop()
        return lines

    def rotate(self) -> bool:
        """Renames the log; the caller has nginx reopen it. False while an older one is not done."""
        with self._lock:
            if os.path.lexists(self._old):
                return False
            try:
                os.rename(self._path, self._old)
            except FileNotFoundError:
                return False
        return True

    def retire(self, writers: Iterable[int]) -> bool:
        """Removes the old file once it is read and none of these processes has it open."""
        with self._lock:
            try:
                found = self._old.lstat()
            except OSError:
                return False
            if any(str(self._old) in connections.open_files(pid) for pid in writers):
                return False
            # Looked at again after the writers: what they flushed last must have been read.
            with contextlib.suppress(PermissionError):  # what is not the log goes as it is
                if self._unread(found.st_ino):
                    return False
            self._old.unlink(missing_ok=True)
        return True

    def _unread(self, inode: int) -> bool:
        log = owner.opened(self._old, self._uid)
        try:
            # A torn last line (nginx met the size limit) never gets whole.
            return _END in os.pread(log, 1 << 16, max(0, self.position.of(inode)))
        finally:
            os.close(log)

    def _read(self, path: Path, limit: int) -> tuple[bytes, int, int]:
        """Whole lines, the file's inode, how far it is read now; inode 0 = there is no such file."""
        try:
            log = owner.opened(path, self._uid)
        except (FileNotFoundError, PermissionError):
            # Something else than the log says nothing, and whoever waits for a beat will notice.
            return b"", 0, 0
        try:
            found = os.fstat(log)
            offset = self.position.of(found.st_ino)
            # Somebody emptied it, or it is another file whose number came again.
            if offset and not (
                0 < offset <= found.st_size and os.pread(log, 1, offset - 1) == _END
            ):
                offset = 0
            data = os.pread(log, min(limit, found.st_size - offset), offset)
            end = data.rfind(_END) + 1
            if not end and len(data) == limit and (after := _past_the_line(log, offset + limit)):
                return data + _END, found.st_ino, after
        finally:
            os.close(log)
        if found.st_size >= command.LOG_LIMIT and offset + len(data) >= found.st_size:
            self.overrun += found.st_ino != self._full
            self._full = found.st_ino
        return data[:end], found.st_ino, offset + end


def _past_the_line(log: int, at: int) -> int:
    """Where a line that is longer than a whole read is over; 0: it is not. It is none of nginx's."""
    while data := os.pread(log, CHUNK, at):
        if (end := data.find(_END)) >= 0:
            return at + end + 1
        at += len(data)
    return 0
