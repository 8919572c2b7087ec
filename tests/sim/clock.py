"""An asyncio event loop whose time is virtual: it jumps to the next timer instead of waiting for it.

The trick is in asyncio's own `BaseEventLoop._run_once`: it asks its selector to wait until the next
timer is due. This one has nothing to select from, and makes the time pass at once.
"""

from __future__ import annotations

import asyncio
from typing import Any


class VirtualLoop(asyncio.BaseEventLoop):
    """No sockets, no threads, no signals; everything else that asyncio has."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0
        self._selector = self

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen")
        if timeout > 0:
            # Not `now + timeout`: rounding would leave the timer a breath away for ever.
            upcoming = self._scheduled[0].when() if self._scheduled else self._now
            self._now = max(self._now + timeout, upcoming)
        return []

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_until(self, when: float) -> None:
        """Everything that is due by then happens."""
        stop = self.call_at(when, self.stop)
        try:
            self.run_forever()
        finally:
            stop.cancel()
