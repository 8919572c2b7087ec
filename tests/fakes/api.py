"""A fake reld: speaks relctl's HTTP/JSON on a real Unix socket, answers what a test tells it to."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

HANG = {"fake": "hang"}  # in a stream: say nothing more, keep the connection
DROP = {"fake": "drop"}  # in a stream: cut the connection in the middle of the chunk
RESTART = {"fake": "restart"}  # in a stream: no socket for a moment, then the next stream
NO_SUCH_ROUTE = {
    "code": "no-such-route",
    "exit": 2,
    "message": "cannot GET /v1/more: there is no such route",
    "hint": "is relctl newer than reld? relctl version",
}


class FakeReld:
    """Answers by (method, path without query); what is asked is kept in `requests`.

    `answers` holds lists of (status, object): the last one stays. `streams` holds, per path, one list
    of lines per connection: the last one stays, too.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.path = os.path.join(directory, "control.sock")
        self.status: dict[str, Any] = status()
        self.answers: dict[tuple[str, str], list[tuple[int, Any]]] = {}
        self.streams: dict[str, list[list[Any]]] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.streaming = threading.Event()
        self.away = 0.3
        self.piece = 7  # bytes per chunk: lines never come in one piece
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._unknown: set[str] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def answer(self, method: str, path: str, body: Any, status: int = 200) -> None:
        self.answers.setdefault((method, path), []).append((status, body))

    def refuse(self, method: str, path: str, code: str, exit_code: int, status: int = 409) -> None:
        error = {"code": code, "exit": exit_code, "message": f"cannot: {code}", "hint": "do this"}
        self.answer(method, path, {"error": error}, status)

    def unknown(self, method: str) -> None:
        """Whatever is asked so: no such route, as of a reld that is older than the question."""
        self._unknown.add(method)

    def stream(self, path: str, lines: list[Any]) -> None:
        self.streams.setdefault(path, []).append(lines)

    def rollout(self, number: int, lines: list[Any], **plan: Any) -> None:
        """Accepts a rollout, and tells about it with `lines`."""
        self.answer("POST", "/v1/rollouts", accepted(number, **plan), 202)
        self.stream("/v1/events", lines)

    def asked(self, method: str, path: str) -> list[Any]:
        """Bodies (of a GET: queries) of the requests so far."""
        return [body for verb, target, body in self.requests if (verb, target) == (method, path)]

    def start(self) -> None:
        self._thread.start()
        self._wait(self._listen())

    def stop(self) -> None:
        self._wait(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _wait(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)

    async def _listen(self) -> None:
        self._server = await asyncio.start_unix_server(self._accept, self.path)

    async def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if os.path.exists(self.path):
            os.unlink(self.path)

    async def _close(self) -> None:
        await self._unlisten()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        length = 0
        for line in head.split("\r\n"):
            if line.lower().startswith("content-length:"):
                length = int(line.split(":")[1])
        raw = await reader.readexactly(length)
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.requests.append((method, parts.path, json.loads(raw) if raw else query))
        if parts.path in self.streams:
            await self._stream(writer, parts.path)
            return
        code, body = self._answer(method, parts.path)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        writer.write(
            f"HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nX-Relctl-Version: 9.9\r\n"
            f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
            + content
        )
        await writer.drain()

    def _answer(self, method: str, path: str) -> tuple[int, Any]:
        if method in self._unknown:
            return 404, {"error": NO_SUCH_ROUTE}
        found = self.answers.get((method, path))
        if found:
            return found.pop(0) if len(found) > 1 else found[0]
        if (method, path) == ("GET", "/v1/status"):
            return 200, self.status
        return 404, {"error": {"code": "not-found", "exit": 2, "message": f"no {path}", "hint": ""}}

    async def _stream(self, writer: asyncio.StreamWriter, path: str) -> None:
        waiting = self.streams[path]
        lines = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for line in lines:
            if line is HANG:
                await writer.drain()
                self.streaming.set()
                await asyncio.sleep(60)
            if line is DROP:
                writer.write(b"ff\r\n{")
                await writer.drain()
                return
            if line is RESTART:
                await self._unlisten()
                self._loop.call_later(self.away, lambda: self._loop.create_task(self._listen()))
                return
            if isinstance(line, int | float):
                await writer.drain()
                await asyncio.sleep(line)
                continue
            data = json.dumps(line).encode() + b"\n"
            for start in range(0, len(data), self.piece):
                piece = data[start : start + self.piece]
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()


@contextmanager
def fake_reld(app: str = "web") -> Iterator[FakeReld]:
    """A running fake in a directory whose path is short enough for a socket."""
    root = tempfile.mkdtemp(prefix="ctl-")
    directory = os.path.join(root, app)
    os.mkdir(directory)
    reld = FakeReld(directory)
    reld.start()
    try:
        yield reld
    finally:
        reld.stop()
        shutil.rmtree(root)


def instance(**changed: Any) -> dict[str, Any]:
    started = "2026-11-23T11:00:00.000Z"
    base = {"pid": 811, "port": 21003, "state": "ready", "started": started, "restarts": 0}
    return {**base, **changed}


def status(**changed: Any) -> dict[str, Any]:
    """v1 is live on blue, nothing goes on."""
    slots = {
        "blue": {"state": "live", "release": "v1", "percent": 100, "instances": [instance()]},
        "green": {"state": "empty", "release": None, "percent": 0, "instances": []},
    }
    base = {
        "app": "web",
        "live": "blue",
        "release": "v1",
        "rollout": None,
        "slots": slots,
        "degraded": None,
    }
    return {**base, **changed}


def rolling(phase: str = "shifting", percent: int = 25, **changed: Any) -> dict[str, Any]:
    """The status while rollout 42 brings v2."""
    rollout = {
        "id": 42,
        "kind": "switch",
        "from": "v1",
        "to": "v2",
        "phase": phase,
        "percent": percent,
        "step": 2,
        "outcome": None,
        "reason": None,
        "actor": "alice",
        "since": "2026-11-23T11:00:00.000Z",
        "eta": 72.0,
        "waiting": None,
        "paused": False,
        "phases": [{"phase": "preparing", "seconds": 0.3}, {"phase": "starting", "seconds": 4.2}],
        **changed,
    }
    green = {"state": "candidate", "release": "v2", "percent": percent, "instances": [instance()]}
    return status(rollout=rollout, slots={**status()["slots"], "green": green})


def evidence(**changed: Any) -> dict[str, Any]:
    """What the watch found of v2: nothing, unless told otherwise."""
    base = {"verdict": "fine", "sentence": "", "known": "", "errors": 0.0, "slowness": 0.0}
    return {**base, "odds": 0.0, "observed": "", "share": 0, **changed}


def measured(**changed: Any) -> dict[str, Any]:
    """The "traffic" and "resources" of a slot; each key goes where it belongs."""
    traffic = {"rate": 40.2, "errors": 0.001, "p50": 12.0, "p95": 80.4, "p99": 120.0}
    resources = {
        "rss_bytes": 210_000_000,
        "cpu_percent": 12.3,
        "open_files": 43,
        "processes": 3,
        "peers": {"127.0.0.1:5432": 12},
        "trend_bytes_per_minute": 1_200_000.0,
        "warning": None,
    }
    return {
        "traffic": {k: changed.get(k, v) for k, v in traffic.items()},
        "resources": {k: changed.get(k, v) for k, v in resources.items()},
    }


def event(kind: str, text: str = "", **more: Any) -> dict[str, Any]:
    time = "2026-11-23T11:00:00.123Z"
    return {"seq": 1, "time": time, "rollout": 42, "event": kind, "text": text, **more}


def phase(name: str, percent: int = 0, **changed: Any) -> dict[str, Any]:
    return event("phase", f"{name} begins", status=rolling(name, percent, **changed))


def progress(name: str = "shifting", percent: int = 25, **changed: Any) -> dict[str, Any]:
    return event("progress", f"{name} {percent} %", status=rolling(name, percent, **changed))


def receipt(outcome: str = "done", **changed: Any) -> dict[str, Any]:
    base = {
        "id": 42,
        "kind": "switch",
        "from": "v1",
        "to": "v2",
        "actor": "alice",
        "outcome": outcome,
        "reason": None,
        "evidence": {},
        "requests": {
            "blue": {"total": 41210, "errors": 0},
            "green": {"total": 12002, "errors": 1},
        },
        "reloads": 2,
        "drain": {"seconds": 31.0, "cut": 0},
        "started": "2026-11-23T11:00:00.000Z",
        "ended": "2026-11-23T11:15:42.000Z",
        "phases": [{"phase": "preparing", "seconds": 0.3}, {"phase": "baking", "seconds": 600}],
    }
    return {**base, **changed}


def result(outcome: str = "done", **changed: Any) -> dict[str, Any]:
    return {
        "event": "result",
        "rollout": 42,
        "text": outcome,
        "receipt": receipt(outcome, **changed),
    }


def accepted(number: int = 42, **plan: Any) -> dict[str, Any]:
    base = {
        "from": "v1",
        "to": "v2",
        "kind": "switch",
        "instant": False,
        "seconds": 930,
        "steps": [5, 25, 100],
        "text": ["start v2 on green", "then 5, 25, 100 %"],
    }
    return {"id": number, "attached": False, "already": False, "plan": {**base, **plan}}
