"""Where requests wait while they are held: a socket at which the gate asks, and hears nothing.

reld sees of a request that there is one, nothing more: see `nginx.hold`. The first to come is the
first to go on. If reld dies, the kernel closes the socket, and all go on at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable

from reld.core.maintenance import MOST_HELD, Maintain, holds
from reld.core.model import State
from reld.engine import Engine
from reld.errors import GateError
from reld.nginx import hold, places
from reld.nginx.settings import GateSettings

log = logging.getLogger("reld.gate")

_BACKLOG = 1024
_MUCH = 1 << 16
_AT_ONCE, _PAUSE = 20, 0.01
"""So many go on together, every so many seconds: apps have short queues."""
_GO_ON = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


class Holding:
    """The waiting requests of one gate. Belongs to the loop."""

    def __init__(self, settings: GateSettings, most: int = MOST_HELD) -> None:
        """`most`: so many may wait; then `full` is called, and they go on in any case."""
        self._settings = settings
        # Two connections of one worker of the gate for each, and as many for what does not wait.
        self._most = max(1, min(most, settings.descriptors // 4))
        self.full: Callable[[], None] = _nobody_cares
        self._listener: socket.socket | None = None
        self._waiting: dict[socket.socket, None] = {}  # in the order in which they came
        self._leaving: set[asyncio.Task[None]] = set()

    def follow(self, engine: Engine) -> None:
        """From now on all go on the moment that the state says so, and it is told when too many wait."""

        def see(_: State, after: State) -> None:
            if not holds(after):
                self.close()

        def end() -> None:
            engine.command(Maintain(None))

        self.full = end
        engine.watch(see)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def open(self) -> None:
        """From now on who asks waits. Raises GateError."""
        if self._listener is not None:
            return
        path = hold.place(self._settings)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.setblocking(False)
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            path.chmod(0o660)
            places.entitle(path, self._settings)
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            raise GateError(f"cannot hold requests: {path}: {error}", "relctl status") from error
        self._listener = listener
        # Not by asyncio's own server: what that has accepted in the turn in which it is closed is lost.
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def close(self) -> None:
        """All go on, and whoever comes now does not wait."""
        if self._listener is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        hold.place(self._settings).unlink(missing_ok=True)
        held, self._waiting = list(self._waiting), {}
        for one in held:
            loop.remove_reader(one)
        log.info("%d requests were held and go on", len(held))
        task = asyncio.create_task(_let_go(held))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _accept(self) -> None:
        why = f"{self._most} wait"
        try:
            while self._listener is not None and len(self._waiting) < self._most:
                one, _ = self._listener.accept()
                one.setblocking(False)
                self._waiting[one] = None
                asyncio.get_running_loop().add_reader(one, self._hear, one)
        except BlockingIOError:
            return
        except OSError as error:  # no file descriptor is left, for instance
            why = f"{error}"
        log.warning("no more requests are held: %s", why)
        self.close()
        self.full()

    def _hear(self, one: socket.socket) -> None:
        if _gone(one):
            asyncio.get_running_loop().remove_reader(one)
            self._waiting.pop(one, None)
            one.close()


def _nobody_cares() -> None:
    pass


async def _let_go(held: list[socket.socket]) -> None:
    for number, one in enumerate(held, 1):
        # A close with something unread would be a reset.
        if not _gone(one):
            with contextlib.suppress(OSError):
                one.send(_GO_ON)
        one.close()
        if number % _AT_ONCE == 0:
            await asyncio.sleep(_PAUSE)


def _gone(one: socket.socket) -> bool:
    """What it says is dropped."""
    try:
        return one.recv(_MUCH) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
