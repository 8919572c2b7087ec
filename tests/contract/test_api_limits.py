"""Nobody keeps the others out: not by size, not by slowness, not by number. Real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import resource
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from reld.api import answers, connections
from tests.contract.api_support import (
    OPERATOR,
    OPERATORS_GROUP,
    STRANGER,
    VIEWER,
    Rules,
    Running,
    Stream,
    ask,
    connect,
    dial,
    read_head,
    request_bytes,
    served,
    until,
)

ROLLBACK = {"kind": "rollback"}
OF_OPERATORS: dict[str, Any] = {"uid": OPERATOR, "groups": (OPERATORS_GROUP,)}


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with served() as running:
        yield running


@contextlib.asynccontextmanager
async def crowd(path: Path, number: int, uid: int) -> AsyncIterator[None]:
    """Connections of one user that say nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    found: list[socket.socket] = []
    try:
        found.extend([await dial(path, uid) for _ in range(number)])
        yield
    finally:
        for sock in found:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What was answered until the connection was closed."""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        return await asyncio.wait_for(reader.read(), 10)
    return b""  # it hung up before we had said all


# Number.


@pytest.mark.parametrize("uid", [VIEWER, STRANGER])
async def test_a_thousand_connections_of_one_user_do_not_keep_a_rollback_out(
    api: Running, uid: int
) -> None:
    async with crowd(api.path, 1000, uid):
        for _ in range(3):
            answer = await ask(api.path, "POST", "/v1/rollouts", ROLLBACK, **OF_OPERATORS)
            assert answer.status == 202
        held = api.server.connected
        assert held <= connections.MOST_OF_ONE + 1
    await until(lambda: api.server.connected <= 1)


async def test_when_all_places_are_taken_who_has_most_makes_room(api: Running) -> None:
    api.server.access = Rules(viewers=(str(VIEWER), str(STRANGER)))
    async with crowd(api.path, 300, VIEWER), crowd(api.path, 300, STRANGER):
        await until(lambda: api.server.connected >= connections.MOST)
        for _ in range(3):
            answer = await ask(api.path, "POST", "/v1/rollouts", ROLLBACK, **OF_OPERATORS)
            assert answer.status == 202
        assert api.server.connected <= connections.MOST


async def test_who_has_too_many_connections_is_told_so(api: Running) -> None:
    async with crowd(api.path, connections.MOST_OF_ONE, VIEWER):
        await until(lambda: api.server.connected == connections.MOST_OF_ONE)
        reader, writer = await asyncio.open_unix_connection(sock=await dial(api.path, VIEWER))
        status, _ = await read_head(reader)
        error = json.loads(await ended(reader))["error"]
        writer.close()
        assert (status, error["code"], error["exit"]) == (503, "too-many-connections", 5)
        assert f"user {VIEWER} has {connections.MOST_OF_ONE} connections" in error["message"]


async def test_followers_leave_room_for_commands_of_the_same_user(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "FOLLOWING_OF_ONE", 3)
    streams = [await Stream.open(api.path, "/v1/events") for _ in range(3)]
    for target in ("/v1/events", "/v1/logs?follow=1"):
        refused = await ask(api.path, "GET", target)
        assert (refused.status, refused.body["error"]["code"]) == (503, "too-many-connections")
    assert (await ask(api.path, "GET", "/v1/status")).status == 200
    streams[0].writer.close()
    await until(lambda: api.service.hub.readers == 2)
    await Stream.open(api.path, "/v1/events")


# Slowness.


async def test_a_connection_that_says_nothing_is_ended(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE", 0.2)
    reader, _ = await connect(api.path)
    assert await ended(reader) == b""


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE", 0.3)
    reader, writer = await connect(api.path)
    with contextlib.suppress(OSError):
        for byte in request_bytes("GET", "/v1/status") * 50:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
            if reader.at_eof():
                break
    assert await ended(reader) == b""
    assert api.server.connected == 0


async def test_a_body_that_comes_byte_by_byte_is_not_waited_for(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "BODY_TIME", 0.3)
    reader, writer = await connect(api.path)
    writer.write(b"POST /v1/rollouts HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(5):
        writer.write(b" ")
        await asyncio.sleep(0.02)
    status, _ = await read_head(reader)
    assert status == 400
    assert b"did not come within" in await ended(reader)


async def test_a_connection_that_is_kept_is_ended_after_a_while(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE", 0.3)
    reader, writer = await connect(api.path)
    for _ in range(3):  # the time begins anew with each answer
        await asyncio.sleep(0.15)
        writer.write(b"GET /v1/releases HTTP/1.1\r\nHost: x\r\n\r\n")
        _, headers = await read_head(reader)
        await reader.readexactly(int(headers["Content-Length"]))
    assert await ended(reader) == b""


async def test_a_client_that_does_not_take_its_answer_is_left(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE", 0.3)

    async def huge(limit: int) -> list[dict[str, Any]]:
        return [{"id": limit, "reason": "x" * 8_000_000}]

    monkeypatch.setattr(api.service, "rollouts", huge)
    _, writer = await connect(api.path)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(request_bytes("GET", "/v1/rollouts"))
    await until(lambda: api.server.connected == 1)
    await until(lambda: api.server.connected == 0)


async def test_a_command_may_take_longer_than_a_silent_client(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE", 0.2)
    api.service.gate.clear()
    change = asyncio.create_task(ask(api.path, "POST", "/v1/rollouts", ROLLBACK))
    await asyncio.sleep(0.5)
    api.service.gate.set()
    assert (await change).status == 202


# Size.


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/status?x=" + b"a" * 100_000 + b" HTTP/1.1\r\n",
        b"GET /v1/status HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n",
        b"GET /v1/status HTTP/1.1\r\n" + b"X: a\r\n" * 100_000,
        b"GET /v1/status HTTP/1.1\r\n" + b"X: a\r\n" * 60_000,
    ],
    ids=["line", "header", "headers", "fewer headers"],
)
async def test_a_head_without_end_is_not_kept(api: Running, head: bytes) -> None:
    reader, writer = await connect(api.path)
    writer.write(head)
    answer = await ended(reader)
    assert answer == b"" or answer.split(maxsplit=2)[1] == b"400"
    await until(lambda: api.server.connected == 0)
    assert (await ask(api.path, "GET", "/v1/status")).status == 200


async def test_requests_are_not_piled_up_behind_a_stream(api: Running) -> None:
    stream = await Stream.open(api.path, "/v1/events")
    await stream.line()
    stream.writer.write(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000)
    await until(lambda: api.server.connected == 0)
    assert (await ask(api.path, "GET", "/v1/status")).status == 200


async def test_a_few_requests_at_once_are_answered_in_order(api: Running) -> None:
    reader, writer = await connect(api.path)
    for limit in range(1, 9):
        writer.write(f"GET /v1/rollouts?limit={limit} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for limit in range(1, 9):
        _, headers = await read_head(reader)
        body = json.loads(await reader.readexactly(int(headers["Content-Length"])))
        assert len(body["rollouts"]) == limit


async def test_a_compressed_body_is_not_unpacked(api: Running) -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    assert len(bomb) < answers.LARGEST_BODY
    reader, writer = await connect(api.path)
    head = f"POST /v1/rollouts HTTP/1.1\r\nHost: x\r\nContent-Length: {len(bomb)}\r\n"
    writer.write(head.encode() + b"Content-Encoding: gzip\r\n\r\n" + bomb)
    status, _ = await read_head(reader)
    assert status == 400


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"hello there\r\n\r\n"]
)
async def test_what_is_no_http_gets_an_error_and_no_traceback_in_the_log(
    api: Running, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await connect(api.path)
    writer.write(raw)
    status, _ = await read_head(reader)
    assert status == 400
    assert json.loads(await ended(reader))["error"]["code"] == "bad-request"
    assert not [
        record for record in caplog.records if record.exc_info or record.levelname != "DEBUG"
    ]
