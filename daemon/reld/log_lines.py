"""The last lines of a release's log, and those that come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from reld.processes import logs

FOLLOW_EVERY = 0.3
"""Seconds between two looks at a log that is followed."""
_MOST_AT_ONCE = 1 << 20  # bytes


async def of(path: Path, lines: int, *, follow: bool) -> AsyncGenerator[str, None]:
    """The last `lines`; when it follows, without end."""
    if lines:
        for line in await asyncio.to_thread(logs.tail, path, lines):
            yield line
    if not follow:
        return
    at = path.stat().st_size if path.exists() else 0
    rest = b""
    while True:
        await asyncio.sleep(FOLLOW_EVERY)
        data, at = await asyncio.to_thread(_read_on, path, at)
        *whole, rest = (rest + data).split(b"\n")
        for raw in whole:
            yield logs.printable(raw)


def _read_on(path: Path, at: int) -> tuple[bytes, int]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(at if at <= size else 0)
            data = file.read(_MOST_AT_ONCE)
            return data, file.tell()
    except OSError:
        return b"", at
