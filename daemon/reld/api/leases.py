"""Who stays with a rollout on the condition that it goes back without them.

The connection is the lease: it ends with whoever holds it, however they end (a signal, SIGKILL, a
network that is gone), and nothing is left on disk that could be stale. A client whose connection
broke, or whom reld hung up on, comes back under the same name within the grace; one that leaves in
peace says so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

GRACE = 3.0
"""Seconds in which somebody who was lost may come back."""

Key = tuple[int, str]
"""The rollout, and the name that the client gave its lease."""


@dataclass(slots=True)
class _Lease:
    connections: int = 0
    times_left: int = 0
    given_back: bool = False


class Leases:
    """Of all rollouts. For one event loop."""

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self._known: dict[Key, _Lease] = {}

    @contextlib.contextmanager
    def held(self, key: Key) -> Iterator[None]:
        """Around a connection."""
        lease = self._known.setdefault(key, _Lease())
        lease.connections += 1
        try:
            yield
        finally:
            lease.connections -= 1
            lease.times_left += 1

    def give_back(self, key: Key) -> None:
        """Its end means nothing any more."""
        if key in self._known:
            self._known[key].given_back = True

    def forget(self, key: Key) -> None:
        """Its rollout is over."""
        lease = self._known.get(key)
        if lease is not None and not lease.connections:
            del self._known[key]

    async def lost(self, key: Key, closing: asyncio.Event) -> bool:
        """After a connection ended: waits for the grace. True: nobody came back, and nobody said so.

        A reld that closes takes nobody for lost: the next one is asked again.
        """
        lease = self._known.get(key)
        if lease is None:
            return False
        left = lease.times_left
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                await closing.wait()
        if lease.connections or lease.times_left != left:
            return False  # it goes on, or somebody later waits for it
        self._known.pop(key, None)
        return not lease.given_back and not closing.is_set()
