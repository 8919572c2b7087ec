"""Ports of a test's own, whatever other tests run on this machine at the same time."""

from __future__ import annotations

import random
import socket

_FIRST, _LAST = 10000, 32000  # below the ephemeral ones
_COUNT = 42


class Ports:
    """42 loopback ports in a row, from `first`, that nobody listens on and no other test is given."""

    def __init__(self) -> None:
        for _ in range(1000):
            self.first = _FIRST + random.randrange((_LAST - _FIRST) // _COUNT) * _COUNT
            claim = _claim(self.first)
            if claim is None:
                continue
            # A number: who is not closed ends with the process, and nobody is warned about it.
            self._claim = claim.detach()
            if all(_free(port) for port in range(self.first, self.first + _COUNT)):
                return
            self.close()
        raise AssertionError(f"no {_COUNT} free ports in a row")

    def close(self) -> None:
        if self._claim >= 0:
            socket.close(self._claim)
        self._claim = -1


def _claim(first: int) -> socket.socket | None:
    """An abstract name: gone with its holder, and no file is left."""
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind(f"\0relctl-tests-ports-{first}")
    except OSError:
        held.close()
        return None
    return held


def _free(port: int) -> bool:
    with socket.socket() as asked:
        try:
            asked.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
