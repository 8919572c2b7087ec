"""The audit on its way to the disk: nobody loses a row, and nobody waits for a disk in trouble.

Rows that come together are written together: the state is never more than one write behind them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque

from reld.errors import RelctlError
from reld.store.database import Store
from reld.store.rows import AuditRow

log = logging.getLogger("reld.audit")

PATIENCE = 1.0
"""Seconds that an answer waits for its row."""
AGAIN_AFTER = 5.0
"""Seconds until rows that could not be written are tried again."""
_MOST = 1000
"""Rows that wait for the disk."""
_MOST_AT_ONCE = 100


class Audit:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows: deque[AuditRow] = deque()
        self._tried = asyncio.Condition()
        self._writing: asyncio.Task[None] | None = None
        self._trouble = ""
        self._written = 0
        self._taken = 0

    async def write(self, row: AuditRow) -> None:
        """Returns when it is on disk; at once while the disk takes nothing: it is tried again."""
        if len(self._rows) >= _MOST:
            log.error("the audit cannot keep this row, %d wait for the disk: %s", _MOST, row)
            return
        self._rows.append(row)
        self._taken += 1
        mine = self._taken
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        if self._trouble:
            log.warning("the audit is behind: %s", row)  # the journal has it at least
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE), self._tried:
                await self._tried.wait_for(lambda: self._written >= mine or bool(self._trouble))

    async def finish(self) -> None:
        """One last attempt for what still waits, unless the disk hangs."""
        if self._writing is not None and not self._trouble:
            await asyncio.wait({self._writing}, timeout=PATIENCE)
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        while self._trouble and self._rows and await self._some():
            pass
        for row in self._rows:
            log.error("the audit is lost: %s", row)

    async def _write(self) -> None:
        while self._rows:
            if not await self._some():
                await asyncio.sleep(AGAIN_AFTER)

    async def _some(self) -> bool:
        rows = [row for row, _ in zip(self._rows, range(_MOST_AT_ONCE), strict=False)]
        try:
            await asyncio.shield(self._store.audit(*rows))
        except RelctlError as error:
            if not self._trouble:
                log.error("the audit cannot be written: %s", error.message)  # noqa: TRY400
            self._trouble = error.message
        else:
            for _ in rows:
                self._rows.popleft()
            self._written += len(rows)
            self._trouble = ""
        async with self._tried:
            self._tried.notify_all()
        return not self._trouble
