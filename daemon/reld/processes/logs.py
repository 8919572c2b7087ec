"""One append-only file per release; the app writes to it directly, never through reld.

A pipe through reld would kill the app with EPIPE when reld dies, and block it when reld is slow. A file
can do neither. Its size is bounded by copy-and-truncate: the app's descriptor stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

_BLOCK = 65536
_MAX_LINE = 1000
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


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
        _copy(source, older(path), size - keep)
        os.ftruncate(source, 0)
        return True
    finally:
        os.close(source)


def _copy(source: int, target: Path, start: int) -> None:
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


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def tail(path: Path, lines: int) -> list[str]:
    """The last lines, printable; also from PATH.1 where PATH holds fewer. Reads only the ends."""
    found = _last_lines(path, lines)
    if len(found) < lines:
        found = _last_lines(older(path), lines - len(found)) + found
    return found


def _last_lines(path: Path, lines: int) -> list[str]:
    if lines <= 0:
        return []
    data = b""
    try:
        with path.open("rb") as file:
            start = file.seek(0, os.SEEK_END)
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
