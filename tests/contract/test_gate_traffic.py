"""What a request meets: which slot, how often, and what passes unchanged."""

from __future__ import annotations

import asyncio
import collections
import time

import pytest

from reld.core.model import Routing
from reld.errors import GateError
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
    read_reply,
)


async def names(address: str, count: int, **headers: str) -> collections.Counter[str]:
    replies = [await ask(address, **headers) for _ in range(count)]
    return collections.Counter(reply.name for reply in replies)


async def test_with_no_slot_the_gate_answers_503_and_says_when_to_come_back():
    async with a_gate() as gate:
        await load(gate, 1, Routing())
        reply = await ask(gate.settings.listen, method="POST", body=b"x" * 100_000)
        assert (reply.status, reply.headers["retry-after"]) == (503, "5")


async def test_each_lane_is_one_hundredth_of_the_traffic():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7, [25])
        await load(gate, 1, both(old, new))
        assert await names(gate.settings.listen, 50) == {"old": 50}
        await gate.move(7, 25)
        seen = await names(gate.settings.listen, 1000)
        assert 180 < seen["new"] < 320
        await gate.move(7, 100)
        assert await names(gate.settings.listen, 50) == {"new": 50}
        await gate.move(7, 0)
        assert await names(gate.settings.listen, 50) == {"old": 50}


async def test_a_lane_move_takes_less_than_5_ms_and_the_next_request_obeys():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        took = []
        for share, name in [(100, "new"), (0, "old")] * 10:
            began = time.perf_counter()
            await gate.move(7, share)
            took.append(time.perf_counter() - began)
            assert (await ask(gate.settings.listen)).name == name
        assert sorted(took)[10] < 0.005


async def test_lanes_that_the_workers_cannot_read_are_noticed():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        (gate.settings.runtime / "lanes/7/100").rename(gate.settings.runtime / "lanes/7/gone")
        (gate.settings.runtime / "lanes/7/100").mkdir()
        with pytest.raises(GateError, match="does not obey: lane 99 at share 100 goes to blue"):
            await gate.move(7, 100)


async def test_requests_are_dealt_to_all_instances_of_a_slot():
    async with a_gate() as gate, an_app("a") as a, an_app("b") as b, an_app("c") as c:
        await load(gate, 1, Routing(blue(a, b, c)))
        seen = await names(gate.settings.listen, 300)
        assert min(seen[name] for name in "abc") > 60


async def test_a_dead_instance_of_a_slot_loses_nothing():
    async with a_gate() as gate, an_app("a") as a, an_app("b") as b:
        await load(gate, 1, Routing(blue(a, b)))
        await a.die()
        assert await names(gate.settings.listen, 50) == {"b": 50}


@pytest.mark.parametrize(("share", "left"), [(0, "new"), (100, "old")])
async def test_a_dead_slot_is_answered_by_the_other_while_both_are_named(share, left):
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        await gate.move(7, share)
        await (old if left == "new" else new).die()
        assert await names(gate.settings.listen, 30) == {left: 30}
        # Nothing was sent on the connection that was refused: even a POST may be tried again.
        reply = await ask(gate.settings.listen, method="POST", body=b"x" * 500_000)
        assert (reply.status, reply.body) == (200, f"{left} 500000".encode())


async def hang_up(request: Request) -> bool:
    request.writer.transport.abort()
    return True


async def test_a_request_that_kills_the_app_is_tried_twice_at_most():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        await gate.move(7, 100)
        old.behave = new.behave = hang_up
        assert (await ask(gate.settings.listen)).status == 502
        assert (len(old.seen), len(new.seen)) == (1, 1)


async def test_a_post_that_was_sent_is_never_sent_again():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        await gate.move(7, 100)
        new.behave = hang_up
        assert (await ask(gate.settings.listen, method="POST", body=b"pay")).status == 502
        new.behave, new.status = None, 503
        assert (await ask(gate.settings.listen, method="POST", body=b"pay")).status == 503
        assert (len(old.seen), len(new.seen)) == (0, 2)


