"""One append-only file per release; the app writes to it directly, never through reld.

A pipe through reld would kill the app with EPIPE when reld dies, and block it when reld is slow. A file
can do neither. Its size is bounded by copy-and-truncate: the app's descriptor stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 65536
_MAX_LINE = 1000
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")

_AT_ONCE = 1 << 20  # bytes
LONGEST = 1 << 16
"""Bytes after which a line that does not end is shown as one."""
_trimming = threading.Lock()
_trims: dict[Path, _Trim] = {}


@dataclass(frozen=True, slots=True)
class _Trim:
    """How often PATH was trimmed, and at which of its bytes the PATH.1 that is there now began."""

    count: int
    start: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far a log was read: so many bytes of what PATH was after so many trims."""

    trims: int
    offset: int


def open_log(path: Path, owner: int | None) -> int:
    """Open for appending, make it where needed (0640); the caller closes it.

    Owned by the app's user: programs that open /dev/stdout by name need that. A symbolic link at
    the last place is refused.

    Raises:
        OSError: with the path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(path, flags, 0o640)
    with contextlib.suppress(OSError):
        os.set_blocking(fd, True)
        if owner is not None and stat.S_ISREG(os.fstat(fd).st_mode):
            os.fchown(fd, owner, -1)
    return fd


def older(path: Path) -> Path:
    """Where `trim` keeps what came before: PATH.1"""
    return path.with_name(path.name + ".1")


def trim(path: Path, cap_bytes: int) -> bool:
    """Keep PATH and PATH.1 together at about `cap_bytes`; True if something was done.

    Once PATH exceeds half of it, its newest half-cap goes to PATH.1 and PATH starts empty. Nobody
    waits for us; what is written in the microseconds between the last copy and the truncation is
    lost. If there is no room for the copy the log is emptied all the same: a full disk harms the
    app more. Blocks for the time of the copy: call it in a thread.
    """
    keep = max(cap_bytes // 2, 1)
    try:
        source = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        size = os.fstat(source).st_size
        if size <= keep:
            return False
        with _trimming:
            copied = _copy(source, older(path), size - keep)
            os.ftruncate(source, 0)
            count = _trims[path].count if path in _trims else 0
            _trims[path] = _Trim(count + 1, size - keep if copied else -1)
        return True
    finally:
        os.close(source)


def _copy(source: int, target: Path, start: int) -> bool:
    staged = target.with_name(target.name + ".new")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)
        copy = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            # To the size at the beginning and then one more round: a writer that is faster than
            # we are must not keep us here for ever.
            offset = start
            for _ in range(2):
                end = os.fstat(source).st_size
                while offset < end:
                    chunk = os.pread(source, min(_BLOCK, end - offset), offset)
                    if not chunk:
                        break
                    _write_all(copy, chunk)
                    offset += len(chunk)
        finally:
            os.close(copy)
        os.rename(staged, target)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(staged)
        return False
    return True


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def tail(path: Path, lines: int) -> list[str]:
    """The last lines, printable; also from PATH.1 where PATH holds fewer. Reads only the ends."""
    return _tail(path, lines, _size(path))


def begin(path: Path, lines: int) -> tuple[list[str], Place]:
    """The last whole lines, and the place from which `read_on` goes on without a gap."""
    with _trimming:
        count = _trims[path].count if path in _trims else 0
        end = _after_last_line(path)
        return _tail(path, lines, end), Place(count, end)


def read_on(path: Path, place: Place) -> tuple[bytes, Place]:
    """What follows, at most 1 MiB, and the place after it; also what a trim moved to PATH.1.

    Trims of other processes are not known: whoever lets them happen may miss what they moved.
    """
    with _trimming:
        trim = _trims.get(path, _Trim(0, -1))
        if place.trims != trim.count:
            skip = place.offset - trim.start if place.trims == trim.count - 1 else 0
            moved = _read(older(path), max(skip, 0)) if trim.start >= 0 else b""
            if moved:
                return moved, Place(trim.count - 1, trim.start + max(skip, 0) + len(moved))
            place = Place(trim.count, 0)
        start = place.offset if place.offset <= _size(path) else 0  # somebody else emptied it
        data = _read(path, start)
        return data, Place(place.trims, start + len(data))


def _read(path: Path, start: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(_AT_ONCE)
    except OSError:
        return b""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _after_last_line(path: Path) -> int:
    """A line that is not whole yet is left to `read_on`, unless it is endless."""
    end = _size(path)
    start = max(0, end - _BLOCK)
    try:
        with path.open("rb") as file:
            file.seek(start)
            block = file.read(end - start)
    except OSError:
        return 0
    return start + block.rfind(b"\n") + 1 if b"\n" in block else (end if start else 0)


def _tail(path: Path, lines: int, end: int) -> list[str]:
    found = _last_lines(path, lines, end)
    if len(found) < lines:
        before = older(path)
        found = _last_lines(before, lines - len(found), _size(before)) + found
    return found


def _last_lines(path: Path, lines: int, end: int) -> list[str]:
    if lines <= 0:
        return []
    data = b""
    try:
        with path.open("rb") as file:
            start = end
            # No log is worth more than this much memory, whatever its lines look like.
            limit = max(0, start - 64 * _BLOCK)
            while start > limit and data.count(b"\n") <= lines:
                step = min(_BLOCK, start - limit)
                start -= step
                file.seek(start)
                data = file.read(step) + data
    except OSError:
        return []
    return [printable(line) for line in data.split(b"\n")[-lines - 1 :] if line][-lines:]


def printable(raw: bytes) -> str:
    """One line of text without colours, control characters, or a way to move a terminal's cursor."""
    text = _ESCAPES.sub("", raw[: 4 * _MAX_LINE].decode("utf-8", "replace")).expandtabs(4)
    text = "".join(c for c in text if c.isprintable())
    return text if len(text) <= _MAX_LINE else text[: _MAX_LINE - 1] + "…"
