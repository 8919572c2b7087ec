"""The same metrics as a file that node_exporter reads (its textfile collector).

The file is whole at any moment: another one takes its place. It is removed when reld stops: it would go
on to say that reld is up. node_exporter says how old it is, for a reld that was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

log = logging.getLogger("reld.metrics")

EVERY = 15.0
"""Seconds."""
LAST_WORDS = 1.0
"""Seconds that the end of reld waits for a write."""


class TextFile:
    """`wanted`: the path as configured now, "" = none. `page`: what is written."""

    def __init__(
        self, wanted: Callable[[], str], page: Callable[[], Awaitable[bytes]], every: float = EVERY
    ) -> None:
        self._wanted = wanted
        self._page = page
        self._every = every
        self._trouble = ""
        self._written: Path | None = None
        self._writing = threading.Lock()
        self._over = False

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            path = self._wanted()
            if self._written is not None and str(self._written) != path:
                await asyncio.to_thread(self._remove)
            if path:
                await self._write(Path(path))
            await asyncio.sleep(self._every)

    def finish(self) -> None:
        """Reld stops, and nothing is written any more. Never raises; waits a second at most."""
        self._over = True
        if self._writing.acquire(timeout=LAST_WORDS):  # else the disk hangs, and nobody reads it
            self._writing.release()
            self._remove()

    def _remove(self) -> None:
        if self._written is not None:
            with contextlib.suppress(OSError):
                self._written.unlink()
            self._written = None

    async def _write(self, path: Path) -> None:
        page = await self._page()
        try:
            await asyncio.to_thread(self._put, path, page)
        except OSError as error:
            why = error.strerror or str(error)
            if why != self._trouble:
                log.warning("cannot write the metrics to %s: %s, it is tried again", path, why)
            self._trouble = why
            return
        if self._trouble:
            log.info("the metrics are in %s again", path)
            self._trouble = ""

    def _put(self, path: Path, page: bytes) -> None:
        with self._writing:
            if not self._over:
                _replace(path, page)
                self._written = path


def _replace(path: Path, content: bytes) -> None:
    """Not flushed to the disk: in 15 seconds there is a newer one. Raises OSError."""
    made = path.with_name(f".{path.name}.new")  # node_exporter reads *.prom
    made.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(made, flags, 0o644)
    try:
        os.fchmod(handle, 0o644)  # node_exporter is another user
        view = memoryview(content)
        while view:
            view = view[os.write(handle, view) :]
    except OSError:
        made.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
    os.rename(made, path)
