"""Files of our own (beside the database, and the gate's config): replaced whole, durable before
anybody is told.
"""

from __future__ import annotations

import os
from pathlib import Path


def replace(path: Path, data: bytes) -> None:
    """Gives `path` this content, mode 0600: after a crash it is the old file or the new one.

    When it returns the content survives a power cut. Raises OSError; the old file is then still
    there, or (only the directory could not be flushed) the new one is already.
    """
    made = path.with_name(f"{path.name}.new")
    write(made, data, 0o600)
    put(made, path)


def write(path: Path, data: bytes, mode: int) -> None:
    """Writes and flushes a file that nobody reads yet. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, mode)
    try:
        os.fchmod(handle, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def put(made: Path, path: Path) -> None:
    """Gives a finished file its name, durably. Raises OSError."""
    os.rename(made, path)
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Durably; nothing happens when it is not there. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync_directory(path.parent)


def sync(path: Path) -> None:
    """Flushes a file that somebody else wrote. Raises OSError."""
    _sync(path, os.O_RDWR | os.O_NOFOLLOW)


def sync_directory(path: Path) -> None:
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
