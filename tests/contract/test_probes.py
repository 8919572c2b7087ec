from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time

import pytest

from reld.probes.probe import probe
from reld.probes.smoke import SmokeCheck, smoke
from reld.probes.spec import ExecProbe, HttpProbe, TcpProbe

ENV = {"PATH": "/usr/bin:/bin"}


class App:
    """Says exactly the given bytes, one text per connection, and remembers what it was asked."""

    def __init__(self, *answers: bytes, delays: tuple[float, ...] = (), stay: bool = False):
        self.answers = list(answers)
        self.delays = list(delays)
        self.stay = stay
        self.requests: list[bytes] = []
        self.open: set[asyncio.Task] = set()

    async def __call__(self, reader, writer):
        self.open.add(asyncio.current_task())
        try:
            await self.answer(reader, writer)
        except asyncio.IncompleteReadError:
            pass  # connected and said nothing
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def closed(self):
        """Every connection was seen to its end."""
        if self.open:
            await asyncio.wait(self.open, timeout=2)

    async def answer(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = [h for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        self.requests.append(head + body)
        if self.delays:
            await asyncio.sleep(self.delays.pop(0))
        with contextlib.suppress(ConnectionError):
            writer.write(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
            await writer.drain()
            if self.stay:
                await reader.read()


@contextlib.asynccontextmanager
async def serving(app: App):
    server = await asyncio.start_server(app, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
        await app.closed()


async def asked(spec: HttpProbe, *answers: bytes, **how):
    async with serving(App(*answers, **how)) as address:
        return await probe(spec, address)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def test_an_answer_with_200_is_ready():
    result = await asked(HttpProbe("/ready"), OK)
    assert (result.ok, result.status, result.body) == (True, 200, "hello")
    assert result.detail == "GET /ready: 200 OK"


async def test_the_request_says_what_a_proxied_one_would():
    app = App(OK)
    async with serving(app) as address:
        await probe(HttpProbe("/ready", host="www.example.com"), address)
    head = app.requests[0].decode()
    assert head.startswith("GET /ready HTTP/1.1\r\n")
    lines = head.lower().split("\r\n")
    assert "host: www.example.com" in lines
    assert "x-forwarded-proto: https" in lines
    assert "connection: close" in lines
    assert "user-agent: relctl" in lines


async def test_own_headers_replace_the_usual_ones_and_a_body_is_sent():
    app = App(OK)
    spec = HttpProbe(
        "/login",
        "POST",
        headers=(("user-agent", "me"), ("Content-Length", "9"), ("X-Token", "t")),
        body="user=é",
    )
    async with serving(app) as address:
        assert (await probe(spec, address)).ok
    head, _, body = app.requests[0].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert body.decode() == "user=é"
    assert b"user-agent: me" in lines
    assert b"user-agent: relctl" not in lines
    assert lines.count(b"content-length: 7") == 1
    assert b"content-length: 9" not in lines
    assert b"x-token: t" in lines


async def test_another_status_is_told_with_the_body_s_first_200_characters():
    body = b"x" * 500
    answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 500\r\n\r\n" + body
    result = await asked(HttpProbe("/ready"), answer)
    assert not result.ok
    assert result.detail == "GET /ready: 503 Service Unavailable, wanted 200–299"
    assert result.body == "x" * 200


async def test_the_wanted_statuses_are_the_only_ones():
    spec = HttpProbe("/", status=(302, 401))
    assert (await asked(spec, b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n")).ok
    result = await asked(spec, OK)
    assert result.detail == "GET /: 200 OK, wanted 302 or 401"


async def test_a_redirect_is_not_followed_but_its_target_is_known():
    app = App(b"HTTP/1.1 301 Moved\r\nLocation: https://x/ready\r\nContent-Length: 0\r\n\r\n")
    async with serving(app) as address:
        result = await probe(HttpProbe("/ready"), address)
    assert (result.ok, result.status, result.location) == (False, 301, "https://x/ready")
    assert len(app.requests) == 1


async def test_contains_looks_into_the_body():
    assert (await asked(HttpProbe("/", contains="ell"), OK)).ok
    result = await asked(HttpProbe("/", contains="bye"), OK)
    assert result.detail == "GET /: 200 OK, but 'bye' is not in the answer"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello and what does not belong to it",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
    ],
)
async def test_every_way_to_frame_a_body_is_understood(answer):
    result = await asked(HttpProbe("/"), answer)
    assert (result.ok, result.body) == (True, "hello"), result.detail


async def test_a_connection_that_stays_open_is_not_waited_for():
    result = await asked(HttpProbe("/", timeout=5), OK, stay=True)
    assert result.ok
    assert result.seconds < 2


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_answers_without_a_body_are_understood(method):
    status = b"200 OK" if method == "HEAD" else b"204 No Content"
    answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\n"
    assert (await asked(HttpProbe("/", method, timeout=3), answer, stay=True)).ok


async def test_a_huge_body_is_not_read_to_its_end():
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"y" * 9_000_000
    result = await asked(HttpProbe("/"), endless)
    assert (result.ok, result.body) == (True, "y" * 200)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await asked(HttpProbe("/"), chunked + b"fffff\r\n" + b"z" * 1_048_575)).ok


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "closed without an answer"),
        (b"HTTP/1.1 20", "cut off"),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            "the answer is not HTTP: it begins with b'SSH-2.0-OpenSSH_9.2'",
        ),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "a header without a colon"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "Content-Length is 'x'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "cut off after 5 of 9 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", "cut off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101 Switching"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", "too long"),
        (
            b"HTTP/1.1 200 OK\r\n" + b"X: aaaaaaaaaaaaaaaa\r\n" * 5000 + b"\r\n",
            "longer than 64 KiB",
        ),
    ],
)
async def test_what_is_no_answer_is_said(answer, why):
    result = await asked(HttpProbe("/"), answer)
    assert not result.ok
    assert why in result.detail


