"""The API on a real Unix socket, for tests: a service that does as it is told, and clients."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reld.api.handed import Over, RunRequest, UnpackRequest
from reld.api.hub import Hub
from reld.api.maintenance import MaintenanceRequest
from reld.api.peers import Caller
from reld.api.replay import ReplayRequest
from reld.api.requests import Approval, LogRequest, NotFound, RolloutRequest, Steer
from reld.api.server import Audit, Server
from reld.api.service import Vitals
from reld.core.model import Kind, Phase, Rollout, State
from reld.core.policy import Policy
from reld.errors import Refused
from reld.metrics.facts import Facts
from reld.metrics.page import page
from reld.store.rows import AuditRow

OPERATOR, VIEWER, STRANGER, APPROVER = 54001, 54002, 54003, 54004
OPERATORS_GROUP = 54100
RUNNING = Rollout(
    id=42, kind=Kind.SWITCH, phase=Phase.SHIFTING, since=5.0, began=1.0, policy=Policy(), to="v2"
)


@dataclass(frozen=True)
class Rules:
    operators: tuple[str, ...] = (f"@{OPERATORS_GROUP}",)
    viewers: tuple[str, ...] = (str(VIEWER),)
    approvers: tuple[str, ...] = (str(APPROVER),)


class FakeService:
    def __init__(self) -> None:
        self.now = State("web", "boot")
        self.hub = Hub(lambda: "T")
        self.trouble: Exception | None = None
        self.begun: list[tuple[RolloutRequest, Caller]] = []
        self.steered: list[Steer] = []
        self.approved: list[tuple[Approval, Caller]] = []
        self.replayed: list[ReplayRequest] = []
        self.body: dict[str, Any] = {"id": 42, "attached": False, "already": False, "plan": {}}
        self.known: tuple[int, ...] = (42,)
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.log_closed = asyncio.Event()
        self.log = [{"release": "v1", "slot": "blue", "line": "hello \udc80"}]

    def state(self) -> State:
        return self.now

    def vitals(self) -> Vitals:
        return Vitals(10.0, 0.0)

    async def begin(self, request: RolloutRequest, caller: Caller) -> dict[str, Any]:
        self.entered.set()
        await self.gate.wait()
        if self.trouble is not None:
            raise self.trouble
        self.begun.append((request, caller))
        return self.body

    async def steer(self, steer: Steer, caller: Caller) -> dict[str, Any]:
        if steer.rollout != 42:
            raise NotFound(f"cannot {steer.verb} rollout {steer.rollout}: there is none")
        self.steered.append(steer)
        return {"id": 42, "message": "ok"}

    def subscribe(self, last: int = 0) -> Any:
        return self.hub.subscribe(last)

    async def rollouts(self, limit: int) -> list[dict[str, Any]]:
        return [{"id": number} for number in range(50, 50 - limit, -1)]

    async def rollout(self, number: int) -> dict[str, Any] | None:
        if number == 41:
            return {"id": 41, "outcome": "done", "summary": "v1 serves"}
        return {"id": number, "outcome": None} if number in self.known else None

    async def approve(self, approval: Approval, caller: Caller) -> dict[str, Any]:
        self.approved.append((approval, caller))
        return {"id": approval.rollout, "message": "ok"}

    async def audits(self, limit: int) -> list[dict[str, Any]]:
        return [{"command": "switch"}][:limit]

    async def maintain(self, request: MaintenanceRequest, caller: Caller) -> dict[str, Any]:
        word = "on" if request.on else "off"
        return {"already": False, "in_effect": True, "message": word, "maintenance": None}

    async def mend(self, caller: Caller) -> dict[str, Any]:
        return {"mended": False, "message": f"by {caller.name}"}

    async def replay(self, request: ReplayRequest) -> dict[str, Any]:
        if request.rollout != 42:
            raise NotFound(f"cannot replay rollout {request.rollout}: there is none")
        self.replayed.append(request)
        return {"id": 42, "found": None}

    async def check(self) -> dict[str, Any]:
        return {"app": "web", "findings": []}

    async def metrics(self) -> bytes:
        return page(self.now, self.vitals(), Facts())

    def told(self) -> list[dict[str, Any]]:
        return []

    async def tell_all(self) -> dict[str, Any]:
        target = {"target": "https://hooks.example.com/...", "told": True, "answer": "200 OK"}
        return {"targets": [target], "pending": False}

    async def plan(self, request: RolloutRequest, caller: Caller) -> dict[str, Any]:
        return {"plan": {"to": request.release}, "ok": True}

    async def runbook(self) -> str:
        return "# Releases of web\n"

    async def releases(self) -> list[dict[str, Any]]:
        return [{"release": "v1", "live": True, "slot": "blue", "good": True, "sealed": False}]

    async def new_lines(self, number: int | None) -> dict[str, Any]:
        if number not in (None, 42):
            raise NotFound(f"cannot show the new lines of rollout {number}: there is none")
        return {"rollout": 42, "new_lines": None, "why": "nobody listens"}

    async def log_lines(self, request: LogRequest) -> AsyncIterator[dict[str, Any]]:
        try:
            if request.release == "gone":
                raise Refused("cannot show the log: there is none of gone")
            for line in self.log:
                yield line
            if request.follow:
                await asyncio.Event().wait()
        finally:
            self.log_closed.set()


class FakeHands:
    """Implements api.handed.Hands: says what it was given."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.left = asyncio.Event()

    async def refuse_unpack(self, request: UnpackRequest) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def unpack(
        self, request: UnpackRequest, archive: int, talk: int, over: Over
    ) -> dict[str, Any]:
        os.write(talk, os.read(archive, 100))
        return {"release": request.release, "message": "there"}

    async def refuse_run(self, request: RunRequest) -> None:
        pass

    async def run(
        self, request: RunRequest, streams: tuple[int, int, int], over: Over
    ) -> dict[str, Any]:
        while not over():
            await asyncio.sleep(0.01)
        self.left.set()
        return {"release": "v1", "exit": 129, "message": "left"}


