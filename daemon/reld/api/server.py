"""HTTP/1.1 on the control socket: who asks, may they, do it, write it into the audit.

Built on aiohttp's low-level server: there is one way in, `_serve`, and it looks at the role of the
route before anything of the request is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from reld.api import answers
from reld.api.clock import iso
from reld.api.listener import BACKLOG, listen
from reld.api.peers import Caller, Directory, credentials
from reld.api.roles import Access, Role, decide
from reld.api.routes import Attempt, Route, find
from reld.api.service import Service
from reld.errors import RelctlError
from reld.store.rows import AuditRow

_log = logging.getLogger(__name__)
_MOST_CONNECTIONS = 256
_IDLE = 30.0  # seconds that a connection may stay without a request
_LINGER = 0.5  # seconds for what is left of a body that was refused
_LAST_WORDS = 2.0  # seconds that answers under way get when the server stops
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)
_FULL_BODY = answers.line(
    {
        "error": {
            "code": "too-many-connections",
            "exit": 5,
            "message": f"cannot answer: {_MOST_CONNECTIONS} clients are connected already",
            "hint": "end some of them (relctl watch, relctl logs -f) and try again",
        }
    }
)

Audit = Callable[[AuditRow], None]
"""Takes a row and returns at once; writing it is the engine's business."""


class Server:
    """Serves `service`; `access` may be replaced at any time by assigning it."""

    def __init__(self, service: Service, access: Access, audit: Audit) -> None:
        self.access = access
        self._service = service
        self._audit = audit
        self._names = Directory()
        self._own_uid = os.geteuid()
        self._closing = asyncio.Event()
        self._changes: set[asyncio.Task[web.StreamResponse]] = set()
        self._web: web.Server | None = None
        self._listening: asyncio.AbstractServer | None = None
        self._at: tuple[Path, int] | None = None
        self._made: tuple[Path, int] | None = None  # and to be removed at the end

    async def start(
        self, path: Path, *, group: str | None = None, sock: socket.socket | None = None
    ) -> None:
        """Listens at `path`, or on `sock`, a listening socket that systemd made.

        Raises:
            SocketError: the socket cannot be made.
        """
        self._web = web.Server(
            self._serve,
            access_log=None,
            tcp_keepalive=False,
            keepalive_timeout=_IDLE,
            lingering_time=_LINGER,
        )
        if sock is None:
            await self.listen_again(path, group=group)
        else:
            with contextlib.suppress(OSError):  # it may have another name, or none
                self._at = (path, path.stat().st_ino)
            self._listening = await self._listen(sock)

    async def listen_again(self, path: Path, *, group: str | None = None) -> None:
        """Opens the socket at `path` anew: somebody removed it. Who is connected stays so.

        Raises:
            SocketError: the socket cannot be made.
        """
        sock = listen(path, group)
        self._at = self._made = (path, path.stat().st_ino)
        before, self._listening = self._listening, await self._listen(sock)
        if before is not None:
            before.close()

    def is_at(self, path: Path) -> bool:
        """Whether a client that looks at `path` finds this server."""
        try:
            return self._at == (path, path.stat().st_ino)
        except OSError:
            return False

    async def _listen(self, sock: socket.socket) -> asyncio.AbstractServer:
        loop = asyncio.get_running_loop()
        if sys.version_info >= (3, 13):  # which would remove systemd's socket at the end
            return await loop.create_unix_server(
                self._connection, sock=sock, backlog=BACKLOG, cleanup_socket=False
            )
        return await loop.create_unix_server(self._connection, sock=sock, backlog=BACKLOG)

    async def stop(self) -> None:
        """Ends streams, lets changes under way finish, closes. Harmless when repeated."""
        self._closing.set()
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        if self._changes:
            await asyncio.wait(self._changes, timeout=_LAST_WORDS)
        if self._web is not None:
            await self._web.shutdown(_LAST_WORDS)
            self._web = None
        if self._made is not None:
            path, inode = self._made
            self._made = None
            # A younger reld may have put its own socket there.
            with contextlib.suppress(OSError):
                if path.stat().st_ino == inode:
                    path.unlink()
        self._names.close()

    def _connection(self) -> asyncio.BaseProtocol:
        if self._web is None or len(self._web.connections) >= _MOST_CONNECTIONS:
            return _TurnedAway()
        return self._web()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            route, path = find(request.method, request.path)
            caller = await self._caller(request)
            command = path.get("verb", "begin") if route.role is Role.OPERATE else ""
            attempt = Attempt(
                request,
                path,
                caller,
                self._service,
                self._closing,
                command,
                path.get("number", ""),
            )
            if route.role is Role.READ:
                decide(caller, route.role, self.access, self._own_uid)
                return await route.handler(attempt)
            # A task of its own: a client that leaves must not stop a change half way.
            change = asyncio.ensure_future(self._change(route, attempt))
            self._changes.add(change)
            change.add_done_callback(self._changes.discard)
            return await asyncio.shield(change)
        except RelctlError as trouble:
            return answers.error(trouble)
        except ConnectionError:
            raise
        except Exception as bug:
            return _bug(request, bug)

    async def _caller(self, request: web.BaseRequest) -> Caller:
        transport = request.transport
        sock = None if transport is None else transport.get_extra_info("socket")
        if sock is None:
            raise ConnectionResetError("the client left")
        return await self._names.caller(credentials(sock))

    async def _change(self, route: Route, attempt: Attempt) -> web.StreamResponse:
        try:
            decide(attempt.caller, route.role, self.access, self._own_uid)
            response = await route.handler(attempt)
        except RelctlError as trouble:
            self._write(attempt, "refused", trouble.message)
            return answers.error(trouble)
        except ConnectionError as trouble:
            self._write(attempt, "refused", f"the client left: {trouble}")
            raise
        except Exception as bug:
            self._write(attempt, "error", repr(bug))
            return _bug(attempt.request, bug)
        self._write(attempt, "accepted", "")
        return response

    def _write(self, attempt: Attempt, outcome: str, note: str) -> None:
        caller, vitals = attempt.caller, self._service.vitals()
        self._audit(
            AuditRow(
                time=iso(vitals.now + vitals.offset),
                uid=caller.uid,
                login_uid=caller.login_uid,
                pid=caller.pid,
                command=attempt.command,
                target=attempt.target,
                outcome=outcome,
                note=note,
            )
        )


class _TurnedAway(asyncio.Protocol):
    """Says that there is no room, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(_FULL % (len(_FULL_BODY), _FULL_BODY))
        transport.close()


def _bug(request: web.BaseRequest, bug: Exception) -> web.Response:
    _log.error("cannot %s %s: %r", request.method, request.path, bug, exc_info=bug)
    trouble = RelctlError(
        f"cannot {request.method} {request.path[:80]}: a bug of reld's ({type(bug).__name__})",
        "the whole story is in reld's log: journalctl -u 'reld@*'",
    )
    return answers.error(trouble)
