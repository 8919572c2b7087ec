"""The load clients count every loss, the app with knobs does what its knobs say, the site works."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.apps.running import KNOBS_PY, App, gunicorn_app, knobs_app, uvicorn_app
from tests.load import Load, Mix, Summary, Tally
from tests.load.clients import keepalive_posts, oneshot_posts, slow_uploads
from tests.load.http1 import Address, Connection
from tests.load.websocket import websocket_echoes
from tests.site import Site
from tests.site.site import free_ports, wait_until

SMALL = Mix(
    keepalive=4,
    oneshot=2,
    http2=1,
    http2_streams=3,
    websockets=1,
    uploads=1,
    think=0.005,
    oneshot_think=0.01,
    upload_seconds=0.3,
    timeout=5.0,
)
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def server(handle: Handler) -> AsyncIterator[Address]:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await handle(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    listening = await asyncio.start_server(closing, "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        await listening.wait_closed()


async def until_failed(client: Callable[..., Awaitable[None]], address: Address, **more) -> Tally:
    """Runs one client until its first failure."""
    tally, stop = Tally(), asyncio.Event()
    settings = {"think": 0.0, "timeout": 5.0} | more
    task = asyncio.ensure_future(client(address, tally, stop, **settings))
    async with asyncio.timeout(10):
        while not tally.failed:
            await asyncio.sleep(0.01)
    stop.set()
    await task
    return tally


async def test_a_connection_cut_after_the_request_is_a_failure() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with server(cut) as address:
        tally = await until_failed(keepalive_posts, address)
    assert tally.ok == 0
    assert set(tally.kinds()) <= {"eof", "reset"}


async def test_an_answer_that_ends_too_early_is_a_failure() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(250)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")

    async with server(half) as address:
        tally = await until_failed(oneshot_posts, address)
    assert tally.ok == 0
    assert set(tally.kinds()) <= {"eof", "reset"}


async def test_silence_is_a_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(silent) as address:
        tally = await until_failed(keepalive_posts, address, timeout=0.1)
    assert set(tally.kinds()) == {"timeout"}


async def test_an_answer_to_another_request_is_a_failure() -> None:
    async def mixed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"id": "somebody-else", "length": 200}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await reader.read()

    async with server(mixed) as address:
        tally = await until_failed(oneshot_posts, address)
    assert set(tally.kinds()) == {"mixed"}


async def test_a_refused_connection_is_a_failure() -> None:
    tally = await until_failed(oneshot_posts, Address("127.0.0.1", free_ports(1)[0]))
    assert set(tally.kinds()) == {"connect"}


async def test_a_503_is_a_failure() -> None:
    with knobs_app(error_rate=1.0) as app:
        tally = await until_failed(keepalive_posts, Address("127.0.0.1", app.port))
    assert tally.ok == 0
    assert set(tally.kinds()) == {"status"}


async def test_an_idle_connection_closed_by_the_server_is_replaced_without_a_failure() -> None:
    async def one_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(200)
        request_id = head.split(b"X-Request-Id: ")[1].split(b"\r\n")[0]
        body = b'{"id": "%b", "length": 200, "release": "v1"}' % request_id
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    tally, stop = Tally(), asyncio.Event()
    async with server(one_each) as address:
        client = keepalive_posts(address, tally, stop, think=0.05, timeout=5.0)
        task = asyncio.ensure_future(client)
        async with asyncio.timeout(10):
            while tally.ok < 4:
                await asyncio.sleep(0.01)
        stop.set()
        await task
    assert tally.failed == []


async def test_chunked_answers_are_read_whole() -> None:
    with knobs_app() as app:
        connection = await Connection.open(Address("127.0.0.1", app.port), 5.0)
        message = b"GET /sse?count=3&every=0.01 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        response = await connection.request(message, 5.0)
        assert response.body.count(b"data: ") == 3
        again = await connection.request(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 5.0)
        assert again.status == 200
        connection.close()


async def test_chunked_uploads_are_counted() -> None:
    with knobs_app() as app:
        connection = await Connection.open(Address("127.0.0.1", app.port), 5.0)
        head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        response = await connection.request(head + b"5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n", 5.0)
        assert b'"length": 8' in response.body
        connection.close()


async def test_a_websocket_that_the_app_closes_is_noted_and_opened_again() -> None:
    tally, stop = Tally(), asyncio.Event()
    port = free_ports(1)[0]
    with knobs_app("v1", port=port):
        address = Address("127.0.0.1", port)
        task = asyncio.ensure_future(websocket_echoes(address, tally, stop, every=0.01))
        await answered(tally, 3)
    with knobs_app("v2", port=port):
        await answered(tally, 3)
        stop.set()
        await task
    assert [(end.code, end.release) for end in tally.closed] == [(1001, "v1")]
    assert list(tally.releases) == ["v1", "v2"]


async def answered(tally: Tally, more: int) -> None:
    goal = tally.ok + more
    async with asyncio.timeout(10):
        while tally.ok < goal:
            await asyncio.sleep(0.01)


async def test_a_slow_upload_survives_the_apps_sigterm() -> None:
    tally, stop = Tally(), asyncio.Event()
    with knobs_app() as app:
        address = Address("127.0.0.1", app.port)
        upload = slow_uploads(address, tally, stop, seconds=0.6, size=3000, timeout=5.0)
        task = asyncio.ensure_future(upload)
        await asyncio.sleep(0.3)
        app.process.terminate()
        stop.set()
        await task
        code = await asyncio.to_thread(app.process.wait, 5)
    assert (tally.ok, tally.failed, code) == (1, [], 0)


async def load_site(upstream: App) -> tuple[Summary, Site]:
    with Site(upstream.port) as site:
        async with Load("127.0.0.1", site.port, tls_port=site.tls_port, mix=SMALL) as load:
            await load.wait_for(300)
            summary = await load.stop()
        return summary, site


async def test_all_clients_together_lose_nothing_through_a_quiet_site() -> None:
    with knobs_app("v1") as app:
        summary, _ = await load_site(app)
    assert summary.whole.failed == [], summary.text()
    assert set(summary.kinds) == {"keepalive", "oneshot", "http2", "websocket", "upload"}
    assert all(tally.ok > 0 for tally in summary.kinds.values()), summary.text()
    assert list(summary.whole.releases) == ["v1"]
    assert 0 < summary.whole.percentile(50) <= summary.whole.percentile(99)


async def test_http2_streams_that_a_reload_did_not_process_are_retried_and_none_is_lost() -> None:
    mix = Mix(keepalive=0, oneshot=0, websockets=0, uploads=0, http2_streams=16, think=0.0)
    with knobs_app("v1") as one, knobs_app("v2") as two, Site(one.port) as site:
        async with Load("127.0.0.1", site.port, tls_port=site.tls_port, mix=mix) as load:
            await load.wait_for(200)
            await asyncio.to_thread(site.change_upstream, two.port)
            # The old worker keeps a busy connection until its 1000 requests are over, then GOAWAY.
            async with asyncio.timeout(20):
                while "v2" not in load.so_far().releases:
                    await load.wait_for(50)
            summary = await load.stop()
    assert summary.whole.failed == [], summary.text()
    assert set(summary.whole.releases) == {"v1", "v2"}


def test_a_load_process_of_its_own_reports_as_json() -> None:
    with knobs_app("v1") as app:
        command = [
            sys.executable,
            "-m",
            "tests.load",
            "127.0.0.1",
            str(app.port),
            "--seconds",
            "0.3",
        ]
        settings = ["--set", "keepalive=2", "oneshot=1", "websockets=0", "uploads=0", "think=0.01"]
        done = subprocess.run(
            [*command, *settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=KNOBS_PY.parents[2],
            check=True,
            timeout=20,
        )
    report = json.loads(done.stdout)["kinds"]["keepalive"]
    assert report["failed"] == 0
    assert report["ok"] == len(report["samples"]) == report["releases"]["v1"]["count"]


async def test_the_loss_of_the_app_shows_as_failures() -> None:
    with knobs_app("v1") as app, Site(app.port) as site:
        async with Load("127.0.0.1", site.port, tls_port=site.tls_port, mix=SMALL) as load:
            await load.wait_for(50)
            app.process.kill()
            async with asyncio.timeout(10):
                while load.so_far().kinds()["status"] < 5:
                    await asyncio.sleep(0.01)
            summary = await load.stop()
    assert len(summary.whole.failed) >= 5
    assert "failed" in summary.text()


@pytest.mark.parametrize("run", [gunicorn_app, uvicorn_app], ids=["gunicorn", "uvicorn"])
async def test_real_servers_answer_the_same_requests(run) -> None:
    mix = Mix(keepalive=2, oneshot=1, websockets=0, uploads=0, think=0.0)
    with run("v7") as app:
        assert app.get("/ready")["release"] == "v7"
        async with Load("127.0.0.1", app.port, mix=mix) as load:
            await load.wait_for(50)
            summary = await load.stop()
    assert list(summary.whole.releases) == ["v7"]


def test_an_app_that_is_not_ready_yet_says_503_and_then_200() -> None:
    with knobs_app(ready_after=0.5) as app:
        with pytest.raises(OSError, match="503"):
            app.get("/ready")
        app.turn(ready_after=0)
        assert app.get("/ready")["ready"] is True
        app.turn(never_ready=True)
        with pytest.raises(OSError, match="503"):
            app.get("/ready")


def test_crashes_come_when_the_knobs_say_so() -> None:
    with knobs_app(crash_after_requests=2, crash_code=7) as app:
        assert [app.get("/")["requests"] for _ in range(2)] == [1, 2]
        with pytest.raises(OSError, match=r"closed|reset"):
            app.get("/")
        assert app.process.wait(5) == 7
    boot = subprocess.run(
        [sys.executable, str(KNOBS_PY), "--port", "1"],
        env={"KNOBS": '{"crash_at_boot": 5}'},
        capture_output=True,
        check=False,
        timeout=10,
    )
    assert boot.returncode == 5


def test_an_app_with_children_that_ignores_sigterm_lives_on_until_it_is_killed() -> None:
    with knobs_app(ignore_sigterm=True, children=2) as app:
        children = app.get("/")["children"]
        try:
            app.process.send_signal(signal.SIGTERM)
            assert len(children) == 2
            assert app.get("/live")["live"] is True
            app.process.kill()
            app.process.wait(5)
            assert all(alive(pid) for pid in children)
        finally:
            for pid in children:
                kill(pid)
        wait_until(lambda: not any(alive(pid) for pid in children), "the children are gone")


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(") ")[1][0] != "Z"
    except OSError:
        return False


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_sigterm_finishes_the_request_in_flight_and_exits_with_0() -> None:
    with knobs_app() as app:
        with socket.create_connection(("127.0.0.1", app.port), timeout=5) as client:
            client.sendall(b"GET /slow?seconds=0.4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(0.1)  # nothing shows from outside that the request is in flight
            app.process.terminate()
            answer = client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in answer
        assert app.process.wait(5) == 0


def test_assets_belong_to_one_release() -> None:
    with knobs_app("v3") as app:
        url = f"http://127.0.0.1:{app.port}/assets/app-"
        with urllib.request.urlopen(f"{url}v3.js", timeout=5) as answer:
            assert answer.read() == b"/* v3 */"
        with pytest.raises(OSError, match="404"):
            app.get("/assets/app-v2.js")
