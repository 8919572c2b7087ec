"""Requests that hang: those that have had no byte of an answer for a second, for each slot.

On TCP the kernel times every connection (`connections.waiting`). On a Unix socket it does not, but two
other things are known: how many requests have no byte yet in all, from the connections of the site to
the gate, and which connections to the socket were there a second ago already (the gate uses each for
one request). What streams is among the old ones, too: so the candidate is given what cannot be the
old slot's, and never more.
"""

from __future__ import annotations

from collections.abc import Sequence

from reld.core.addresses import socket_path
from reld.nginx import connections, unix_sockets


class Waiting:
    """Of one gate, which listens at `listen`; asked about once a second."""

    def __init__(self, listen: str) -> None:
        self._listen = listen
        self._since: dict[int, float] = {}
        self._queued: dict[str, int] = {}

    def of(self, old: Sequence[str], new: Sequence[str], now: float) -> tuple[int, int]:
        """For the addresses of both slots; `now` in seconds. Raises GateError, OSError."""
        timed = connections.waiting([*old, *new])
        slots = sum(timed[a] for a in old), sum(timed[a] for a in new)
        paths = [path for address in (*old, *new) if (path := socket_path(address))]
        if not paths:
            return slots
        lasting = self._lasting(paths, now)
        rest = max(0, connections.unanswered(self._listen) - sum(slots))
        of_old, of_new = (sum(lasting.get(socket_path(a), 0) for a in slot) for slot in (old, new))
        return slots[0] + min(rest, of_old), slots[1] + max(0, min(rest - of_old, of_new))

    def _lasting(self, paths: Sequence[str], now: float) -> dict[str, int]:
        """Connections that were there `connections.PATIENCE` ago already."""
        found = unix_sockets.look(paths)
        every = {inode for one in found.values() for inode in one.served}
        self._since = {inode: self._since.get(inode, now) for inode in every}
        before, self._queued = self._queued, {path: f.waiting for path, f in found.items()}
        return {
            path: sum(now - self._since[i] >= connections.PATIENCE - 0.1 for i in one.served)
            + min(one.waiting, before.get(path, 0))
            for path, one in found.items()
        }
