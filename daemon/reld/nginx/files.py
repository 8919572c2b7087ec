"""The config file on disk: replaced whole, durable before nginx is told of it."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Writes and flushes a file. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def put(staged: Path, path: Path) -> None:
    """Gives a staged file its name, durably. Raises OSError."""
    os.rename(staged, path)
    sync_directory(path.parent)


def restore(path: Path, before: bytes | None) -> None:
    """What was there before; None = nothing was. Raises OSError."""
    if before is None:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
        return
    spare = path.with_name(f"{path.name}.before")
    write(spare, before)
    put(spare, path)


def sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