async def test_the_shield_answers_failures_of_the_candidate_from_the_live_slot():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        await gate.move(7, 100)
        new.status = 500
        assert await names(gate.settings.listen, 10) == {"old": 10}
        assert len(new.seen) == 10


async def test_the_shield_can_be_put_down_and_up_without_a_reload():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        await gate.move(7, 100)
        new.status = 500
        gate.unshield(7)
        assert (await ask(gate.settings.listen)).name == "new"
        gate.shield(7)
        assert (await ask(gate.settings.listen)).name == "old"


async def test_a_failure_of_the_live_slot_is_not_hidden():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        old.status = 500
        assert (await ask(gate.settings.listen)).status == 500
        assert len(new.seen) == 0


async def test_an_asset_that_one_release_lacks_comes_from_the_other():
    async with a_gate(assets=("/assets/",)) as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        old.missing = new.missing = ("/assets/none.js", "/page")
        old.missing += ("/assets/new.js",)
        assert (await ask(gate.settings.listen, "/assets/new.js")).name == "new"
        assert (await ask(gate.settings.listen, "/assets/none.js")).status == 404
        assert (await ask(gate.settings.listen, "/page")).name == "old"
        await load(gate, 2, Routing(blue(old)))
        assert (await ask(gate.settings.listen, "/assets/new.js")).status == 404


async def test_a_client_stays_with_its_slot_and_only_moves_forward():
    async with a_gate(split="client") as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        firsts = [await ask(gate.settings.listen) for _ in range(40)]
        cookies = [reply.headers["set-cookie"].partition(";")[0] for reply in firsts]
        before: set[str] = set()
        for share in (30, 60, 100):
            await gate.move(7, share)
            replies = [await ask(gate.settings.listen, Cookie=cookie) for cookie in cookies]
            for cookie, reply in zip(cookies, replies, strict=True):
                assert reply.headers.get("set-cookie", cookie).partition(";")[0] == cookie
            now = {c for c, reply in zip(cookies, replies, strict=True) if reply.name == "new"}
            assert before <= now
            before = now
        assert len(before) == 40


async def test_host_uri_and_headers_pass_unchanged_in_both_directions():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        reply = await ask(
            gate.settings.listen,
            "/a%2Fb//c;d?x=%20&y=../z",
            X_Forwarded_For="9.9.9.9",
            X_Real_IP="8.8.8.8",
        )
        request = old.seen[0]
        assert request.path == "/a%2Fb//c;d?x=%20&y=../z"
        assert request.headers["host"] == "www.example.com"
        assert request.headers["x-forwarded-for"] == "9.9.9.9"
        assert request.headers["x-real-ip"] == "8.8.8.8"
        assert "x-forwarded-proto" not in request.headers
        assert reply.headers["x-accel-redirect"] == "/files/a"
        assert reply.headers["server"] == "app"


async def test_head_and_a_long_cookie_pass():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        reply = await ask(gate.settings.listen, method="HEAD", Cookie="c=" + "x" * 30_000)
        assert (reply.status, len(old.seen[0].headers["cookie"])) == (200, 30_002)


async def test_a_chunked_request_passes():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        reader, writer = await connect(gate.settings.listen)
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        )
        writer.write(b"2\r\nde\r\n0\r\n\r\n")
        assert (await read_reply(reader)).body == b"old 5"
        writer.close()


async def test_expect_100_continue_is_answered_before_the_body():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        reader, writer = await connect(gate.settings.listen)
        writer.write(
            b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        async with asyncio.timeout(5):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"abc")
        assert (await read_reply(reader)).body == b"old 3"
        writer.close()


async def test_a_large_upload_passes():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        reply = await ask(gate.settings.listen, method="POST", body=b"x" * 20_000_000)
        assert reply.body == b"old 20000000"