async def test_no_answer_in_time_is_said():
    result = await asked(HttpProbe("/ready", timeout=0.1), OK, delays=(0.5,))
    assert result.detail == "GET /ready: no answer within 100 ms"
    assert result.seconds < 0.4


async def test_a_refused_connection_is_said():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    result = await probe(HttpProbe("/"), address)
    assert result.detail == f"GET /: connection refused at {address}: nothing listens there"
    assert result.status is None


@pytest.mark.parametrize(
    "spec",
    [
        HttpProbe("/ready\r\nX: y"),
        HttpProbe("ready"),
        HttpProbe("/", "GET /"),
        HttpProbe("/", host="a\r\nb"),
        HttpProbe("/", headers=(("a b", "c"),)),
    ],
)
async def test_nothing_is_smuggled_into_a_request(spec):
    app = App(OK)
    async with serving(app) as address:
        result = await probe(spec, address)
    assert "cannot be asked" in result.detail
    assert app.requests == []


async def test_an_app_on_a_unix_socket_is_asked(tmp_path):
    path = str(tmp_path / "app.sock")
    assert "there is no socket" in (await probe(HttpProbe("/"), f"unix:{path}")).detail
    app = App(OK)
    server = await asyncio.start_unix_server(app, path)
    assert (await probe(TcpProbe(), f"unix:{path}")).ok
    assert (await probe(HttpProbe("/"), f"unix:{path}")).ok
    server.close()
    await server.wait_closed()
    await app.closed()


async def test_whether_a_port_accepts_is_told():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert (await probe(TcpProbe(), address)).detail == "connect: accepted"
    assert not (await probe(TcpProbe(), address)).ok


async def test_a_probe_that_is_cancelled_leaves_no_connection():
    async with serving(App(OK, delays=(0.2,))) as address:
        task = asyncio.create_task(probe(HttpProbe("/", timeout=5), address))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.2)


def a_command(tmp_path, script: str, timeout: float = 5.0) -> ExecProbe:
    return ExecProbe(("sh", "-c", script), tmp_path, ENV, None, timeout)


async def test_a_command_that_ends_with_0_is_ready(tmp_path):
    assert (await probe(a_command(tmp_path, "exit 0"), "")).detail == "sh: exit code 0"


