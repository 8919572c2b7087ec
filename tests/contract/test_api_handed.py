"""Descriptors that are handed over the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from reld.api import handed
from reld.errors import BadRequest, Refused
from tests.contract.api_support import Running, served, until


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with served() as running:
        yield running


class Client:
    """Asks with `Expect: 100-continue`; blocking calls are made in a thread."""

    def __init__(self, api: Running, target: str, body: Any) -> None:
        content = json.dumps(body).encode()
        self._head = (
            f"POST {target} HTTP/1.1\r\nHost: reld\r\nConnection: close\r\n"
            f"Expect: 100-continue\r\nContent-Length: {len(content)}\r\n\r\n"
        ).encode() + content
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(api.path))

    async def ask(self) -> bytes:
        self.sock.sendall(self._head)
        return await asyncio.to_thread(self.sock.recv, 65536)

    async def hand(self, *descriptors: int) -> tuple[int, Any]:
        socket.send_fds(self.sock, [b"d"], descriptors)
        return await self.answer()

    async def answer(self) -> tuple[int, Any]:
        raw = b""
        while more := await asyncio.to_thread(self.sock.recv, 65536):
            raw += more
        self.sock.close()
        head, _, body = raw.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_what_is_handed_over_arrives_and_is_closed_afterwards(api: Running):
    theirs, ours = os.pipe()
    out, talk = os.pipe()
    os.write(ours, b"an archive")
    client = Client(api, "/v1/releases", {"release": "v2", "note": "by hand"})
    assert await client.ask() == CONTINUE
    before = len(os.listdir("/proc/self/fd"))
    assert await client.hand(theirs, talk) == (200, {"release": "v2", "message": "there"})
    assert os.read(out, 100) == b"an archive"
    assert [(row.command, row.target, row.note, row.told) for row in api.audit] == [
        ("unpack", "v2", "by hand", "begins"),
        ("unpack", "v2", "by hand", "there"),
    ]
    await until(lambda: len(os.listdir("/proc/self/fd")) < before)
    for one in (theirs, ours, out, talk):
        os.close(one)


async def test_what_may_not_be_done_is_told_before_anything_is_handed_over(api: Running):
    api.hands.trouble = Refused("cannot unpack v2: it is there")
    client = Client(api, "/v1/releases", {"release": "v2"})
    assert (await client.ask()).startswith(b"HTTP/1.1 409 ")
    client.sock.close()
    assert [(row.command, row.outcome) for row in api.audit] == [("unpack", "refused")]


@pytest.mark.parametrize("count", [0, 1])
async def test_too_few_descriptors_are_refused(api: Running, count: int):
    nothing = os.open(os.devnull, os.O_RDONLY)
    client = Client(api, "/v1/releases", {"release": "v2"})
    assert await client.ask() == CONTINUE
    if count:
        status, body = await client.hand(nothing)
    else:
        client.sock.send(b"d")
        status, body = await client.answer()
    assert (status, body["error"]["code"]) == (400, "bad-request")
    assert "ssh -L" in body["error"]["hint"]
    os.close(nothing)


async def test_too_many_are_refused_and_none_of_them_stays(api: Running):
    nothing = os.open(os.devnull, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    client = Client(api, "/v1/releases", {"release": "v2"})
    assert await client.ask() == CONTINUE
    status, body = await client.hand(*[nothing] * 253)
    assert (status, body["error"]["message"]) == (
        400, "cannot do that: 253 descriptors came, not 2",
    )  # fmt: skip
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    os.close(nothing)


def lingering() -> tuple[int, list[socket.socket]]:
    """A TCP socket that takes ten seconds to be closed by whoever is the last to have it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1)
    end = socket.create_connection(listener.getsockname())
    peer, _ = listener.accept()
    end.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            end.send(b"x" * 65536)
    end.setblocking(True)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 10))
    return end.detach(), [listener, peer]


async def lasted() -> float:
    """Seconds that the event loop was busy with one thing, at most, in half a second or more."""
    worst, last, end = 0.0, time.monotonic(), time.monotonic() + 0.5
    while last < end:
        await asyncio.sleep(0.01)
        worst, last = max(worst, time.monotonic() - last), time.monotonic()
    return worst


@pytest.mark.parametrize("asked_for", [True, False])
async def test_nobody_makes_reld_wait_for_the_end_of_his_descriptors(api: Running, asked_for: bool):
    slow, peers = lingering()
    nothing = os.open(os.devnull, os.O_RDWR)
    client = Client(api, "/v1/releases", {"release": "v2"})
    if asked_for:
        assert await client.ask() == CONTINUE
        theirs, ours = os.pipe()
        os.close(ours)
        socket.send_fds(client.sock, [b"d"], [theirs, slow])
        os.close(theirs)
    else:
        socket.send_fds(client.sock, [b"GET / HTTP/1.1\r\n"], [slow] * 253)
    os.close(slow)
    assert await lasted() < 5
    if not asked_for:
        assert client.sock.recv(100) == b""
    for one in (*peers, client.sock):
        one.close()
    os.close(nothing)


async def test_descriptors_that_never_come_are_not_waited_for_for_ever(
    api: Running, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(handed, "PATIENCE", 0.1)
    client = Client(api, "/v1/run", {"argv": ["true"]})
    assert await client.ask() == CONTINUE
    status, _ = await client.answer()
    assert status == 400


async def test_a_client_that_leaves_is_noticed(api: Running):
    nothing = os.open(os.devnull, os.O_RDWR)
    client = Client(api, "/v1/run", {"argv": ["sleep", "600"]})
    assert await client.ask() == CONTINUE
    socket.send_fds(client.sock, [b"d"], [nothing] * 3)
    await until(lambda: [row.told for row in api.audit] == ["begins"])
    client.sock.close()
    await asyncio.wait_for(api.hands.left.wait(), 10)
    await until(lambda: [row.told for row in api.audit] == ["begins", "left"])
    assert api.audit[0].arguments == '{"argv":["sleep","600"]}'
    os.close(nothing)


async def test_a_client_that_leaves_instead_of_handing_over_costs_nothing(api: Running):
    client = Client(api, "/v1/run", {"argv": ["true"]})
    assert await client.ask() == CONTINUE
    client.sock.close()
    await until(lambda: [row.code for row in api.audit] == ["client-left"])


@pytest.mark.parametrize(
    "body",
    [
        {}, [], {"argv": []}, {"argv": "true"}, {"argv": [""]}, {"argv": ["a", 1]}, {"argv": ["a\0b"]},
        {"argv": ["a"] * 1001}, {"argv": ["a"], "terminal": "yes"}, {"argv": ["a"], "release": "../v1"},
        {"argv": ["a"], "user": "root"}, {"argv": ["rm", "\udcff"]}, {"argv": ["\ud800"]},
        {"argv": ["sh", "-c", "x" * 8192]},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(body: Any):
    with pytest.raises(BadRequest):
        handed.run_request(body)


@pytest.mark.parametrize("body", [{}, {"release": ".v2"}, {"release": "v2", "path": "/etc"}])
def test_a_release_needs_a_name_and_nothing_else(body: Any):
    with pytest.raises(BadRequest):
        handed.unpack_request(body)


def test_a_terminal_says_what_it_is_like_in_plain_words():
    assert handed.run_request({"argv": ["a"], "terminal": True, "term": "xterm-256color"}).term
    assert not handed.run_request({"argv": ["a"], "terminal": True, "term": "x\ny"}).term
