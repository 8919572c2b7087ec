"""The mirror of the gate: which requests are copied, what the copy is, and that no user feels it."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from reld.core.model import Routing
from reld.nginx.counting import Counting
from reld.nginx.gate import Gate
from reld.nginx.settings import Route
from reld.nginx.shadow_lines import compared
from tests.contract.gate_support import (
    App,
    Request,
    a_gate,
    an_app,
    ask,
    blue,
    both,
    connect,
    green,
    load,
    until,
)


def able(old: App, new: App, share: float) -> Routing:
    return replace(both(old, new), shadow=share)


@contextlib.asynccontextmanager
async def mirroring(share: float = 1.0, **changes: object) -> AsyncIterator[tuple[Gate, App, App]]:
    """A gate that mirrors that share of the GETs of the one app to the other."""
    async with a_gate(**changes) as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7, [25])
        await load(gate, 1, able(old, new, share))
        gate.mirror(7, on=True)
        yield gate, old, new


async def asked(gate: Gate, count: int, path: str = "/") -> list[float]:
    """Seconds that each of so many users waited for the end of the connection, the fastest first."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        reader, writer = await connect(gate.settings.listen)
        # As a site's nginx asks that is left as it is: the connection ends the answer.
        writer.write(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert b" 200 " in answer.partition(b"\r\n")[0], answer
        assert b"old" in answer
        took.append(time.perf_counter() - began)
    return sorted(took)


def logged(gate: Gate) -> list[str]:
    return gate.settings.request_log.read_text().splitlines()


async def without_a_length(request: Request) -> bool:
    request.writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nold")
    await request.writer.drain()
    return True


async def test_about_its_share_of_the_gets_is_mirrored_and_users_see_live_alone():
    async with mirroring(0.2) as (gate, old, new):
        for _ in range(600):
            assert (await ask(gate.settings.listen)).name == "old"
        await until(lambda: len(new.seen) > 60)
        await asyncio.sleep(0.1)
        assert 60 < len(new.seen) < 180
        assert len(old.seen) == 600


async def test_the_copy_is_the_same_request_and_says_that_it_is_one():
    async with mirroring() as (gate, old, new):
        await ask(gate.settings.listen, "/a%20b/..%2Fc//d?x=1&y=%2f", Cookie="session=1")
        await until(lambda: new.seen)
        copy, original = new.seen[0], old.seen[0]
        assert (copy.method, copy.path) == (original.method, original.path)
        for name in ("host", "cookie"):
            assert copy.headers[name] == original.headers[name]
        assert copy.headers["x-relctl-shadow"] == "1"
        assert "content-length" not in copy.headers


async def test_no_user_can_say_that_a_request_is_a_copy():
    async with mirroring() as (gate, old, _):
        gate.mirror(7, on=False)
        await ask(gate.settings.listen, X_Relctl_Shadow="1")
        assert "x-relctl-shadow" not in old.seen[0].headers


async def test_nor_in_the_spellings_that_apps_cannot_tell_from_it():
    async with mirroring() as (gate, old, _):
        gate.mirror(7, on=False)
        reader, writer = await connect(gate.settings.listen)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nX_Relctl_Shadow: 1\r\nx-relctl_shadow: 1\r\n"
            b"X_RELCTL-SHADOW: 1\r\nX_Other: 1\r\n\r\n"
        )
        await reader.readline()
        writer.close()
        assert "x_other" in old.seen[0].headers
        assert not [name for name in old.seen[0].headers if "relctl" in name]


async def test_every_instance_of_the_candidate_gets_copies():
    async with (
        a_gate() as gate, an_app("old") as old, an_app("new") as new, an_app("new") as newer,
    ):  # fmt: skip
        gate.prepare_lanes(7)
        await load(gate, 1, Routing(blue(old), green(new, newer), 7, shadow=1.0))
        gate.mirror(7, on=True)
        for _ in range(20):
            assert (await ask(gate.settings.listen)).name == "old"
        await until(lambda: new.seen and newer.seen)


async def test_who_else_reaches_the_status_port_asks_the_candidate_for_nothing_but_gets():
    async with mirroring() as (gate, _, new):
        for path in ("/sink/pay", "/shadow/pay"):
            reply = await ask(gate.settings.status, path, "POST", b"x")
            assert reply.status == 403
        await asyncio.sleep(0.1)
        assert not new.seen