_writers: list[asyncio.StreamWriter] = []


def kept_in(rows: list[AuditRow]) -> Audit:
    async def keep(row: AuditRow) -> None:
        rows.append(row)

    return keep


@dataclass
class Running:
    service: FakeService
    server: Server
    path: Path
    audit: list[AuditRow]
    hands: FakeHands


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Running]:
    """A server before a service that does as it is told; its clients are gone at the end."""
    # Not under tmp_path: other users must be able to get there.
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    service, audit = FakeService(), list[AuditRow]()
    hands = FakeHands()
    server = Server(service, Rules(), kept_in(audit), hands)
    path = directory / "control.sock"
    await server.start(path)
    path.chmod(0o666)
    try:
        yield Running(service, server, path, audit, hands)
    finally:
        for writer in _writers:
            writer.transport.abort()
        for writer in _writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        _writers.clear()
        await server.stop()
        shutil.rmtree(directory)


@contextlib.contextmanager
def user(uid: int, *groups: int) -> Iterator[None]:
    """What this process does inside is done by that user, as the kernel sees it."""
    if uid == 0:
        yield
        return
    before = os.getgroups(), os.getegid(), os.geteuid()
    os.setgroups(groups)
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(before[2])
        os.setegid(before[1])
        os.setgroups(before[0])


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


async def connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(path)
    _writers.append(writer)
    return reader, writer


def request_bytes(method: str, target: str, body: bytes = b"") -> bytes:
    # HTTP/1.0: the end of the answer is the end of the connection, and nothing is chunked.
    head = f"{method} {target} HTTP/1.0\r\nHost: reld\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
    first, *rest = head.strip().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in rest)


async def dial(path: Path, uid: int, *groups: int) -> socket.socket:
    """A connection of that user, as soon as there is room in the backlog."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    async with asyncio.timeout(10):
        while True:
            try:
                with user(uid, *groups):
                    sock.connect(str(path))
            except BlockingIOError:
                await asyncio.sleep(0.001)
            else:
                return sock


async def ask(
    path: Path,
    method: str,
    target: str,
    body: Any = None,
    *,
    uid: int = 0,
    groups: tuple[int, ...] = (),
) -> Answer:
    sock = await dial(path, uid, *groups)
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    _writers.append(writer)
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    try:
        writer.write(request_bytes(method, target, data))
        status, headers = await read_head(reader)
        return Answer(status, headers, await asyncio.wait_for(reader.read(), 10))
    finally:
        writer.close()


class Stream:
    """A client that follows."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, path: Path, target: str) -> Stream:
        reader, writer = await connect(path)
        writer.write(request_bytes("GET", target))
        status, headers = await read_head(reader)
        assert (status, headers["Content-Type"]) == (200, "application/x-ndjson")
        return cls(reader, writer)

    async def line(self) -> Any:
        """The next line; None: the stream ended."""
        line = await asyncio.wait_for(self.reader.readline(), 10)
        return json.loads(line) if line else None


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)
