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
        patience = self._idle
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise WaitOverError
            patience = left if patience is None else min(left, patience)
        self._connection.settimeout(patience)
        try:
            self._ready(patience)
            return self._connection.recv(65536)
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