async def test_a_slow_upload_streams_to_the_app_so_that_a_drain_can_see_it():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        began = asyncio.Event()

        async def first_bytes(request: Request) -> bool:
            assert await request.reader.readexactly(3) == b"abc"
            began.set()
            request.headers["content-length"] = "3"
            return False

        old.behave = first_bytes
        reader, writer = await connect(gate.settings.listen)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        async with asyncio.timeout(5):
            await began.wait()
        assert gate.left([old.address], 0).connections == 1
        writer.write(b"def")
        assert (await read_reply(reader)).status == 200
        writer.close()


async def echo(request: Request) -> bool:
    assert request.headers["connection"] == "upgrade"
    request.writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    )
    while data := await request.reader.read(100):
        request.writer.write(data)
    return True


async def open_websocket(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await connect(address)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    async with asyncio.timeout(5):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_a_websocket_outlives_reloads_and_its_worker_counts_as_old_until_it_ends():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        await load(gate, 1, Routing(blue(old)))
        old.behave = echo
        reader, writer = await open_websocket(gate.settings.listen)
        await load(gate, 2, Routing(green(new)))
        writer.write(b"still here")
        async with asyncio.timeout(5):
            assert await reader.readexactly(10) == b"still here"
            assert gate.left([old.address], 2) == (1, 1)
            assert gate.left([old.address], 1) == (1, 0)
            writer.close()
            while gate.left([old.address], 2) != (0, 0):
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*"])
async def test_events_arrive_as_they_are_sent(accept):
    async with a_gate() as gate, an_app("old") as old:
        go_on = asyncio.Event()

        async def events(request: Request) -> bool:
            request.writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n"
            )
            await go_on.wait()
            request.writer.write(b"data: 2\n\n")
            return True

        old.behave = events
        await load(gate, 1, Routing(blue(old)))
        reader, writer = await connect(gate.settings.listen)
        writer.write(f"GET / HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())
        async with asyncio.timeout(5):
            await reader.readuntil(b"data: 1\n\n")
            go_on.set()
            await reader.readuntil(b"data: 2\n\n")
        writer.close()


async def test_an_app_that_is_silent_for_too_long_gets_a_504_but_not_on_an_event_stream():
    async with a_gate(timeout=0.2) as gate, an_app("old") as old:

        async def late(request: Request) -> bool:
            await asyncio.sleep(0.5)
            return False

        old.behave = late
        await load(gate, 1, Routing(blue(old)))
        assert (await ask(gate.settings.listen)).status == 504
        assert (await ask(gate.settings.listen, Accept="text/event-stream")).status == 200


async def hammer(address: str, stop: asyncio.Event, good: list[int], method: str) -> None:
    """One connection after the other, as a site's nginx without upstream keep-alive makes them.

    It says keep-alive, and takes each answer's word for whether the connection lives on.
    """
    while not stop.is_set():
        reply = await ask(address, method=method, Connection="keep-alive")
        assert reply.status == 200
        assert reply.headers["connection"] == "close"
        good[0] += 1


async def test_20_reloads_and_40_lane_moves_lose_no_request():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7, [50])
        await load(gate, 1, Routing(blue(old)))
        stop, good = asyncio.Event(), [0]
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                method = "POST" if number % 2 else "GET"
                group.create_task(hammer(gate.settings.listen, stop, good, method))
            for number in range(10):
                await load(gate, 2 * number + 2, both(old, new))
                for share in (50, 100, 50, 0):
                    await gate.move(7, share)
                await load(gate, 2 * number + 3, Routing(blue(old)))
            stop.set()
        assert good[0] > 500
        assert len(old.seen) + len(new.seen) == good[0]


async def test_an_app_on_a_unix_socket_is_served_and_its_connections_are_counted():
    async with a_gate() as gate:
        app = App("unix")
        path = gate.settings.runtime / "app.sock"
        app.server = await asyncio.start_unix_server(app.serve, path)
        path.chmod(0o666)
        app.address = f"unix:{path}"
        app.behave = echo
        await load(gate, 1, Routing(blue(app)))
        _, writer = await open_websocket(gate.settings.listen)
        assert gate.left([app.address], 0).connections == 1
        writer.close()
        app.behave = None
        assert (await ask(gate.settings.listen)).name == "unix"
        await app.die()
