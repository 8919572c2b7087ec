"""Events from one engine to many readers; the engine never waits for a reader."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

_QUEUE = 512  # events that a reader may lag behind before it is dropped
REMEMBERED = 200
"""Events of before that a new reader can be told."""
_OF_THEIR_TIME = ("status", "receipt")  # what was so then must not be taken for what is so now


class Subscription:
    """What one reader has not read yet. Begins with the moment it was made."""

    def __init__(self, leave: Callable[[Subscription], None], limit: int = _QUEUE) -> None:
        self._leave = leave
        self._limit = limit
        self._lines: deque[dict[str, Any]] = deque()
        self._wake = asyncio.Event()
        self.dropped = False

    def put(self, line: dict[str, Any]) -> None:
        """Never waits; a reader that lags too far behind is dropped instead."""
        if self.dropped:
            return
        if len(self._lines) >= self._limit:
            self.dropped = True
            self._lines.clear()
            self._leave(self)
        else:
            self._lines.append(line)
        self._wake.set()

    async def next(self, timeout: float) -> dict[str, Any] | None:
        """The next line; None: nothing within `timeout` seconds, or the reader was dropped."""
        if not self._lines and not self.dropped:
            self._wake.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
            except TimeoutError:
                return None
        return self._lines.popleft() if self._lines else None

    def close(self) -> None:
        self._leave(self)


class Hub:
    """Numbers the events and hands each of them to every subscription."""

    def __init__(self, now: Callable[[], str]) -> None:
        """`now` gives the wall-clock time as ISO 8601 text."""
        self._now = now
        self._seq = 0
        self._readers: set[Subscription] = set()
        self._past: deque[dict[str, Any]] = deque(maxlen=REMEMBERED)

    def publish(
        self, event: str, text: str, rollout: int | None = None, **extra: Any
    ) -> Mapping[str, Any]:
        """Makes the line of HTTP's /v1/events and hands it out; returns at once."""
        self._seq += 1
        line = {
            "seq": self._seq,
            "time": self._now(),
            "rollout": rollout,
            "event": event,
            "text": text,
            **extra,
        }
        told = {key: value for key, value in line.items() if key not in _OF_THEIR_TIME}
        self._past.append({**told, "past": True})
        for reader in tuple(self._readers):
            reader.put(line)
        return line

    def subscribe(self, last: int = 0) -> Subscription:
        """Every event that is published from now on, after the newest `last` of those before.

        Those have `"past": true`, and neither a status nor a receipt.
        """
        reader = Subscription(self._readers.discard)
        self._readers.add(reader)
        for line in tuple(self._past)[len(self._past) - min(last, len(self._past)) :]:
            reader.put(line)
        return reader

    @property
    def readers(self) -> int:
        return len(self._readers)