async def test_a_command_s_failure_is_told_with_its_output(tmp_path):
    result = await probe(a_command(tmp_path, "echo no db >&2; exit 4"), "")
    assert (result.ok, result.detail) == (False, "sh: exit code 4: no db")


async def test_a_command_that_hangs_is_ended(tmp_path):
    result = await probe(a_command(tmp_path, "echo hm; sleep 60", 0.2), "")
    assert result.detail == "sh: not over after 200 ms: hm"


async def test_a_command_that_does_not_exist_is_told_with_the_path(tmp_path):
    result = await probe(ExecProbe(("no-such",), tmp_path, ENV), "")
    assert "cannot start no-such: command not found in PATH=/usr/bin:/bin" in result.detail


async def test_a_smoke_check_tells_which_answer_was_slow():
    app = App(OK, delays=(0.0, 0.0, 0.2))
    check = SmokeCheck("login", HttpProbe("/login", "POST"), times=5, within=0.1)
    async with serving(app) as address:
        result = await smoke(check, address)
    assert not result.ok
    assert result.detail.startswith("login: answer 3 of 5 took 2")
    assert result.detail.endswith(" ms, limit 100 ms")
    assert len(app.requests) == 3


async def test_warm_up_calls_only_need_to_answer():
    bad = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
    app = App(bad, bad, OK, delays=(0.15, 0.15))
    check = SmokeCheck("home", HttpProbe("/"), times=2, warm=2, within=0.1)
    async with serving(app) as address:
        result = await smoke(check, address)
    assert result.ok, result.detail
    assert result.detail.startswith("home: 2 answers, the slowest took ")
    assert len(app.requests) == 4


async def test_a_warm_up_call_without_an_answer_fails_the_check():
    check = SmokeCheck("home", HttpProbe("/", timeout=0.1), warm=2)
    async with serving(App(OK, delays=(0.3,))) as address:
        result = await smoke(check, address)
    assert result.detail == "home: warm-up call 1 of 2: GET /: no answer within 100 ms"


async def test_a_smoke_check_tells_which_answer_was_wrong():
    app = App(OK, b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nboom")
    check = SmokeCheck("home", HttpProbe("/"), times=3)
    async with serving(app) as address:
        result = await smoke(check, address)
    assert result.detail == "home: answer 2 of 3: GET /: 500 Oops, wanted 200–299"
    assert (result.status, result.body) == (500, "boom")


async def test_a_smoke_command_gets_the_address(tmp_path):
    spec = a_command(tmp_path, 'echo "$RELCTL_URL"; test "$RELCTL_URL" = http://127.0.0.1:21003')
    result = await smoke(SmokeCheck("buy", spec), "127.0.0.1:21003")
    assert result.ok, result.detail
    assert result.body == "http://127.0.0.1:21003"


async def test_a_warm_up_command_may_fail_but_not_hang(tmp_path):
    flag = "test -e was || { touch was; exit 1; }"
    assert (await smoke(SmokeCheck("buy", a_command(tmp_path, flag), warm=1), "x:1")).ok
    hangs = SmokeCheck("buy", a_command(tmp_path, "sleep 9", 0.1), warm=1)
    assert "not over after" in (await smoke(hangs, "x:1")).detail


async def test_a_probe_is_cheap():
    async with serving(App(OK)) as address:
        began = time.process_time()
        for _ in range(50):
            assert (await probe(HttpProbe("/ready"), address)).ok
        # Both ends of 50 probes; one live instance is asked every 5 s.
        assert (time.process_time() - began) / 50 < 0.005


async def test_a_link_of_the_apps_leads_a_probe_nowhere(tmp_path):
    asked = []

    async def secret(reader, writer):
        asked.append(await reader.readline())
        writer.close()

    server = await asyncio.start_unix_server(secret, tmp_path / "secret.sock")
    link = tmp_path / "app.sock"
    link.symlink_to("secret.sock")
    os.lchown(link, 65534, 65534)
    for spec in (HttpProbe("/"), TcpProbe()):
        result = await probe(spec, f"unix:{link}")
        assert not result.ok
        assert "is a link of another user's" in result.detail
    assert not asked
    os.lchown(link, 0, 0)
    await probe(HttpProbe("/"), f"unix:{link}")
    assert asked
    server.close()
