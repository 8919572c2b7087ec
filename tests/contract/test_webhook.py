"""A real server on the other side, which does everything that one can do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from reld.config import Notify
from reld.telling import resolver, webhook
from reld.telling.message import Message
from reld.telling.target import NotTold
from reld.telling.webhook import Webhook

MESSAGE = Message("end", "done", "info", "v2 serves", "now", "web", "vm", "1")
SECRET_PATH = "/T000/s3cret?key=s3cret"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Hook:
    """Answers as it is told to, and keeps what it got."""

    def __init__(self, answer: bytes | None, scheme: str = "http") -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.scheme = scheme
        self.port = 0
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode().lower().split("\r\n")
            length = next(int(x.split(":")[1]) for x in lines if x.startswith("content-length:"))
            self.requests.append(head + await reader.readexactly(length))
            if self.answer is None:  # hangs, until the client has enough
                await reader.read()
            else:
                writer.write(self.answer)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    def url(self, host: str = "127.0.0.1", path: str = SECRET_PATH) -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


@contextlib.asynccontextmanager
async def hook(answer, tls: ssl.SSLContext | None = None):
    made = Hook(answer, "https" if tls else "http")
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*made.serving)


async def tell(notify: Notify, patience: float = 10.0) -> str:
    return await Webhook(notify, patience).tell(MESSAGE)


async def refused(notify: Notify, patience: float = 10.0) -> NotTold:
    with pytest.raises(NotTold) as error:
        await tell(notify, patience)
    assert "s3cret" not in error.value.why
    assert error.value.__cause__ is None
    return error.value


async def test_a_message_arrives_as_it_is_with_the_headers_that_were_asked_for():
    async with hook(OK) as there:
        said = await tell(Notify(there.url(), headers=(("Authorization", "Bearer x"),)))
    assert said == "200 OK"
    (request,) = there.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(f"POST {SECRET_PATH} HTTP/1.1\r\n".encode())
    assert b"\r\nAuthorization: Bearer x\r\n" in head
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert b"X-Relctl-Signature" not in head
    assert json.loads(body)["text"] == "v2 serves"


async def test_slack_gets_text_alone():
    async with hook(OK) as there:
        await tell(Notify(there.url(), format="slack"))
    assert json.loads(there.requests[0].partition(b"\r\n\r\n")[2]) == {
        "text": "*web* on vm: v2 serves"
    }


async def test_a_signature_is_the_hmac_of_the_body_with_the_secret_of_the_file(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    async with hook(OK) as there:
        await tell(Notify(there.url(), secret_file=str(secret)))
    head, _, body = there.requests[0].partition(b"\r\n\r\n")
    wanted = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert f"\r\nX-Relctl-Signature: sha256={wanted}".encode() in head


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (None, 0o600, "cannot read {}: No such file or directory"),
        ("", 0o600, "{} is empty"),
        ("\n \n", 0o600, "{} is empty"),
        ("s3cret", 0o644, "others can read {}: chmod o= {}"),
    ],
)
async def test_a_secret_that_is_none_is_not_used(tmp_path, content, mode, why):
    secret = tmp_path / "file"
    if content is not None:
        secret.write_text(content)
        secret.chmod(mode)
    async with hook(OK) as there:
        found = await refused(Notify(there.url(), secret_file=str(secret)))
    assert found.why == why.format(secret, secret)
    assert there.requests == []


async def test_a_pipe_in_the_place_of_the_secret_holds_nobody(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    found = await refused(Notify("http://127.0.0.1:1/", secret_file=str(tmp_path / "pipe")))
    assert "is not a regular file" in found.why


async def test_a_name_is_looked_up():
    async with hook(OK) as there:
        assert await tell(Notify(there.url("localhost"))) == "200 OK"


async def test_a_name_that_there_is_not_is_said_so(monkeypatch):
    def unknown(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "s3cret.example: not known")

    monkeypatch.setattr(resolver.socket, "getaddrinfo", unknown)
    assert (await refused(Notify("https://s3cret.example/x"))).why == (
        "its name cannot be looked up"
    )


async def test_a_name_server_that_is_silent_holds_nobody(monkeypatch):
    import threading

    let_go = threading.Event()
    monkeypatch.setattr(resolver.socket, "getaddrinfo", lambda *_: let_go.wait(30) and [])
    target = Webhook(Notify("https://slow.example/x"), 0.05)
    with pytest.raises(NotTold, match="no answer within"):
        await target.tell(MESSAGE)
    target._patience = 10.0
    with pytest.raises(NotTold, match="the look-up of its name hangs"):
        await target.tell(MESSAGE)
    let_go.set()


async def test_a_server_that_is_not_there_is_said_so():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    found = await refused(Notify(f"http://127.0.0.1:{port}{SECRET_PATH}"))
    assert (found.why, found.final) == ("cannot connect: Connection refused", False)


@pytest.mark.parametrize(
    ("answer", "why", "final"),
    [
        (b"HTTP/1.1 500 s3cret\r\nContent-Length: 0\r\n\r\n", "500 Internal Server Error", False),
        (b"HTTP/1.1 429 x\r\nRetry-After: 7\r\n\r\n", "429 Too Many Requests", False),
        (b"HTTP/1.1 404 x\r\nContent-Length: 6\r\n\r\ns3cret", "404 Not Found", True),
        (b"HTTP/1.1 403 x\r\n\r\n", "403 Forbidden", True),
        (b"HTTP/1.1 799 x\r\n\r\n", "799", False),
        (
            b"HTTP/1.1 302 x\r\nLocation: http://127.0.0.1:1/s3cret\r\nContent-Length: 0\r\n\r\n",
            "302 Found: it leads elsewhere, which is not followed",
            True,
        ),
        (b"", "it closed the connection without an answer", False),
        (b"s3cret\r\n\r\n", "it answers something that is no HTTP", False),
        (b"\x00\xff" * 5000, "it answers something that is no HTTP", False),
        (b"HTTP/1.1 200 OK\r\nX: " + b"s3cret" * 20_000 + b"\r\n\r\n", "no HTTP", False),
    ],
)
async def test_what_is_no_good_answer_is_said_in_our_own_words(answer, why, final):
    async with hook(answer) as there:
        found = await refused(Notify(there.url()))
    assert why in found.why
    assert found.final is final
    assert len(there.requests) == 1


async def test_it_says_how_long_it_wants_to_be_left_alone_within_reason():
    async with hook(b"HTTP/1.1 429 x\r\nRetry-After: 7\r\n\r\n") as there:
        assert (await refused(Notify(there.url()))).after == 7.0
        there.answer = b"HTTP/1.1 429 x\r\nRetry-After: 99999\r\n\r\n"
        assert (await refused(Notify(there.url()))).after == 120.0
        there.answer = b"HTTP/1.1 503 x\r\nRetry-After: -1e9\r\n\r\n"
        assert (await refused(Notify(there.url()))).after == 0.0


async def test_a_server_that_hangs_is_left():
    async with hook(None) as there:
        assert (await refused(Notify(there.url()), 0.2)).why == "no answer within 0.2 s"


async def test_a_server_that_sends_for_ever_is_not_listened_to():
    async with hook(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\nxxx") as there:
        assert await tell(Notify(there.url())) == "200 OK"


async def test_a_certificate_that_nobody_knows_is_not_trusted(tmp_path):
    async with hook(OK, certificate(tmp_path)) as there:
        found = await refused(Notify(there.url()))
    assert found.why.startswith("its certificate is not trusted: self")
    assert there.requests == []


async def test_what_speaks_no_tls_is_not_trusted():
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(OK)
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = await refused(Notify(f"https://127.0.0.1:{port}{SECRET_PATH}"))
    server.close()
    assert found.why == "it speaks no TLS that can be trusted"


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with hook(OK) as there:
        assert await tell(Notify(there.url())) == "200 OK"


def test_errors_of_the_client_are_never_quoted():
    source = Path(webhook.__file__).read_text()
    assert "str(error)" not in source
    assert "{error}" not in source


def certificate(folder: Path) -> ssl.SSLContext:
    key, public = folder / "key.pem", folder / "cert.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-keyout", key, "-out", public, "-days", "2", "-subj", "/CN=127.0.0.1"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, key)
    return context
