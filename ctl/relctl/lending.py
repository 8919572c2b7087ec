"""Descriptors for a command that another process starts: whatever they are, but never a terminal.

Who has a terminal open reads what is typed there, also when the command is long over: the password for
the next sudo, say. The command is the app's, or a build with hundreds of strangers' packages. So it gets a
pipe where a terminal would be, and what goes through is copied here.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress

from relctl.errors import LostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

_STDERR = 2
_CHUNK = 65536
_LAST_WORDS = 16
"""Chunks that are read when the command is over; a pipe holds one. What it left behind may talk for ever."""
_LOOK_EVERY = 500
"""Milliseconds until it is seen that we are in the foreground again, and may read the keyboard."""
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class Lent:
    """`descriptors` are for the command: it reads from the first and writes to the others."""

    def __init__(self, source: int, *sinks: int) -> None:
        self._keyboard = source
        self._typed = -1  # our end of the pipe that the command reads
        self._left = b""  # what it has not taken yet
        self._screens: dict[
            int, int
        ] = {}  # our ends of the pipes that it writes, and where it shows
        self._theirs: list[int] = []
        self.descriptors = [source, *sinks]
        if os.isatty(source):
            theirs, self._typed = os.pipe()
            os.set_blocking(self._typed, False)
            self._theirs.append(theirs)
            self.descriptors[0] = theirs
        made: dict[int, int] = {}
        for place, sink in enumerate(sinks, 1):
            if os.isatty(sink):
                # Two for one terminal share a pipe, or else what they say would change its order.
                screen = os.fstat(sink).st_rdev
                if screen not in made:
                    ours, made[screen] = os.pipe()
                    self._screens[ours] = sink
                    self._theirs.append(made[screen])
                self.descriptors[place] = made[screen]

    def given(self) -> None:
        """The command has them now."""
        while self._theirs:
            os.close(self._theirs.pop())

    def close(self) -> None:
        self.given()
        self._stop_typing()
        while self._screens:
            os.close(self._screens.popitem()[0])

    def relay(self, connection: socket.socket) -> None:
        """Returns when there is an answer on `connection`. Raises LostError: who would read it is gone."""
        self.given()
        while True:
            ready = self._ready(connection.fileno())
            for ours in [ours for ours in self._screens if ours in ready]:
                if not self._show(ours):
                    del self._screens[ours]
                    os.close(ours)
            if self._typed in ready:
                self._hand_on(ready[self._typed])
            elif self._keyboard in ready:
                self._type()
            if ready.get(_STDERR, 0) & _GONE:
                raise LostError
            if connection.fileno() in ready:
                break
        for ours in self._screens:
            os.set_blocking(ours, False)
            for _ in range(_LAST_WORDS):
                if not self._show(ours):
                    break

    def _ready(self, connection: int) -> dict[int, int]:
        # sshd closes its ends of our pipes when the connection goes: nothing is asked of stderr but that.
        asked = {
            connection: select.POLLIN,
            _STDERR: 0,
            **dict.fromkeys(self._screens, select.POLLIN),
        }
        patience = None
        if self._typed >= 0:
            asked[self._typed] = select.POLLOUT if self._left else 0
            if not self._left and _foreground(self._keyboard):
                asked[self._keyboard] = select.POLLIN
            else:
                patience = _LOOK_EVERY
        waiting = select.poll()
        for descriptor, what in asked.items():
            waiting.register(descriptor, what)
        return dict(waiting.poll(patience))

    def _show(self, ours: int) -> bool:
        try:
            data = os.read(ours, _CHUNK)
        except OSError:
            return False
        rest = data
        while rest:
            try:
                rest = rest[os.write(self._screens[ours], rest) :]
            except OSError:
                raise LostError from None
        return bool(data)

    def _type(self) -> None:
        try:
            self._left = os.read(self._keyboard, _CHUNK)
        except OSError:
            self._left = b""
        if not self._left:  # Ctrl-D
            self._stop_typing()

    def _hand_on(self, what: int) -> None:
        if what & _GONE:  # nobody reads
            self._stop_typing()
            return
        try:
            self._left = self._left[os.write(self._typed, self._left) :]
        except BlockingIOError:
            return
        except OSError:
            self._stop_typing()

    def _stop_typing(self) -> None:
        if self._typed >= 0:
            os.close(self._typed)
        self._typed, self._left = -1, b""


def _foreground(terminal: int) -> bool:
    """Whether its keys are ours: who reads them in the background is stopped."""
    with suppress(OSError):  # it is not the one that we belong to
        return os.tcgetpgrp(terminal) == os.getpgrp()
    return True
