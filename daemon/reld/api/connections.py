"""One connection, and the room that all of them share: nobody can fill it for the others.

aiohttp reads the HTTP; what is bounded here is what it leaves open, in the oldest version that is
supported (3.8): how many connections one user has, how long a request may take to come, how much may
be sent before it is answered, and what is said and logged of something that is no HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError
from yarl import URL

from reld.api import answers
from reld.api.peers import user_of
from reld.errors import BadRequest, NotPermitted, RelctlError

log = logging.getLogger(__name__)

MOST = 512
"""Connections in all."""
MOST_OF_ONE = 256
"""Connections of one user."""
FOLLOWING_OF_ONE = 64
"""Those of them that may follow events or logs: the rest stays free for commands."""
IDLE = 30.0
"""Seconds from the connection, or from an answer, to a complete request."""
_AT_ONCE = 256 * 1024
"""Bytes that may come in for one request, its head included."""
_WAITING = 16
"""Requests that may be sent before the first of them is answered."""


class Room:
    """Who is connected, by user id. When it is full, who has most makes place."""

    def __init__(self, most: int = MOST, of_one: int = MOST_OF_ONE) -> None:
        self._most = most
        self._of_one = of_one
        self._held: dict[int, dict[Connection, None]] = {}
        self._followers: Counter[int] = Counter()
        self._silent: set[Connection] = set()
        self._all_heard = asyncio.Event()
        self._all_heard.set()

    def enter(self, uid: int, connection: Connection) -> None:
        """Raises answers.Crowded."""
        mine = self._held.get(uid, {})
        if len(mine) >= self._of_one:
            raise _crowded(f"user {uid} has {len(mine)} connections already")
        if self.taken >= self._most:
            most = max(self._held.values(), key=len)
            if len(most) <= len(mine) + 1:
                raise _crowded(f"{self._most} clients are connected already")
            next(iter(most)).evict()
        self._held.setdefault(uid, {})[connection] = None

    @property
    def taken(self) -> int:
        return sum(map(len, self._held.values()))

    def leave(self, uid: int, connection: Connection) -> None:
        held = self._held.get(uid, {})
        held.pop(connection, None)
        if not held:
            self._held.pop(uid, None)

    def accepted(self, connection: Connection) -> None:
        """It has not asked for anything yet."""
        self._silent.add(connection)
        self._all_heard.clear()

    def heard(self, connection: Connection) -> None:
        """What it asked for is being answered, or it is gone."""
        self._silent.discard(connection)
        if not self._silent:
            self._all_heard.set()

    async def hear_all(self, within: float) -> None:
        """Returns when everybody who was let in has been heard once, after `within` seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._all_heard.wait()

    @contextlib.contextmanager
    def following(self, uid: int) -> Iterator[None]:
        """Raises answers.Crowded."""
        if self._followers[uid] >= FOLLOWING_OF_ONE:
            raise _crowded(f"user {uid} follows {FOLLOWING_OF_ONE} streams already")
        self._followers[uid] += 1
        try:
            yield
        finally:
            self._followers[uid] -= 1
            if not self._followers[uid]:
                del self._followers[uid]


class Connection(web.RequestHandler):
    """aiohttp's, with limits. `served` must be entered around each request."""

    def __init__(self, manager: web.Server, room: Room, **settings: Any) -> None:
        super().__init__(manager, loop=asyncio.get_running_loop(), **settings)
        self._room = room
        self._uid: int | None = None  # None: turned away
        self._late: asyncio.TimerHandle | None = None
        self._wire: asyncio.WriteTransport | None = None
        self._bytes = 0
        self._heads = 0
        self._end = b""
        room.accepted(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        try:
            uid = user_of(transport.get_extra_info("socket"))
            self._room.enter(uid, self)
        except (answers.Crowded, NotPermitted) as trouble:
            transport.write(answers.alone(trouble))
            transport.close()
            self._room.heard(self)
            return
        self._uid, self._wire = uid, transport
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self._uid is None:
            return
        self._bytes += len(data)
        # Heads end with an empty line; bodies of ours have none.
        self._heads += (self._end + data).count(b"\n\r\n")
        self._heads += (self._end[-1:] + data).count(b"\n\n")
        self._end = (self._end + data)[-2:]
        if self._bytes > _AT_ONCE or self._heads > _WAITING:
            self.evict()
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            super().data_received(data)
        except Exception as error:  # yarl's, and whatever old parsers let through
            log.debug("what a client sent cannot be read: %r", error)
            self.evict()

    def eof_received(self) -> None:
        pass  # the transport closes

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_waiting()
        self._room.heard(self)
        if self._uid is not None:
            self._room.leave(self._uid, self)
            super().connection_lost(exc)

    def evict(self) -> None:
        """Hangs up at once."""
        if self._uid is not None:
            self._room.leave(self._uid, self)
        if self._wire is not None:
            self._wire.abort()

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """While its request is being answered a client may be as slow as it likes."""
        self._stop_waiting()
        self._room.heard(self)
        self._bytes, self._heads = 0, max(0, self._heads - 1)
        try:
            yield
        finally:
            self._wait()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  it may say what the client sent
    ) -> web.StreamResponse:
        """What is no HTTP gets an error like all others, and no traceback in the log."""
        if isinstance(exc, ConnectionError):
            raise exc  # the client left in the middle of its body: nobody is there to be told
        if status >= 500:
            log.error("cannot answer: %r", exc, exc_info=exc)
            trouble = RelctlError("cannot answer: a bug of reld's", "sudo journalctl -u 'reld@*'")
        else:
            trouble = BadRequest("cannot read the request: it is not HTTP as reld speaks it")
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        response = answers.error(trouble)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **more: Any) -> None:
        """What is no HTTP behind an upgrade comes here; it is the client's fault."""
        if isinstance(more.get("exc_info"), HttpProcessingError):
            log.debug(*args, **more)
        else:
            super().log_exception(*args, **more)

    def _wait(self) -> None:
        self._stop_waiting()
        if self._wire is not None and not self._wire.is_closing():
            self._late = asyncio.get_running_loop().call_later(IDLE, self.evict)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def read_request(
    message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]
) -> web.BaseRequest:
    """A request as aiohttp has it; of a target that is read as a URL and is none, one to nowhere."""
    loop = asyncio.get_running_loop()
    try:
        return web.BaseRequest(message, payload, protocol, writer, task, loop)
    except ValueError:
        nowhere = message._replace(url=URL("/unreadable"), path="/unreadable")
        return web.BaseRequest(nowhere, payload, protocol, writer, task, loop)


def _crowded(why: str) -> answers.Crowded:
    return answers.Crowded(
        f"cannot answer: {why}", "end some of them (relctl watch, relctl logs -f) and try again"
    )
