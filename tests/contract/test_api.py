"""The API over a real Unix socket, in front of a service that does as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reld import __version__
from reld.api.listener import SocketError, listen
from reld.api.replay import ReplayRequest
from reld.api.server import Server
from reld.core.model import Outcome, Phase
from reld.errors import Busy, NeedsOperator, Refused
from tests.contract.api_support import (
    OPERATOR,
    OPERATORS_GROUP,
    RUNNING,
    VIEWER,
    FakeService,
    Rules,
    Running,
    Stream,
    ask,
    connect,
    kept_in,
    read_head,
    request_bytes,
    served,
    until,
)


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with served() as running:
        yield running


# Roles and callers.


async def test_a_viewer_may_replay_and_what_is_asked_is_understood(api: Running) -> None:
    body = {"false_alarm": 0.01, "max_p95": 1, "warmup": None}
    done = await ask(api.path, "POST", "/v1/rollouts/42/replay", body, uid=VIEWER)
    assert (done.status, done.body) == (200, {"id": 42, "found": None})
    assert api.service.replayed == [ReplayRequest(42, false_alarm=0.01, max_p95=1.0)]
    assert not api.audit
    assert (await ask(api.path, "POST", "/v1/rollouts/7/replay", {})).status == 404
    assert (await ask(api.path, "POST", "/v1/rollouts/42/replay", {"steps": 1})).status == 400


async def test_a_viewer_looks_and_an_operator_changes(api: Running) -> None:
    assert (await ask(api.path, "GET", "/v1/status", uid=VIEWER)).status == 200
    groups = (OPERATORS_GROUP,)
    body = {"kind": "stop"}
    done = await ask(api.path, "POST", "/v1/rollouts", body, uid=OPERATOR, groups=groups)
    assert done.status == 202
    caller = api.service.begun[0][1]
    assert (caller.uid, caller.name, caller.pid) == (OPERATOR, str(OPERATOR), os.getpid())


async def test_a_caller_in_too_many_groups_for_the_kernels_answer_is_only_who_he_is(
    api: Running,
) -> None:
    groups = (OPERATORS_GROUP, *range(60_000, 60_300))
    body = {"kind": "stop"}
    denied = await ask(api.path, "POST", "/v1/rollouts", body, uid=OPERATOR, groups=groups)
    assert denied.status == 403
    assert (await ask(api.path, "GET", "/v1/status", uid=VIEWER, groups=groups)).status == 200


async def test_a_change_of_access_counts_from_the_next_request(api: Running) -> None:
    api.server.access = Rules(viewers=())
    assert (await ask(api.path, "GET", "/v1/status", uid=VIEWER)).status == 403


# Plain answers.


async def test_the_status_is_answered_with_the_version(api: Running) -> None:
    answer = await ask(api.path, "GET", "/v1/status")
    assert answer.status == 200
    assert answer.headers["X-Relctl-Version"] == __version__
    assert answer.body["app"] == "web"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"id": 42, "attached": False, "already": False, "plan": {}}, 202),
        ({"id": 42, "attached": True}, 200),
        ({"id": None, "already": True, "message": "v2 is already live"}, 200),
        ({"id": None, "plan": {}}, 200),
    ],
)
async def test_only_a_new_rollout_is_answered_with_202(
    api: Running, body: dict[str, Any], status: int
) -> None:
    api.service.body = body
    answer = await ask(api.path, "POST", "/v1/rollouts", {"kind": "switch", "release": "v2"})
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize(
    ("trouble", "status", "exit_code"),
    [
        (Busy("cannot switch: busy", "relctl watch 41"), 409, 6),
        (NeedsOperator("cannot switch: sealed"), 409, 9),
        (Refused("cannot switch: no"), 409, 1),
    ],
)
async def test_a_refusal_says_what_why_and_what_next(
    api: Running, trouble: Refused, status: int, exit_code: int
) -> None:
    api.service.trouble = trouble
    answer = await ask(api.path, "POST", "/v1/rollouts", {"kind": "stop"})
    assert answer.status == status
    assert answer.body == {
        "error": {
            "code": trouble.code,
            "exit": exit_code,
            "message": trouble.message,
            "hint": trouble.hint,
        }
    }


async def test_a_bug_is_told_without_its_traceback(api: Running) -> None:
    api.service.trouble = KeyError("a secret")
    answer = await ask(api.path, "POST", "/v1/rollouts", {"kind": "stop"})
    assert answer.status == 500
    assert answer.body["error"]["exit"] == 70
    assert b"secret" not in answer.raw
    assert b"Traceback" not in answer.raw
    assert api.audit[0].outcome == "error"


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/nowhere", None, 404),
        ("DELETE", "/v1/status", None, 404),
        ("GET", "/v1/rollouts/7", None, 404),
        ("GET", "/v1/rollouts/007", None, 404),
        ("GET", "/v1/events?rollout=7", None, 404),
        ("POST", "/v1/rollouts/7/abort", {}, 404),
        ("POST", "/v1/rollouts/42/explode", {}, 404),
        ("GET", "/v1/rollouts?limit=many", None, 400),
        ("GET", "/v1/logs?slot=red", None, 400),
        ("GET", "/v1/logs?release=gone", None, 409),
        ("POST", "/v1/rollouts", b"{", 400),
        ("POST", "/v1/rollouts", b"\xff", 400),
        ("POST", "/v1/rollouts", b"[" * 60_000, 400),
        ("POST", "/v1/rollouts", {"kind": "switch", "release": "../x"}, 400),
        ("POST", "/v1/rollouts", b" " * 65_537, 400),
    ],
)
async def test_a_wrong_request_has_an_error_body(
    api: Running, method: str, target: str, body: Any, status: int
) -> None:
    answer = await ask(api.path, method, target, body)
    assert answer.status == status
    assert set(answer.body["error"]) == {"code", "exit", "message", "hint"}
    assert not api.service.begun


async def test_a_chunked_body_has_the_same_limit(api: Running) -> None:
    reader, writer = await connect(api.path)
    writer.write(b"POST /v1/rollouts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(5):
        writer.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
    assert (await read_head(reader))[0] == 400
    writer.close()


async def test_a_body_of_the_largest_size_is_read(api: Running) -> None:
    body = b'{"kind":"stop"}'.ljust(65_536)
    assert (await ask(api.path, "POST", "/v1/rollouts", body)).status == 202


async def test_history_releases_metrics_and_page_are_answered(api: Running) -> None:
    history = await ask(api.path, "GET", "/v1/rollouts?limit=2")
    assert history.body == {"rollouts": [{"id": 50}, {"id": 49}]}
    assert (await ask(api.path, "GET", "/v1/rollouts/41")).body["outcome"] == "done"
    assert (await ask(api.path, "GET", "/v1/releases")).body["releases"][0]["release"] == "v1"
    page = await ask(api.path, "GET", "/metrics")
    assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'reld_up{app="web"' in page.raw
    assert b"relctl" in (await ask(api.path, "GET", "/")).raw


async def test_a_connection_is_kept_for_the_next_request(api: Running) -> None:
    reader, writer = await connect(api.path)
    for _ in range(2):
        writer.write(b"GET /v1/releases HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers = await read_head(reader)
        await reader.readexactly(int(headers["Content-Length"]))
        assert status == 200
    writer.close()


async def test_a_read_does_not_wait_for_a_change(api: Running) -> None:
    api.service.gate.clear()
    change = asyncio.create_task(ask(api.path, "POST", "/v1/rollouts", {"kind": "stop"}))
    await asyncio.wait_for(api.service.entered.wait(), 5)
    assert (await ask(api.path, "GET", "/v1/status")).status == 200
    assert not change.done()
    api.service.gate.set()
    assert (await change).status == 202


async def test_a_change_goes_on_when_its_client_leaves(api: Running) -> None:
    api.service.gate.clear()
    _, writer = await connect(api.path)
    writer.write(request_bytes("POST", "/v1/rollouts", b'{"kind":"stop"}'))
    await asyncio.wait_for(api.service.entered.wait(), 5)
    writer.close()
    await writer.wait_closed()
    api.service.gate.set()
    await until(lambda: api.audit)
    assert api.audit[0].outcome == "accepted"


# Streams.


async def test_a_followed_rollout_gives_status_events_progress_and_its_result(
    api: Running,
) -> None:
    api.service.now = replace(api.service.now, rollout=RUNNING)
    stream = await Stream.open(api.path, "/v1/events?rollout=42")
    first = await stream.line()
    assert (first["event"], first["rollout"]) == ("status", 42)
    assert first["status"]["rollout"]["id"] == 42
    api.service.hub.publish("step", "25 %", 42)
    api.service.hub.publish("step", "of another", 41)
    api.service.hub.publish("gate", "of nobody", None)
    assert (await stream.line())["text"] == "25 %"
    assert (await stream.line())["text"] == "of nobody"
    progress = await stream.line()
    assert (progress["event"], progress["seq"]) == ("progress", 3)
    assert progress["status"]["rollout"]["phase"] == "shifting"
    over = replace(RUNNING, outcome=Outcome.DONE, since=9.0, phase=Phase.FINISHING)
    api.service.now = replace(api.service.now, rollout=None, last=over)
    api.service.hub.publish("result", "done", 42)
    result = await stream.line()
    assert (result["event"], result["text"]) == ("result", "done")
    assert result["receipt"]["outcome"] == "done"
    assert await stream.line() is None
    stream.writer.close()
    assert api.service.hub.readers == 0


async def test_the_result_comes_also_when_its_event_was_missed(api: Running) -> None:
    api.service.now = replace(api.service.now, rollout=RUNNING)
    stream = await Stream.open(api.path, "/v1/events?rollout=42")
    await stream.line()
    over = replace(RUNNING, outcome=Outcome.ABORTED, since=9.0, phase=Phase.FINISHING)
    api.service.now = replace(api.service.now, rollout=None, last=over)
    assert (await stream.line())["receipt"]["exit"] == 1
    assert await stream.line() is None
    stream.writer.close()


async def test_a_rollout_that_is_over_gives_its_result_at_once(api: Running) -> None:
    stream = await Stream.open(api.path, "/v1/events?rollout=41")
    assert (await stream.line())["event"] == "status"
    result = await stream.line()
    assert (result["rollout"], result["receipt"]["outcome"]) == (41, "done")
    assert await stream.line() is None
    stream.writer.close()


async def test_following_everything_goes_on_after_a_result(api: Running) -> None:
    stream = await Stream.open(api.path, "/v1/events")
    await stream.line()
    api.service.hub.publish("result", "done", 42, receipt={"id": 42})
    api.service.hub.publish("phase", "preparing", 43)
    assert (await stream.line())["receipt"] == {"id": 42}
    assert (await stream.line())["rollout"] == 43
    stream.writer.close()


async def test_a_client_that_leaves_is_forgotten_also_while_nothing_happens(api: Running) -> None:
    stream = await Stream.open(api.path, "/v1/events")
    await stream.line()
    assert api.service.hub.readers == 1
    stream.writer.close()
    await until(lambda: api.service.hub.readers == 0)


async def test_a_reader_that_never_reads_is_dropped_and_nobody_waits_for_it(api: Running) -> None:
    stuck, reading = [await Stream.open(api.path, "/v1/events") for _ in range(2)]
    await reading.line()
    stuck.writer.transport.pause_reading()  # type: ignore[attr-defined]
    text = "x" * 20_000
    for number in range(1500):
        api.service.hub.publish("gate", text, None, number=number)
        assert (await reading.line())["number"] == number
    assert api.service.hub.readers == 1
    stuck.writer.close()
    reading.writer.close()


async def test_stopping_the_server_ends_the_streams(api: Running) -> None:
    stream = await Stream.open(api.path, "/v1/events")
    await stream.line()
    await asyncio.wait_for(api.server.stop(), 5)
    assert await stream.line() is None
    assert not api.path.exists()
    stream.writer.close()


async def test_who_was_let_in_before_the_server_stops_is_answered(api: Running) -> None:
    reader, writer = await connect(api.path)
    while not api.server.connected:
        await asyncio.sleep(0)
    stopping = asyncio.create_task(api.server.stop())
    await asyncio.sleep(0.05)
    writer.write(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await read_head(reader))[0] == 200
    await asyncio.wait_for(stopping, 5)
    writer.close()


async def test_who_says_nothing_does_not_keep_the_server_from_stopping(api: Running) -> None:
    _, writer = await connect(api.path)
    await asyncio.wait_for(api.server.stop(), 5)
    writer.close()


async def test_log_lines_are_given_and_the_end_is_the_end(api: Running) -> None:
    stream = await Stream.open(api.path, "/v1/logs?slot=blue&lines=5")
    assert await stream.line() == api.service.log[0]
    assert await stream.line() is None
    stream.writer.close()


async def test_a_stream_that_cannot_go_on_breaks_off_instead_of_ending(api: Running) -> None:
    api.service.now = replace(api.service.now, rollout=RUNNING)
    reader, writer = await connect(api.path)
    writer.write(b"GET /v1/events?rollout=42 HTTP/1.1\r\nHost: x\r\n\r\n")
    await read_head(reader)
    api.service.now = replace(api.service.now, rollout=None)
    api.service.known = ()
    with contextlib.suppress(ConnectionResetError):
        rest = await asyncio.wait_for(reader.read(), 10)
        assert not rest.endswith(b"0\r\n\r\n")
    writer.close()


async def test_a_log_that_is_followed_is_closed_when_the_client_leaves(api: Running) -> None:
    stream = await Stream.open(api.path, "/v1/logs?follow=1")
    assert await stream.line() == api.service.log[0]
    stream.writer.close()
    await asyncio.wait_for(api.service.log_closed.wait(), 10)


# The socket itself.


async def test_the_socket_is_for_its_owner_and_group_only(tmp_path: Path) -> None:
    sock = listen(tmp_path / "control.sock", "daemon")
    found = (tmp_path / "control.sock").stat()
    assert stat.S_IMODE(found.st_mode) == 0o660
    assert found.st_gid == 1
    assert [p.name for p in tmp_path.iterdir()] == ["control.sock"]
    sock.close()


async def test_a_socket_that_a_killed_reld_left_is_replaced(tmp_path: Path) -> None:
    listen(tmp_path / "control.sock", None).close()
    server = Server(FakeService(), Rules(), kept_in([]))
    await server.start(tmp_path / "control.sock")
    assert (await ask(tmp_path / "control.sock", "GET", "/v1/status")).status == 200
    await server.stop()


async def test_the_socket_of_a_younger_reld_is_left_alone(tmp_path: Path) -> None:
    server = Server(FakeService(), Rules(), kept_in([]))
    await server.start(tmp_path / "control.sock")
    younger = listen(tmp_path / "control.sock", None)
    await server.stop()
    assert (tmp_path / "control.sock").exists()
    younger.close()


async def test_a_socket_that_was_passed_in_is_served_and_its_path_stays(tmp_path: Path) -> None:
    path = tmp_path / "passed.sock"
    server = Server(FakeService(), Rules(), kept_in([]))
    await server.start(tmp_path / "unused", sock=listen(path, None))
    assert (await ask(path, "GET", "/v1/status")).status == 200
    await server.stop()
    assert path.exists()


def test_a_path_that_is_too_long_or_a_group_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(SocketError, match="too long"):
        listen(tmp_path / ("x" * 60) / ("y" * 60) / "control.sock", None)
    with pytest.raises(SocketError, match="there is no group nobody-has-this"):
        listen(tmp_path / "control.sock", "nobody-has-this")
    assert list(tmp_path.iterdir()) == []


async def test_the_client_beyond_the_limit_is_told_and_the_others_are_served(
    api: Running,
) -> None:
    crowd = [await connect(api.path) for _ in range(256)]
    reader, writer = await connect(api.path)
    status, _ = await read_head(reader)
    assert status == 503
    assert json.loads(await reader.read())["error"]["exit"] == 5
    writer.close()
    crowd[0][1].close()

    async def served() -> bool:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            return (await ask(api.path, "GET", "/v1/status")).status == 200
        return False

    async with asyncio.timeout(10):
        while not await served():
            pass
    for _, each in crowd[1:]:
        each.close()
