"""HTTP/1.1 on the control socket: who asks, may they, do it, write it into the audit.

Built on aiohttp's low-level server: there is one way in, `_serve`, and it looks at the role of the
route before anything of the request is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from aiohttp import web

from reld.api import answers, browser
from reld.api.clock import iso
from reld.api.connections import IDLE, Connection, Room, read_request
from reld.api.glance import Glance
from reld.api.handed import Hands
from reld.api.leases import Leases
from reld.api.listener import BACKLOG, listen
from reld.api.peers import Caller, Directory, credentials
from reld.api.roles import Access, Role, decide
from reld.api.routes import Attempt, Route, find, unknown
from reld.api.service import Service
from reld.errors import NotPermitted, RelctlError
from reld.store.rows import AuditRow

_log = logging.getLogger(__name__)
_LINGER = 0.5  # seconds for what is left of a body that was refused
_LAST_WORDS = 2.0  # seconds that answers under way get when the server stops

Audit = Callable[[AuditRow], Awaitable[None]]
"""Returns once the row is on disk, or cannot be now: it is kept, and nobody waits for it."""


class Server:
    """Serves `service`; `hands` does what needs descriptors; `access` may be replaced at any time by assigning it."""

    def __init__(
        self, service: Service, access: Access, audit: Audit, hands: Hands | None = None
    ) -> None:
        self.access = access
        self._hands = hands
        self._service = service
        self._audit = audit
        self._names = Directory()
        self._own_uid = os.geteuid()
        self._closing = asyncio.Event()
        self._changes: set[asyncio.Task[web.StreamResponse]] = set()
        self._room = Room()
        self._leases = Leases()
        self._tokens = browser.Tokens()
        self._glance = Glance(service)
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
        self._web = web.Server(self._serve, request_factory=read_request)
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

    @property
    def connected(self) -> int:
        """Connections that are open."""
        return self._room.taken

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
        # Who was let in a moment ago is answered, too: the next reld does not know of them.
        await asyncio.sleep(0)
        await self._room.hear_all(_LAST_WORDS)
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
        if self._web is None:
            return asyncio.Protocol()
        return Connection(
            self._web,
            self._room,
            access_log=None,
            tcp_keepalive=False,
            keepalive_timeout=IDLE,
            lingering_time=_LINGER,
            auto_decompress=False,  # nobody of ours compresses, and a bomb would be opened in memory
        )

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request.protocol, Connection)
        with request.protocol.served():
            return await self._answered(request)

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            caller = await self._caller(request)
            route, path = self._route(request, caller)
            attempt = Attempt(
                request,
                path,
                caller,
                self._service,
                self._closing,
                partial(self._room.following, caller.uid),
                self._leases,
                self._glance,
                path.get("verb", route.command),
                path.get("number", ""),
                rollout=int(path["number"]) if "number" in path else None,
                hands=self._hands,
                token=partial(self._token, caller),
                start=self._tokens.start,
            )
            attempt.begun = partial(self._write, attempt, "accepted", told="begins")
            if not route.role.changes:
                self._admit(request, caller)
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

    def _route(self, request: web.BaseRequest, caller: Caller) -> tuple[Route, Mapping[str, str]]:
        found = find(request.method, request.path)
        if found is None:
            self._admit(request, caller)
            decide(caller, Role.READ, self.access, self._own_uid)  # who may nothing learns nothing
            raise unknown(request.method, request.path)
        return found

    def _admit(self, request: web.BaseRequest, caller: Caller) -> None:
        """Returns unless it may come from a page that is not ours. Raises browser.Foreign."""
        headers = request.headers
        browser.look(request.method, request.path, headers, headers.getall("Host", []))
        if request.method not in ("GET", "HEAD"):
            self._tokens.prove(headers, caller.uid)

    def _token(self, caller: Caller) -> str:
        try:
            decide(caller, Role.OPERATE, self.access, self._own_uid)
        except NotPermitted:
            return ""
        return self._tokens.of(caller.uid)

    async def _caller(self, request: web.BaseRequest) -> Caller:
        transport = request.transport
        sock = None if transport is None else transport.get_extra_info("socket")
        if sock is None:
            raise ConnectionResetError("the client left")
        return await self._names.caller(credentials(sock))

    async def _change(self, route: Route, attempt: Attempt) -> web.StreamResponse:
        try:
            self._admit(attempt.request, attempt.caller)
            decide(attempt.caller, route.role, self.access, self._own_uid)
            response = await route.handler(attempt)
        except RelctlError as trouble:
            await self._write(attempt, "refused", trouble.code, trouble.message)
            return answers.error(trouble)
        except ConnectionError as trouble:
            await self._write(attempt, "refused", "client-left", f"the client left: {trouble}")
            raise
        except Exception as bug:
            await self._write(attempt, "error", "internal", repr(bug))
            return _bug(attempt.request, bug)
        await self._write(attempt, "accepted", told=attempt.told)
        return response

    async def _write(self, attempt: Attempt, outcome: str, code: str = "", told: str = "") -> None:
        caller, vitals = attempt.caller, self._service.vitals()
        await self._audit(
            AuditRow(
                time=iso(vitals.now + vitals.offset),
                uid=caller.uid,
                name=caller.name,
                login_uid=caller.login_uid,
                login_name=caller.login_name,
                pid=caller.pid,
                command=attempt.command,
                target=attempt.target,
                arguments=json.dumps(dict(attempt.arguments), separators=(",", ":")),
                note=attempt.note,
                outcome=outcome,
                code=code,
                told=told,
                rollout=attempt.rollout,
            )
        )


def _bug(request: web.BaseRequest, bug: Exception) -> web.Response:
    _log.error("cannot %s %s: %r", request.method, request.path, bug, exc_info=bug)
    trouble = RelctlError(
        f"cannot {request.method} {request.path[:80]}: a bug of reld's ({type(bug).__name__})",
        "the whole story is in reld's log: sudo journalctl -u 'reld@*'",
    )
    return answers.error(trouble)
