"""Descriptors that clients send though nobody asked for them, and how those are closed that were asked for.

A descriptor that nobody receives is closed by the kernel, inside of the call that reads the connection. Where
it is the last one of a TCP socket with SO_LINGER, that call takes as long as its owner likes: everybody who
may connect could make reld wait. So they are received, all of them, told not to linger, and closed.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import threading
from collections.abc import Iterable
from typing import Any

MOST = 253
"""In one message: SCM_MAX_FD of Linux, so nothing is left to the kernel."""
_AT_ONCE = struct.pack("ii", 0, 0)


def close(descriptors: Iterable[int]) -> None:
    """Returns at once: a file system of the client's own (FUSE, NFS) may never be done with it."""
    given = tuple(descriptors)
    for one in given:
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(one).st_mode):
                _hurry(one)
    try:
        threading.Thread(target=_close, args=(given,), daemon=True).start()
    except RuntimeError:  # no thread to spare
        _close(given)


def _hurry(one: int) -> None:
    end = socket.socket(fileno=one)
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    finally:
        end.detach()


def _close(given: tuple[int, ...]) -> None:
    for one in given:
        with contextlib.suppress(OSError):
            os.close(one)


class Line(socket.socket):
    """A client. Reading raises ConnectionAbortedError when it sends a descriptor."""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data, given, _, _ = socket.recv_fds(self, bufsize, MOST, flags | socket.MSG_CMSG_CLOEXEC)
        if given:
            close(given)
            raise ConnectionAbortedError("it sent a descriptor that nobody asked for")
        return data


class Listener(socket.socket):
    """Listens; whom it accepts is a `Line`."""

    def accept(self) -> tuple[Line, Any]:
        number, address = self._accept()  # type: ignore[attr-defined]
        line = Line(self.family, self.type, self.proto, fileno=number)
        line.setblocking(True)  # as socket.socket does it, whatever the listener is
        return line, address
