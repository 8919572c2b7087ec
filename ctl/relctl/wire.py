"""Bytes of one connection to reld, and everything that can end the waiting for them."""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress

from relctl.errors import LostError, WaitOverError

MAX_HEAD = 64 * 1024


class Wire:
    """Bytes of one connection, with the two ends that waiting has."""

    def __init__(self, connection: socket.socket, idle: float | None, until: float | None) -> None:
        self._connection = connection
        self._idle = idle
        self._until = until
        self._buffer = b""
        self._waited = 0.0

    @property
    def patience(self) -> float | None:
        """Seconds that are left to wait for the next byte; None: for ever."""
        left = None if self._until is None else self._until - time.monotonic()
        idle = None if self._idle is None else self._idle - self._waited
        if left is None or idle is None:
            return idle if left is None else left
        return min(left, idle)

    def silent(self, seconds: float) -> bool:
        """Whether nothing comes for so long, which is not more than `patience`; nothing is taken.

        Raises OSError, LostError.
        """
        self._connection.settimeout(seconds)
        try:
            self._ready(seconds)
            self._connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            self._waited += seconds
            return True
        return False

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def more(self) -> bytes:
        """Whatever is there, at least one byte; b"" at the end."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        return self._receive()

    def line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_HEAD:
                raise ValueError("a line without end")
            data = self._receive()
            if not data:
                raise EOFError
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def upto(self, most: int) -> bytes:
        data = self.more()
        if not data:
            raise EOFError
        self._buffer = data[most:] + self._buffer
        return data[:most]

    def _receive(self) -> bytes:
        if self._until is not None and time.monotonic() >= self._until:
            raise WaitOverError
        patience = self.patience
        if patience is not None:
            patience = max(patience, 0.001)  # 0 would mean: do not wait
        self._connection.settimeout(patience)
        try:
            self._ready(patience)
            data = self._connection.recv(65536)
            self._waited = 0.0
            return data
        except TimeoutError:
            if self._until is not None and time.monotonic() >= self._until:
                raise WaitOverError from None
            raise

    def _ready(self, patience: float | None) -> None:
        """Where there is more to wait for than the connection."""


class Watching(Wire):
    """Notices too that nobody reads what we write.

    Without a terminal sshd sends no signal when the connection goes: it closes its ends of our pipes,
    and an app that says nothing would keep us for ever.
    """

    def _ready(self, patience: float | None) -> None:
        import select

        waiting = select.poll()
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, OSError, ValueError):  # closed, or none at all
                waiting.register(stream.fileno(), 0)  # errors and hang-ups are always told
        mine = self._connection.fileno()
        waiting.register(mine, select.POLLIN)
        ready = waiting.poll(None if patience is None else patience * 1000)
        if not ready:
            raise TimeoutError
        for descriptor, what in ready:
            if descriptor != mine and what & (select.POLLERR | select.POLLHUP):
                raise LostError
