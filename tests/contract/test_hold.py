"""A gate whose requests wait for a word of reld: what they are afterwards, and whatever ends the wait."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable

from reld.core.commands import Command
from reld.core.machine import first_state
from reld.core.maintenance import Maintain
from reld.core.model import Closed, Maintenance, Routing
from reld.engine import Watcher
from reld.host.holding import Holding
from reld.nginx import hold
from reld.nginx.gate import Gate, LoadEnd
from reld.nginx.mark import read_back
from reld.nginx.render import render
from reld.nginx.settings import Static
from tests.contract.gate_support import (
    App,
    Reply,
    Request,
    a_gate,
    an_app,
    ask,
    blue,
    connect,
    free_address,
    load,
    read_reply,
    until,
)


@contextlib.asynccontextmanager
async def held(
    gate: Gate, routing: Routing, seconds: float = 20.0, most: int = 300, allow: str = ""
) -> AsyncIterator[Holding]:
    holding = Holding(gate.settings, most)
    await load(gate, 1, routing)
    holding.open()
    closed = Closed(hold=seconds, allow=(allow,) if allow else ())
    await load(gate, 2, dataclasses.replace(routing, maintenance=closed))
    try:
        yield holding
    finally:
        holding.close()


def begun(*asked: Awaitable[Reply]) -> list[asyncio.Future[Reply]]:
    return [asyncio.ensure_future(one) for one in asked]


async def test_requests_wait_and_then_reach_the_app_whole_and_once():
    body = os.urandom(300_000)
    async with an_app("v1") as app, a_gate() as gate:
        async with held(gate, Routing(blue(app))) as holding:
            listen = gate.settings.listen
            asked = []
            for number, (method, content) in enumerate(
                [("GET", b""), ("POST", body), ("PUT", b"x"), ("DELETE", b""), ("HEAD", b"")]
            ):
                asked += begun(ask(listen, f"/{number}?a=b", method, content))
                await until(lambda n=number: holding.waiting == n + 1)
            assert not app.seen
            released = time.monotonic()
            holding.close()
            replies = await asyncio.gather(*asked)
        assert time.monotonic() - released < 1.0
        assert {reply.status for reply in replies} == {200}
        assert sorted(r.path for r in app.seen) == [f"/{n}?a=b" for n in range(5)]
        by_method = {r.method: r.body for r in app.seen}
        assert by_method == {"GET": b"", "POST": body, "PUT": b"x", "DELETE": b"", "HEAD": b""}
        # Released, they do not wait again, and who comes now does not wait at all.
        assert (await ask(listen)).status == 200


async def test_those_who_speak_http_1_0_or_send_in_chunks_or_want_a_websocket_wait_like_all():
    async def echo(request: Request) -> bool:
        if "upgrade" not in request.headers:
            return False
        request.writer.write(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        request.writer.write(await request.reader.readexactly(5))
        await request.writer.drain()
        return True

    async with an_app("v1") as app, a_gate() as gate:
        app.behave = echo
        async with held(gate, Routing(blue(app))) as holding:
            chunks = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            said = (
                b"GET /old HTTP/1.0\r\n\r\n",
                b"POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks,
                b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            )
            connections = [await connect(gate.settings.listen) for _ in said]
            for (_, writer), text in zip(connections, said, strict=True):
                writer.write(text)
            await until(lambda: holding.waiting == 3)
            assert not app.seen
            holding.close()
            (old, _), (chunked, _), (stream, to_stream) = connections
            assert (await read_reply(old)).status == 200
            assert (await read_reply(chunked)).body == b"v1 5"
            assert b" 101 " in await stream.readuntil(b"\r\n\r\n")
            to_stream.write(b"hallo")
            assert await stream.readexactly(5) == b"hallo"
            for _, writer in connections:
                writer.close()


async def test_health_paths_and_who_is_let_through_do_not_wait():
    async with an_app("v1") as app, a_gate(health=("/ready",)) as gate:
        routing = Routing(blue(app))
        async with held(gate, routing, allow="192.0.2.0/24") as holding:
            listen = gate.settings.listen
            assert (await ask(listen, "/ready")).status == 200
            assert (await ask(listen, X_Forwarded_For="192.0.2.7")).status == 200
            assert (await ask(listen, "/.relctl-hold")).status == 404
            assert holding.waiting == 0


async def test_what_the_log_says_of_the_app_is_not_what_the_wait_was():
    async with an_app("v1") as app, a_gate() as gate:
        async with held(gate, Routing(blue(app))) as holding:
            asked = begun(ask(gate.settings.listen, "/x"))
            await until(lambda: holding.waiting == 1)
            await asyncio.sleep(0.5)
            holding.close()
            await asyncio.gather(*asked)
        await until(lambda: "|2|" in gate.settings.request_log.read_text())
        line = next(x for x in gate.settings.request_log.read_text().split("\n") if "|2|" in x)
        _, seconds, to_head, _, address, status, *_ = line.split("|")
        assert float(seconds) >= 0.4
        assert float(to_head) < 0.3
        assert (address, status) == (app.address, "200")


async def test_a_reld_that_says_nothing_holds_nobody_for_longer_than_was_asked():
    async with an_app("v1") as app, a_gate() as gate:
        async with held(gate, Routing(blue(app)), seconds=1.0) as holding:
            began = time.monotonic()
            assert (await ask(gate.settings.listen, "/", "POST", b"abc")).body == b"v1 3"
            assert 0.9 < time.monotonic() - began < 3.0
            await until(lambda: holding.waiting == 0)


async def test_without_reld_nobody_waits():
    async with an_app("v1") as app, a_gate() as gate:
        held_so = Routing(blue(app), maintenance=Closed(hold=20.0))
        await load(gate, 1, held_so)
        assert (await ask(gate.settings.listen, "/", "POST", b"abc")).body == b"v1 3"
        # As after a SIGKILL: a file that nobody listens at.
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(hold.place(gate.settings)))
        assert (await ask(gate.settings.listen)).status == 200
        holding = Holding(gate.settings)
        holding.open()
        asked = begun(ask(gate.settings.listen))
        await until(lambda: holding.waiting == 1)
        holding.close()
        assert (await asked[0]).status == 200


async def test_when_too_many_wait_all_go_on():
    full = asyncio.Event()
    async with an_app("v1") as app, a_gate() as gate:
        async with held(gate, Routing(blue(app)), most=5) as holding:
            holding.full = full.set
            asked = begun(*(ask(gate.settings.listen, f"/{n}") for n in range(8)))
            replies = await asyncio.gather(*asked)
            assert {r.status for r in replies} == {200}
            assert full.is_set()
            assert holding.waiting == 0


async def test_who_leaves_does_not_wait_any_more():
    async with an_app("v1") as app, a_gate() as gate:
        async with held(gate, Routing(blue(app))) as holding:
            _, writer = await connect(gate.settings.listen)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: holding.waiting == 1)
            writer.close()
            await until(lambda: holding.waiting == 0)
        assert not app.seen


async def test_a_gate_that_is_reloaded_while_they_wait_loses_none():
    async with an_app("v1") as app, a_gate() as gate:
        async with held(gate, Routing(blue(app))) as holding:
            asked = begun(*(ask(gate.settings.listen, "/", "POST", b"abc") for _ in range(20)))
            await until(lambda: holding.waiting == 20)
            await load(gate, 3, Routing(blue(app)))
            assert (await ask(gate.settings.listen)).status == 200
            holding.close()
            assert {r.body for r in await asyncio.gather(*asked)} == {b"v1 3"}


async def test_a_dead_app_is_a_502_after_the_wait_and_not_another_wait():
    async with an_app("v1") as app, a_gate() as gate:
        dead = App("dead", free_address())
        async with held(gate, Routing(blue(dead)), seconds=1.0):
            assert (await ask(gate.settings.listen)).status == 502
        assert not app.seen


async def test_files_from_disk_wait_too(tmp_path):
    settings = {"static": (Static("/assets/", "public"),)}
    async with an_app("v1") as app, a_gate(**settings) as gate:
        root = gate.settings.runtime.parent / "v1"
        (root / "public").mkdir(parents=True)
        (root / "public" / "a.js").write_text("one")
        gate.roots = (str(root),)
        async with held(gate, Routing(blue(app))) as holding:
            asked = begun(
                ask(gate.settings.listen, "/assets/a.js"), ask(gate.settings.listen, "/assets/b.js")
            )
            await until(lambda: holding.waiting == 2)
            holding.close()
            found, missing = await asyncio.gather(*asked)
            assert found.body == b"one"
            assert missing.name == "v1"


async def test_a_config_that_holds_is_read_back_and_nonsense_is_not_written():
    async with an_app("v1") as app, a_gate() as gate:
        routing = Routing(blue(app), maintenance=Closed(hold=2.5))
        assert read_back(render(gate.settings, 5, routing)) == (5, routing)
        for seconds in (31.0, -1.0, float("nan"), float("inf")):
            ended = await gate.load(1, Routing(maintenance=Closed(hold=seconds)), 5.0)
            assert ended.what is LoadEnd.REFUSED


async def test_nobody_but_the_gate_gets_at_the_socket():
    async with a_gate() as gate:
        await load(gate, 1, Routing())
        holding = Holding(gate.settings)
        holding.open()
        assert hold.place(gate.settings).stat().st_mode & 0o777 == 0o660
        holding.close()
        assert not hold.place(gate.settings).exists()


class Said:
    """An engine, as far as it is needed here."""

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []
        self.commands: list[Command] = []

    def watch(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)

    def command(self, command: Command) -> None:
        self.commands.append(command)


async def test_the_state_ends_the_wait_and_too_many_end_the_maintenance():
    async with a_gate() as gate:
        await load(gate, 1, Routing())
        holding, engine = Holding(gate.settings, 2), Said()
        holding.follow(engine)
        plain = first_state("web", "boot-1")
        holds = dataclasses.replace(plain, maintenance=Maintenance(Closed(hold=9.0)))
        holding.open()
        path = str(hold.place(gate.settings))
        first, to_first = await asyncio.open_unix_connection(path)
        await until(lambda: holding.waiting == 1)
        engine.watchers[0](plain, holds)
        assert holding.waiting == 1
        engine.watchers[0](holds, plain)
        assert (await first.read()).startswith(b"HTTP/1.1 204 ")
        assert not engine.commands
        holding.open()
        both = [await asyncio.open_unix_connection(path) for _ in range(2)]
        assert all([(await one.read()).startswith(b"HTTP/1.1 204 ") for one, _ in both])
        assert engine.commands == [Maintain(None)]
        for writer in (to_first, *(to for _, to in both)):
            writer.close()
