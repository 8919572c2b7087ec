"""A person's terminal, lent to a command that another process starts.

The command gets a terminal of its own (a pty), whose keys and screen are this one's: here all keys come
raw, there Ctrl-C, Ctrl-Z and echo mean what they always mean.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import sys
import termios
import tty
from contextlib import contextmanager, suppress

from relctl.errors import LostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

_STDIN, _STDOUT = 0, 1
_CHUNK = 65536
_LAST_WORDS = 64
"""Chunks that are shown when the command is over: what it left behind may talk for ever."""


def is_one() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


class Terminal:
    """`slave` goes to the command and is closed here then; `relay` copies until it is over."""

    def __init__(self) -> None:
        self._master, self.slave = os.openpty()
        self._before = termios.tcgetattr(_STDIN)
        termios.tcsetattr(self.slave, termios.TCSANOW, self._before)
        self._resize()

    def close(self) -> None:
        """The command's terminal is gone then: it gets SIGHUP."""
        for descriptor in (self._master, self.slave):
            if descriptor >= 0:
                os.close(descriptor)
        self._master = self.slave = -1

    def relay(self, connection: socket.socket) -> None:
        """Returns when there is an answer on `connection`. Raises LostError: the terminal is gone."""
        os.close(self.slave)
        self.slave = -1
        with self._raw():
            waiting = select.poll()
            for descriptor in (_STDIN, self._master, connection.fileno()):
                waiting.register(descriptor, select.POLLIN)
            while True:
                ready = dict(waiting.poll())
                if self._master in ready and not self._show():
                    waiting.unregister(self._master)  # nobody there has it open any more
                if _STDIN in ready and not self._type():
                    raise LostError
                if connection.fileno() in ready:
                    break
            os.set_blocking(self._master, False)
            for _ in range(_LAST_WORDS):
                if not self._show():
                    break

    def _show(self) -> bool:
        try:
            data = os.read(self._master, _CHUNK)
        except OSError:
            return False
        return bool(data) and _all(_STDOUT, data)

    def _type(self) -> bool:
        try:
            data = os.read(_STDIN, _CHUNK)
        except OSError:
            return False
        return bool(data) and _all(self._master, data)

    @contextmanager
    def _raw(self) -> Iterator[None]:
        signals = (signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, _leave) for number in signals}
        before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: self._resize())
        tty.setraw(_STDIN, termios.TCSADRAIN)
        self._resize()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            with suppress(OSError, termios.error):
                termios.tcsetattr(_STDIN, termios.TCSADRAIN, self._before)

    def _resize(self) -> None:
        with suppress(OSError):
            size = fcntl.ioctl(_STDIN, termios.TIOCGWINSZ, bytes(8))
            if any(struct.unpack("4H", size)[:2]):
                fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)


def _all(descriptor: int, data: bytes) -> bool:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except OSError:
            return False
    return True


def _leave(number: int, frame: object) -> None:  # noqa: ARG001
    raise LostError
