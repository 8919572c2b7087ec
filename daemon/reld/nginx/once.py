"""Each client counts once in a while: one bad bot that is pinned to a slot is no verdict."""

from __future__ import annotations

EVERY = 10
"""Seconds."""
MOST = 20_000
"""Clients (times slots and outcomes) that are remembered at once; some 4 MB."""

Key = tuple[str, int]
"""The client's name, and slot and outcome in one number."""


class Once:
    """Remembers who counted in the last ten seconds, and who failed in this step. Bounded: beyond
    `MOST` in one window the oldest are forgotten, and count again.
    """

    def __init__(self) -> None:
        # Two halves: the older one is dropped whole when all in it is too old.
        self._recent: dict[Key, int] = {}
        self._before: dict[Key, int] = {}
        self._since = 0
        self._failed: set[Key] = set()

    def counts(self, key: Key, second: int, *, failing: bool) -> bool:
        """True when this one is to be counted; it is remembered then."""
        if failing and key in self._failed:
            return False
        # Clocks are set back, too.
        if abs(second - self._since) >= EVERY or len(self._recent) >= MOST:
            self._before, self._recent, self._since = self._recent, {}, second
        last = self._recent.get(key, self._before.get(key))
        if last is not None and abs(second - last) < EVERY:
            return False
        if failing and len(self._failed) < MOST:
            self._failed.add(key)
        self._recent[key] = second
        return True

    def forget_failures(self) -> None:
        self._failed.clear()
