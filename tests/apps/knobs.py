"""One web application that can misbehave on demand: the releases of the tests.

Run as `python3 knobs.py --port 21001` (or `--bind HOST:PORT`, `--bind unix:/path`); the standard library is
all that it needs. What it does wrong is set by knobs (see `Knobs`), read from, later ones winning:
`knobs.json` beside this file, `knobs.json` in the working directory, `KNOBS` (JSON) and `KNOB_NAME=value`
in the environment, and, while it runs, `POST /knobs` with a JSON object.

Endpoints: `/` `/ready` `/live` `/echo` `/slow?seconds=` `/big?bytes=&seconds=` `/sse?every=&count=` `/ws`
`/upload` `/exit?code=` `/status/NNN` `/assets/NAME` `/login` `/knobs`. Each answer has `X-Release`, each
JSON answer names release, slot and pid.

On SIGTERM it stops accepting, closes idle connections, finishes what is in flight (websockets get close
code 1001), and exits with 0; after `slow_last` seconds it gives up and exits with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, fields
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

BUSINESS_FREE = ("/ready", "/live", "/knobs", "/exit")  # never slowed down, failed or counted
MAX_HEAD = 64 * 1024
WEBSOCKET_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


@dataclass(slots=True)
class Knobs:
    """Times in seconds, rates 0..1, sizes in bytes; None = off."""

    boot_delay: float = 0.0  # sleeps before it listens
    ready_after: float = 0.0  # since it listens; /ready answers 503 before
    unready_after: float | None = None  # since it listens; /ready answers 503 after
    unlive_after: float | None = None  # since it listens; /live answers 500 after
    never_ready: bool = False
    crash_at_boot: int | None = None  # exit code, before it listens
    crash_after_requests: int | None = None  # business requests
    crash_after_seconds: float | None = None
    crash_code: int = 1
    error_rate: float = 0.0  # business requests that answer 500
    get_error_rate: float = 0.0  # GET and HEAD among them
    post_error_rate: float = 0.0  # all others
    refuse_rate: float = 0.0  # business requests that answer 422
    outage_file: str = ""  # while it exists all answer 500: a dependency that releases share
    latency: float = 0.0  # added to every business request
    slow_rate: float = 0.0  # business requests that take slow_seconds longer
    slow_seconds: float = 2.0
    hang_rate: float = 0.0  # business requests that are never answered
    login_fails: bool = False  # /login answers 500
    ignore_sigterm: bool = False
    children: int = 0  # forked; all ignore SIGTERM, the first one has a session of its own
    slow_last: float = 8.0  # how long requests in flight may take after SIGTERM
    listen_other_port: bool = False
    daemonise: bool = False
    leak: int = 0  # bytes kept for each business request

    def change(self, values: dict[str, Any]) -> None:
        """Raises ValueError for a knob that does not exist."""
        known = {field.name for field in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"no such knob: {name}")
            setattr(self, name, value)


def read_knobs() -> Knobs:
    knobs = Knobs()
    here = os.path.dirname(os.path.abspath(__file__))
    for folder in dict.fromkeys((here, os.getcwd())):
        with contextlib.suppress(FileNotFoundError), open(f"{folder}/knobs.json") as file:
            knobs.change(json.load(file))
    knobs.change(json.loads(os.environ.get("KNOBS") or "{}"))
    for name, value in os.environ.items():
        if name.startswith("KNOB_"):
            knobs.change({name.removeprefix("KNOB_").lower(): json.loads(value)})
    return knobs


class Application:
    """What all connections share."""

    def __init__(self, knobs: Knobs) -> None:
        self.knobs = knobs
        self.release = os.environ.get("RELCTL_RELEASE", "unknown")
        self.slot = os.environ.get("RELCTL_SLOT", "")
        self.listening_since = time.monotonic()
        self.requests = 0
        self.stopping = False
        self.connections: set[Connection] = set()
        self.children: list[int] = []
        self.leaked: list[bytes] = []
        self.idle = asyncio.Event()

    def identity(self) -> dict[str, Any]:
        return {"release": self.release, "slot": self.slot, "pid": os.getpid()}

    def misfortune(self, method: str) -> tuple[int, str] | None:
        """The bad answer that this business request gets, if any."""
        knobs, chance = self.knobs, random.random
        if knobs.outage_file and os.path.exists(knobs.outage_file):
            return 500, "knob outage_file"
        if knobs.error_rate and chance() < knobs.error_rate:
            return 500, "knob error_rate"
        reads = method in ("GET", "HEAD")
        rate = knobs.get_error_rate if reads else knobs.post_error_rate
        if rate and chance() < rate:
            return 500, "knob get_error_rate" if reads else "knob post_error_rate"
        if knobs.refuse_rate and chance() < knobs.refuse_rate:
            return 422, "knob refuse_rate"
        return None

    def ready(self) -> bool:
        age, knobs = time.monotonic() - self.listening_since, self.knobs
        over = knobs.unready_after is not None and age >= knobs.unready_after
        return not knobs.never_ready and not over and age >= knobs.ready_after

    def live(self) -> bool:
        age = time.monotonic() - self.listening_since
        return self.knobs.unlive_after is None or age < self.knobs.unlive_after

    def count(self) -> None:
        self.requests += 1
        if self.knobs.leak:
            self.leaked.append(os.urandom(1) * self.knobs.leak)
        limit = self.knobs.crash_after_requests
        if limit is not None and self.requests > limit:
            os._exit(self.knobs.crash_code)

    def stop(self) -> None:
        self.stopping = True
        for connection in list(self.connections):
            connection.say_goodbye()
        self.check_idle()

    def check_idle(self) -> None:
        if self.stopping and not self.connections:
            self.idle.set()


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: dict[str, list[str]]
    head: bytes  # lower-cased names and values are looked up in `header`
    keep_alive: bool
    began: float
    length: int = 0  # bytes of body seen so far
    kept: bytes = b""  # the first bytes of the body, for /login and /knobs

    def header(self, name: bytes) -> bytes:
        at = self.head.lower().find(b"\r\n" + name + b":")
        if at < 0:
            return b""
        start = at + len(name) + 3
        end = self.head.find(b"\r\n", start)
        return self.head[start : end if end >= 0 else None].strip()

    def number(self, name: str, default: float) -> float:
        return float(self.query.get(name, [default])[0])


class Connection(asyncio.Protocol):
    """HTTP/1.1 on one connection; answers are written at once unless they have to take time."""

    def __init__(self, application: Application) -> None:
        self.app = application
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.buffer = bytearray()
        self.request: Request | None = None
        self.remaining: int | None = None  # bytes of body still to come; None = chunked
        self.sha = hashlib.sha256()
        self.task: asyncio.Task[None] | None = None
        self.websocket = False
        self.streaming_ended = asyncio.Event()
        self.may_write = asyncio.Event()
        self.may_write.set()

    # -- the transport's side -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.app.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.app.connections.discard(self)
        self.streaming_ended.set()
        self.may_write.set()
        if self.task is not None:
            self.task.cancel()
        self.app.check_idle()

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        try:
            self.advance()
        except ValueError as error:
            self.close_with(f"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nX-Why: {error}")

    def say_goodbye(self) -> None:
        """SIGTERM: idle connections end now, busy ones after their answer."""
        self.streaming_ended.set()
        if self.websocket:
            self.transport.write(frame(0x8, struct.pack("!H", 1001)))
            self.transport.close()
        elif self.request is None and not self.buffer:
            self.transport.close()

    def close_with(self, head: str) -> None:
        self.transport.write(f"{head}\r\nConnection: close\r\n\r\n".encode())
        self.transport.close()

    # -- requests -------------------------------------------------------------------------------------

    def advance(self) -> None:
        while self.buffer and not self.transport.is_closing():
            if self.websocket:
                self.echo_frames()
                return
            if self.task is not None:  # an answer is being made: pipelined requests wait
                return
            if self.request is None and not self.read_head():
                return
            if not self.read_body():
                return
            self.answer()

    def read_head(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self.buffer) > MAX_HEAD:
                raise ValueError("head too long")
            return False
        head = bytes(self.buffer[:end])
        del self.buffer[: end + 4]
        method, target, version = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        path, _, query = target.partition("?")
        request = Request(
            method, path, parse_qs(query) if query else {}, head, True, time.monotonic()
        )
        connection = request.header(b"connection").lower()
        request.keep_alive = connection != b"close" and (
            version == "HTTP/1.1" or connection == b"keep-alive"
        )
        chunked = b"chunked" in request.header(b"transfer-encoding").lower()
        self.remaining = None if chunked else int(request.header(b"content-length") or 0)
        self.request, self.sha = request, hashlib.sha256()
        if request.header(b"expect").lower() == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self.buffer and self.remaining == 0:
            self.answer()
            return False
        return True

    def read_body(self) -> bool:
        if self.remaining is None:
            return self.read_chunks()
        piece = self.buffer[: self.remaining]
        del self.buffer[: self.remaining]
        self.remaining -= len(piece)
        self.take(piece)
        return self.remaining == 0

    def read_chunks(self) -> bool:
        while (end := self.buffer.find(b"\r\n")) >= 0:
            size = int(self.buffer[:end].split(b";")[0], 16)
            if len(self.buffer) < end + 2 + size + 2:
                return False
            self.take(self.buffer[end + 2 : end + 2 + size])
            del self.buffer[: end + 2 + size + 2]
            if size == 0:
                return True
        return False

    def take(self, piece: bytearray) -> None:
        assert self.request is not None
        self.request.length += len(piece)
        self.sha.update(piece)
        if len(self.request.kept) < 4096:
            self.request.kept += bytes(piece[:4096])

    # -- answers --------------------------------------------------------------------------------------

    def answer(self) -> None:
        request, knobs = self.request, self.app.knobs
        assert request is not None
        delay = 0.0
        if request.path not in BUSINESS_FREE:
            self.app.count()
            delay = knobs.latency
            if knobs.slow_rate and random.random() < knobs.slow_rate:
                delay += knobs.slow_seconds
            if knobs.hang_rate and random.random() < knobs.hang_rate:
                delay = 3600.0
            elif (bad := self.app.misfortune(request.method)) is not None:
                status, why = bad
                self.later(delay, lambda: self.reply(status, {"error": why}))
                return
        if request.path == "/slow":
            delay += request.number("seconds", 1.0)
        streams = {"/sse": self.stream_events, "/big": self.stream_bytes}
        if request.path == "/ws":
            self.open_websocket(request)
        elif request.path in streams:
            self.task = asyncio.get_running_loop().create_task(streams[request.path](request))
        else:
            self.later(delay, lambda: self.route(request))

    def later(self, delay: float, what: Any) -> None:
        if delay <= 0:
            what()
        else:
            self.task = asyncio.get_running_loop().create_task(self.after(delay, what))

    async def after(self, delay: float, what: Any) -> None:
        await asyncio.sleep(delay)
        self.task = None
        what()
        self.advance()

    def route(self, request: Request) -> None:
        path, app = request.path, self.app
        if path == "/":
            self.reply(200, {"requests": app.requests, "children": app.children})
        elif path == "/echo":
            self.reply(200, {"length": request.length, "sha256": self.sha.hexdigest()})
        elif path == "/upload":
            seconds = round(time.monotonic() - request.began, 3)
            self.reply(200, {"length": request.length, "seconds": seconds})
        elif path == "/slow":
            self.reply(200, {"slow": request.number("seconds", 1.0)})
        elif path == "/ready":
            self.reply(200 if app.ready() else 503, {"ready": app.ready()})
        elif path == "/live":
            self.reply(200 if app.live() else 500, {"live": app.live()})
        elif path == "/login":
            self.log_in(request)
        elif path == "/knobs":
            self.turn_knobs(request)
        elif path == "/exit":
            os._exit(int(request.number("code", 3)))
        elif path.startswith("/status/"):
            self.reply(int(path.removeprefix("/status/")), {})
        elif path.startswith("/assets/") and path.rsplit(".", 1)[0].endswith(f"-{app.release}"):
            self.reply(200, f"/* {app.release} */", kind="text/javascript")
        else:
            self.reply(404, {"error": f"nothing at {path}"})

    def log_in(self, request: Request) -> None:
        if self.app.knobs.login_fails:
            self.reply(500, {"error": "knob login_fails"})
        elif request.method == "POST" and not request.kept.startswith(b"user="):
            self.reply(400, {"error": "expected user=NAME"})
        else:
            self.reply(200, "Welcome", kind="text/html")

    def turn_knobs(self, request: Request) -> None:
        if request.method == "POST":
            self.app.knobs.change(json.loads(request.kept))
        self.reply(200, {"knobs": asdict(self.app.knobs)})

    def reply(
        self, status: int, body: dict[str, Any] | str, kind: str = "application/json"
    ) -> None:
        request = self.request
        assert request is not None
        if isinstance(body, dict):
            own = (
                {"id": name.decode("latin-1")} if (name := request.header(b"x-request-id")) else {}
            )
            body = json.dumps(self.app.identity() | own | body)
        content = b"" if status in (204, 304) else body.encode()
        length = "" if status == 204 else f"Content-Length: {len(content)}\r\n"
        self.transport.write(
            self.head(status, f"Content-Type: {kind}\r\n{length}")
            + (b"" if request.method == "HEAD" else content)
        )
        self.end_request()

    def head(self, status: int, fields_: str) -> bytes:
        reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Other"
        return (
            f"HTTP/1.1 {status} {reason}\r\n{fields_}X-Release: {self.app.release}\r\n"
            f"Connection: {'keep-alive' if self.stays() else 'close'}\r\n\r\n"
        ).encode()

    def stays(self) -> bool:
        return self.request is not None and self.request.keep_alive and not self.app.stopping

    def end_request(self) -> None:
        stays = self.stays()
        self.request = None
        if not stays:
            self.transport.close()

    # -- answers that take their time -----------------------------------------------------------------

    async def stream_events(self, request: Request) -> None:
        every, count = request.number("every", 0.1), request.number("count", float("inf"))
        fields_ = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        fields_ += (
            "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n"  # nginx passes events at once
        )
        self.transport.write(self.head(200, fields_))
        number = 0
        while number < count and not self.streaming_ended.is_set():
            number += 1
            event = f"data: {json.dumps(self.app.identity() | {'n': number})}\n\n".encode()
            self.transport.write(b"%x\r\n%b\r\n" % (len(event), event))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.streaming_ended.wait(), every)
        self.transport.write(b"0\r\n\r\n")
        self.end_stream()

    async def stream_bytes(self, request: Request) -> None:
        total, seconds = int(request.number("bytes", 1e6)), request.number("seconds", 0.0)
        fields_ = f"Content-Type: application/octet-stream\r\nContent-Length: {total}\r\n"
        self.transport.write(self.head(200, fields_))
        size = 65536 if not seconds else max(1, int(total / (seconds * 20)))
        for start in range(0, total, size):
            await self.may_write.wait()
            self.transport.write(b"x" * min(size, total - start))
            if seconds:
                await asyncio.sleep(0.05)
        self.end_stream()

    def end_stream(self) -> None:
        self.task = None
        self.end_request()
        self.advance()

    # -- websockets -----------------------------------------------------------------------------------

    def open_websocket(self, request: Request) -> None:
        key = request.header(b"sec-websocket-key")
        if not key:
            self.reply(400, {"error": "not a websocket"})
            return
        digest = hashlib.sha1(key + WEBSOCKET_MAGIC).digest()
        accept = base64.b64encode(digest).decode()
        self.transport.write(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\nX-Release: {self.app.release}\r\n\r\n".encode()
        )
        self.websocket = True

    def echo_frames(self) -> None:
        while (found := parse_frame(self.buffer)) is not None:
            opcode, payload, size = found
            final = self.buffer[0] & 0x80
            del self.buffer[:size]
            if opcode == 0x8:
                self.transport.write(frame(0x8, payload))
                self.transport.close()
                return
            if opcode == 0x9:
                self.transport.write(frame(0xA, payload))
            elif opcode != 0xA:
                self.transport.write(frame(opcode, payload, final=bool(final)))


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """One unmasked frame, as servers send them (RFC 6455, section 5.2)."""
    first = opcode | (0x80 if final else 0)
    if len(payload) < 126:
        return struct.pack("!BB", first, len(payload)) + payload
    if len(payload) < 65536:
        return struct.pack("!BBH", first, 126, len(payload)) + payload
    return struct.pack("!BBQ", first, 127, len(payload)) + payload


def parse_frame(buffer: bytearray) -> tuple[int, bytes, int] | None:
    """(opcode, unmasked payload, size of the frame in bytes), or None when it is not complete."""
    if len(buffer) < 2:
        return None
    masked, length, at = buffer[1] & 0x80, buffer[1] & 0x7F, 2
    if length >= 126:
        form, wide = ("!H", 2) if length == 126 else ("!Q", 8)
        if len(buffer) < at + wide:
            return None
        (length,) = struct.unpack_from(form, buffer, at)
        at += wide
    end = at + (4 if masked else 0) + length
    if len(buffer) < end:
        return None
    payload = bytes(buffer[end - length : end])
    if masked and length:
        mask = (bytes(buffer[at : at + 4]) * (length // 4 + 1))[:length]
        whole = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
        payload = whole.to_bytes(length, "big")
    return buffer[0] & 0x0F, payload, end


# -- life of the process ------------------------------------------------------------------------------


def fork_children(count: int) -> list[int]:
    children = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            if number == 0:
                os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)  # bounded: a test that forgets them does not leave them for ever
            os._exit(0)
        children.append(pid)
    return children


def daemonise() -> None:
    """Twice forked, the parent is gone: what a supervisor cannot follow."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)


