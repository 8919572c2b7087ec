"""A gate on free ports, apps that do as they are told, and a client that never retries."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from reld.core.model import Color, Routing, Target
from reld.nginx import master
from reld.nginx.gate import Gate, LoadEnd
from reld.nginx.settings import GateSettings


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def make_settings(home: Path, **changes: object) -> GateSettings:
    values: dict[str, object] = {
        "app": "web",
        "listen": free_address(),
        "status": free_address(),
        "runtime": home / "run",
        "state": home / "state",
        "boot": "boot-1",
        # Another version: NGINX_BINARY=/path/to/nginx make test
        "binary": Path(os.environ.get("NGINX_BINARY", "/usr/sbin/nginx")),
        "user": "www-data" if os.geteuid() == 0 else None,
    }
    return GateSettings(**{**values, **changes})  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def a_home() -> AsyncIterator[Path]:
    # Not pytest's tmp_path: that is 0700, and nginx's workers are another user.
    home = Path(tempfile.mkdtemp(prefix="gate-"))
    home.chmod(0o755)
    (home / "run").mkdir()
    try:
        yield home
    finally:
        shutil.rmtree(home)


async def end(settings: GateSettings) -> None:
    for process in [master.find(settings)]:
        if process is not None:
            handle = os.pidfd_open(process.pid)
            for number in (signal.SIGTERM, signal.SIGCONT):
                master.send(process, number)
            await readable(handle)
    for pid in master.owners(settings.listen):
        if master.command_line(pid).startswith("nginx:"):
            os.kill(pid, signal.SIGKILL)


async def readable(handle: int) -> None:
    """A pidfd is readable when its process has ended."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(10):
            await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)


@contextlib.asynccontextmanager
async def a_gate(**changes: object) -> AsyncIterator[Gate]:
    async with a_home() as home:
        settings = make_settings(home, **changes)
        try:
            yield Gate(settings)
        finally:
            await end(settings)


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    body: bytes = b""


@dataclass
class App:
    """Answers its name; `behave` may do something else and returns True when it did."""

    name: str
    address: str = ""
    behave: Callable[[Request], Awaitable[bool]] | None = None
    status: int = 200
    missing: tuple[str, ...] = ()
    seen: list[Request] = field(default_factory=list)
    server: asyncio.Server | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while await self.one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        raw = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = raw.strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in rest)}
        request = Request(method, path, headers, reader, writer)
        self.seen.append(request)
        if self.behave is not None and await self.behave(request):
            return False
        request.body = await read_body(headers, reader)
        status = 404 if path in self.missing else self.status
        body = f"{self.name} {len(request.body)}".encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n"
            f"X-Accel-Redirect: /files/a\r\nServer: app\r\n\r\n".encode()
            + (b"" if method == "HEAD" else body)
        )
        await writer.drain()
        return True

    async def die(self) -> None:
        assert self.server is not None
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks)


async def read_body(headers: dict[str, str], reader: asyncio.StreamReader) -> bytes:
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body
    return await reader.readexactly(int(headers.get("content-length", "0")))


@contextlib.asynccontextmanager
async def an_app(name: str) -> AsyncIterator[App]:
    app = App(name)
    app.server = await asyncio.start_server(app.serve, "127.0.0.1", 0)
    host, port = app.server.sockets[0].getsockname()
    app.address = f"{host}:{port}"
    try:
        yield app
    finally:
        await app.die()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def name(self) -> str:
        return self.body.decode().split(" ")[0]


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def ask(
    address: str, path: str = "/", method: str = "GET", body: bytes = b"", **headers: str
) -> Reply:
    """One request on a connection of its own; what the gate closes early is an error."""
    reader, writer = await connect(address)
    try:
        said = {"Host": "www.example.com", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if method not in ("GET", "HEAD"):
            said["Content-Length"] = str(len(body))
        lines = "".join(f"{key}: {value}\r\n" for key, value in said.items())
        writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        return await read_reply(reader, method)
    finally:
        writer.close()


async def read_reply(reader: asyncio.StreamReader, method: str = "GET") -> Reply:
    async with asyncio.timeout(10):
        raw = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = raw.strip().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in rest)}
        body = b"" if method == "HEAD" else await read_body(headers, reader)
    return Reply(int(first.split(" ")[1]), headers, body)


def blue(*apps: App) -> Target:
    return Target(Color.BLUE, "v1", tuple(app.address for app in apps))


def green(*apps: App) -> Target:
    return Target(Color.GREEN, "v2", tuple(app.address for app in apps))


def both(old: App, new: App, rollout: int = 7) -> Routing:
    return Routing(blue(old), green(new), rollout)


async def load(gate: Gate, generation: int, routing: Routing) -> None:
    ended = await gate.load(generation, routing, 5.0)
    assert ended.what is LoadEnd.VERIFIED, ended.detail


async def until(true: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)