async def test_only_gets_without_a_body_are_mirrored_and_no_streams():
    async with mirroring() as (gate, old, new):
        await ask(gate.settings.listen, method="HEAD")
        await ask(gate.settings.listen, method="POST", body=b"x")
        await ask(gate.settings.listen, Accept="text/event-stream")
        reader, writer = await connect(gate.settings.listen)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        await reader.readline()
        writer.close()
        reader, writer = await connect(gate.settings.listen)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
        await reader.readline()
        writer.close()
        await ask(gate.settings.listen, "/last", Content_Length="0")
        await until(lambda: new.seen)
        await asyncio.sleep(0.1)
        assert [r.path for r in new.seen] == ["/last"]
        assert len(old.seen) == 6


async def test_the_next_request_obeys_the_file_and_the_first_lane_ends_it():
    async with mirroring() as (gate, _, new):
        await ask(gate.settings.listen)
        await until(lambda: new.seen)
        gate.mirror(7, on=False)
        await asked(gate, 20)
        gate.mirror(7, on=True)
        await gate.move(7, 25)
        assert not gate.mirrors(7)
        await gate.move(7, 0)
        await asked(gate, 20)
        await asyncio.sleep(0.1)
        assert all("x-relctl-shadow" in r.headers for r in new.seen)
        assert len(new.seen) == 1


async def test_copies_are_logged_apart_with_the_route_that_the_user_asked_for():
    routes = (Route("shop", "^/shop/"),)
    async with mirroring(routes=routes) as (gate, old, new):
        new.status = 500
        for _ in range(10):
            await ask(gate.settings.listen, "/shop/1")
        await until(lambda: sum("|shadow|" in line for line in logged(gate)) == 10)
        await until(lambda: sum("|plain|" in line for line in logged(gate)) == 10)
        lines, slots = logged(gate), ([old.address], [new.address])
        users = Counting(*slots).feed(lines)
        assert (users.requests, users.old.total, users.new.total, users.nonsense) == (10, 10, 0, 0)
        copies = Counting(*slots).feed(compared(lines))
        assert (copies.old.total, copies.new.total, copies.new.errors) == (10, 10, 10)
        assert [r.name for s in copies.samples for r in s.routes if r.new.requests][:1] == ["shop"]


async def test_a_candidate_that_hangs_is_dead_or_slow_delays_no_user():
    async with mirroring() as (gate, old, new):
        old.behave = without_a_length

        async def hangs(request: Request) -> bool:
            await asyncio.Event().wait()
            return True

        gate.mirror(7, on=False)
        usual = statistics.median(await asked(gate, 100))
        gate.mirror(7, on=True)
        new.behave = hangs
        hung = await asked(gate, 150)
        await new.die()
        dead = await asked(gate, 100)
        # Without the hops between it would be a second or more for each of them.
        for took in (hung, dead):
            assert statistics.median(took) < usual + 0.02
            assert took[int(len(took) * 0.95)] < 0.25


async def test_a_candidate_that_hangs_holds_a_hundred_connections_at_most():
    async with mirroring() as (gate, _, new):

        async def hangs(request: Request) -> bool:
            await asyncio.Event().wait()
            return True

        new.behave = hangs
        await asked(gate, 180)
        await asyncio.sleep(0.2)
        assert len(new.seen) == 100
        assert gate.left([new.address], 0).connections == 100


async def test_a_body_that_comes_after_its_head_is_read_though_nobody_wants_it():
    ended: list[str] = []

    async def in_two_writes(request: Request) -> bool:
        request.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n")
        try:
            await asyncio.sleep(0.05)
            request.writer.write(b"x" * 50_000)
            await request.writer.drain()
            ended.append("cut" if await request.reader.read() else "whole")
        except OSError:
            ended.append("cut")
        return True

    async with mirroring() as (gate, _, new):
        new.behave = in_two_writes
        await asked(gate, 3)
        gate.mirror(7, on=False)
        await until(lambda: len(ended) == 3)
        assert ended == ["whole"] * 3