async def serve(app: Application, bind: str) -> int:
    loop = asyncio.get_running_loop()
    if app.knobs.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)

    def connect() -> Connection:
        return Connection(app)

    if bind.startswith("unix:"):
        server: asyncio.AbstractServer = await loop.create_unix_server(
            connect, bind[5:], backlog=2048
        )
    else:
        host, _, port = bind.rpartition(":")
        chosen = 0 if app.knobs.listen_other_port else int(port)
        server = await loop.create_server(
            connect, host, chosen, family=socket.AF_INET, backlog=2048, reuse_address=True
        )
    app.listening_since = time.monotonic()
    if app.knobs.crash_after_seconds is not None:
        loop.call_later(app.knobs.crash_after_seconds, os._exit, app.knobs.crash_code)
    print(f"{app.release} listens on {bind}, pid {os.getpid()}", flush=True)
    if app.knobs.ignore_sigterm:
        await asyncio.Event().wait()
    await stop.wait()
    print(f"{app.release} got SIGTERM, {len(app.connections)} connections", flush=True)
    server.close()
    app.stop()
    try:
        await asyncio.wait_for(app.idle.wait(), app.knobs.slow_last)
    except TimeoutError:
        print(f"{app.release} gives up on {len(app.connections)} connections", flush=True)
        return 1
    return 0


async def run(knobs: Knobs, children: list[int], bind: str) -> int:
    app = Application(knobs)
    app.children = children
    return await serve(app, bind)


def main() -> None:
    parser = argparse.ArgumentParser(description="a web application with knobs")
    parser.add_argument("--port", type=int, default=os.environ.get("PORT"))
    parser.add_argument("--bind", help="HOST:PORT or unix:/path")
    arguments = parser.parse_args()
    if arguments.bind is None and arguments.port is None:
        parser.error("--port or --bind is needed")
    knobs = read_knobs()
    if knobs.crash_at_boot is not None:
        print("cannot start: knob crash_at_boot", file=sys.stderr, flush=True)
        os._exit(knobs.crash_at_boot)
    if knobs.daemonise:
        daemonise()
    children = fork_children(knobs.children)
    if knobs.boot_delay:
        time.sleep(knobs.boot_delay)
    code = asyncio.run(run(knobs, children, arguments.bind or f"127.0.0.1:{arguments.port}"))
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
