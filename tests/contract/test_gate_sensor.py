"""From a request to what is counted: a real gate, its log, the tail and the counting."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from reld.core.model import Routing
from reld.core.verdict.sample import RouteTally, Tally
from reld.nginx import connections, master, thinning
from reld.nginx import gate as gate_module
from reld.nginx.counting import Counted, Counting, Seen
from reld.nginx.gate import Gate
from reld.nginx.requests import Tail
from reld.nginx.settings import Route
from tests.contract.gate_support import (
    App,
    Request,
    a_gate,
    an_app,
    ask,
    both,
    connect,
    load,
    until,
)

HOUR = 3600.0
NONE = Tally()


def flat(tally: Tally) -> tuple[int, int, int]:
    return tally.requests, tally.failures, tally.refusals


@dataclass
class Sensor:
    """Everything that was counted so far, in one."""

    tail: Tail
    counting: Counting
    old: Tally = NONE
    new: Tally = NONE
    users: tuple[Seen, Seen] = (Seen(), Seen())
    requests: int = 0
    lines: int = 0
    unattributed: int = 0
    nonsense: int = 0
    beat: int | None = None
    routes: dict[str, RouteTally] = field(default_factory=dict)

    def read(self) -> None:
        while lines := self.tail.read_raw():
            self.add(self.counting.feed(lines))

    def add(self, found: Counted) -> None:
        for sample in found.samples:
            self.old, self.new = added(self.old, sample.old), added(self.new, sample.new)
            for route in sample.routes:
                had = self.routes.get(route.name, RouteTally(route.name))
                self.routes[route.name] = RouteTally(
                    route.name, added(had.old, route.old), added(had.new, route.new)
                )
        self.users = (self.users[0] + found.old, self.users[1] + found.new)
        self.requests += found.requests
        self.lines += found.lines
        self.unattributed += found.unattributed
        self.nonsense += found.nonsense
        self.beat = found.beat if found.beat is not None else self.beat

    async def lines_are(self, count: int) -> None:
        """All lines of that many requests are here, and no more come."""
        async with asyncio.timeout(10):
            while self.lines < count:
                self.read()
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.25)
        self.read()
        assert (self.lines, self.nonsense) == (count, 0)


def added(one: Tally, other: Tally) -> Tally:
    times = dict(one.times)
    for number, count in other.times:
        times[number] = times.get(number, 0) + count
    counts = (a + b for a, b in zip(flat(one), flat(other), strict=True))
    return Tally(*counts, times=tuple(sorted(times.items())))


@dataclass
class World:
    gate: Gate
    old: App
    new: App
    sensor: Sensor

    async def ask(self, path: str = "/", method: str = "GET", **headers: str) -> int:
        return (await ask(self.gate.settings.listen, path, method, **headers)).status


@contextlib.asynccontextmanager
async def a_world(share: int = 100, **changes: object) -> AsyncIterator[World]:
    async with a_gate(**changes) as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        await gate.move(7, share)
        success = {route.name: route.success for route in gate.settings.routes if route.success}
        sticky = gate.settings.split == "client"
        counting = Counting([old.address], [new.address], success, sticky=sticky)
        yield World(
            gate, old, new, Sensor(Tail(gate.settings.request_log, uid=gate.owner.uid), counting)
        )


async def hang(request: Request) -> bool:
    await asyncio.sleep(HOUR)
    return True


async def die_in_mid_body(request: Request) -> bool:
    request.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    await request.writer.drain()
    return True


async def stream_events(request: Request) -> bool:
    request.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    for number in range(3):
        request.writer.write(f"data: {number}\n\n".encode())
        await request.writer.drain()
        await asyncio.sleep(0.02)
    return True


async def upgrade(request: Request) -> bool:
    request.writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    )
    request.writer.write(await request.reader.readexactly(4))
    await request.writer.drain()
    return True


async def test_a_request_that_was_saved_is_a_failure_of_one_slot_and_a_success_of_the_other():
    async with a_world() as world:
        world.new.status = 502
        assert await world.ask() == 200
        await world.sensor.lines_are(1)
        assert flat(world.sensor.new) == (1, 1, 0)
        assert flat(world.sensor.old) == (0, 0, 0)
        assert world.sensor.users == (
            Seen(total=1, attempts=1),
            Seen(saved=1, attempts=1, failures=1),
        )


async def test_a_slot_that_is_not_there_has_failed():
    async with a_world() as world:
        await world.new.die()
        assert await world.ask(method="POST") == 200
        await world.sensor.lines_are(1)
        assert flat(world.sensor.new) == (1, 1, 0)


async def test_a_request_that_hangs_ends_as_a_failure():
    async with a_world(timeout=0.3) as world:
        world.new.behave = hang
        assert await world.ask(method="POST") == 504
        assert await world.ask() == 200
        await world.sensor.lines_are(2)
        assert flat(world.sensor.new) == (2, 2, 0)
        assert world.sensor.new.times == ()
        assert world.sensor.users[1] == Seen(total=1, errors=1, saved=1, attempts=2, failures=2)


async def test_a_client_that_gives_up_waiting_is_counted_as_slow():
    async with a_world() as world:
        world.new.behave = hang
        for patience in (0.05, 1.1):
            reader, writer = await connect(world.gate.settings.listen)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1), patience)
            writer.close()
        await world.sensor.lines_are(2)
        assert flat(world.sensor.new) == (2, 0, 0)
        assert world.sensor.new.timed == world.sensor.new.slower(70) == 1


async def test_an_event_stream_is_counted_and_not_timed():
    async with a_world() as world:
        world.new.behave = stream_events
        reader, writer = await connect(world.gate.settings.listen)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
        assert b"data: 2" in await reader.read()
        writer.close()
        await world.sensor.lines_are(1)
        assert world.sensor.new == Tally(1)


async def test_a_websocket_is_counted_and_not_timed():
    async with a_world() as world:
        world.new.behave = upgrade
        reader, writer = await connect(world.gate.settings.listen)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"ping")
        assert await reader.read() == b"ping"
        writer.close()
        await world.sensor.lines_are(1)
        assert world.sensor.new == Tally(1)


async def test_an_upload_is_counted_once_where_it_went():
    async with a_world() as world:
        reply = await ask(world.gate.settings.listen, "/", "POST", b"x" * 1_000_000)
        assert reply.body == b"new 1000000"
        await world.sensor.lines_are(1)
        assert flat(world.sensor.new) == (1, 0, 0)
        assert world.sensor.new.timed == 1


async def test_an_app_that_dies_in_mid_body_is_not_told_by_the_log():
    """A limit of the sensor, held here so that it is known: nginx logs the status that was sent."""
    async with a_world() as world:
        world.new.behave = die_in_mid_body
        reader, writer = await connect(world.gate.settings.listen)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.read()).endswith(b"half")
        writer.close()
        await world.sensor.lines_are(1)
        assert flat(world.sensor.new) == (1, 0, 0)


async def test_when_nothing_lives_each_slot_has_its_own_attempt():
    async with a_world() as world:
        await world.new.die()
        await world.old.die()
        assert await world.ask() == 502
        await world.sensor.lines_are(1)
        assert flat(world.sensor.new) == (1, 1, 0)
        assert flat(world.sensor.old) == (0, 0, 0)
        assert world.sensor.users == (
            Seen(total=1, errors=1, attempts=1, failures=1),
            Seen(attempts=1, failures=1),
        )


async def test_what_the_gate_answers_itself_is_nobodys():
    async with a_world() as world:
        reader, writer = await connect(world.gate.settings.listen)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")  # no Host
        assert b" 400 " in await reader.readline()
        writer.close()
        await load(world.gate, 2, Routing())
        assert await world.ask() == 503
        await world.sensor.lines_are(2)
        assert world.sensor.unattributed == 2


async def test_routes_are_told_apart_by_their_regexes():
    routes = (
        Route("checkout", "^/checkout(?:/|$)"),
        Route("login", r"^/login\b", (302,)),
        Route("file.v1", r'\.(?:png|"q")$'),
        Route("odd", r"^/a b\\;\{#x\}\ttab$"),
        Route("digits", r"^/[0-9]{3}$"),
    )
    async with a_world(routes=routes) as world:
        for path in (
            "/checkout?x=1",
            "/checkout/2",
            "/checkouts",
            "/login",
            "/x.png",
            "/x.%22q%22",
            "/a%20b%5C;%7B%23x%7D%09tab",
            "/123",
            "/1234",
        ):
            assert await world.ask(path) == 200
        await world.sensor.lines_are(9)
        found = {name: flat(route.new) for name, route in world.sensor.routes.items()}
        assert found == {
            "checkout": (2, 0, 0),
            "login": (1, 1, 0),
            "file.v1": (2, 0, 0),
            "odd": (1, 0, 0),
            "digits": (1, 0, 0),
        }
        assert world.sensor.users[1].errors == 1


async def test_a_client_is_known_by_its_lane_cookie():
    async with a_world(split="client") as world:
        for name in ("a" * 32, "b" * 32):
            for _ in range(5):
                await world.ask(Cookie=f"relctl_web={name}")
        await world.sensor.lines_are(10)
        assert world.sensor.new.requests == 2
        assert world.sensor.users[1].total == 10


async def test_thinning_leaves_out_nothing_but_dull_lines_and_they_are_all_accounted_for():
    routes = (Route("login", "^/login", (302,)),)
    async with a_world(share=50, routes=routes) as world:
        thinning.on(world.gate.settings.thin)
        chance = random.Random(1)
        sent = dict.fromkeys(("new", "old", "old 500", "old 404", "old login"), 0)

        def counted(name: str) -> Callable[[Request], Awaitable[bool]]:
            async def answer(request: Request) -> bool:
                sent[name] += 1
                status = request.path.split("/")[-1]
                if name == "old" and (status != "200"):
                    sent["old login" if "login" in request.path else f"old {status}"] += 1
                request.writer.write(
                    f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
                )
                await request.writer.drain()
                return True

            return answer

        world.old.behave = counted("old")
        world.new.behave = counted("new")
        total = 3000

        async def client() -> None:
            nonlocal total
            while total > 0:
                total -= 1
                path = chance.choices(
                    ["/200", "/500", "/404", "/login/302"], weights=[80, 5, 5, 10]
                )[0]
                await world.ask(path, "POST")

        await asyncio.gather(*(client() for _ in range(16)))
        await asyncio.sleep(0.3)
        world.sensor.read()
        sensor = world.sensor
        assert sensor.new.requests == sent["new"]
        assert sensor.users[0].errors == sensor.old.failures == sent["old 500"]
        assert sensor.old.refusals == sent["old 404"]
        assert sensor.routes["login"].old.requests == sent["old login"]
        # The others were thinned to a tenth of some 1,200: 40 % are more than four standard deviations.
        whole = sent["old 500"] + sent["old 404"] + sent["old login"]
        assert abs((sensor.old.requests - whole) / (sent["old"] - whole) - 1) < 0.4
        assert sensor.lines < sensor.requests
        # Both slots are timed alike: a tenth of each.
        assert 0.04 < sensor.new.timed / sent["new"] < 0.2
        assert 0.04 < sensor.old.timed / sent["old"] < 0.2

        thinning.off(world.gate.settings.thin)
        had = sensor.lines
        for _ in range(20):
            await world.ask("/200")
        await sensor.lines_are(had + 20)


async def test_a_beat_comes_back_as_its_number_and_is_no_request():
    async with a_world() as world:
        for number in (7, 8, 123_456_789_012_345):
            assert await world.gate.beat(number)
        async with asyncio.timeout(5):
            while world.sensor.beat != 123_456_789_012_345:
                world.sensor.read()
                await asyncio.sleep(0.01)
        assert (world.sensor.lines, world.sensor.nonsense) == (0, 0)


async def test_without_a_release_and_without_a_gate_there_is_an_answer_to_a_beat():
    async with a_gate() as gate:
        assert not await gate.beat(1)
        await load(gate, 1, Routing())
        assert await gate.beat(2)
        sensor = Sensor(Tail(gate.settings.request_log, uid=gate.owner.uid), Counting([]))
        async with asyncio.timeout(5):
            while sensor.beat != 2:
                sensor.read()
                await asyncio.sleep(0.01)


async def test_every_request_is_counted_once_over_rotations_restarts_and_readers(monkeypatch):
    monkeypatch.setattr(gate_module, "ROTATE_AT", 8_000)
    async with a_world(share=50) as world:
        gate, sensor = world.gate, world.sensor
        sent, stop, rotations, inode = (
            0,
            asyncio.Event(),
            0,
            gate.settings.request_log.stat().st_ino,
        )

        async def client() -> None:
            nonlocal sent
            while not stop.is_set():
                assert await world.ask() == 200
                sent += 1

        clients = [asyncio.create_task(client()) for _ in range(4)]
        for generation in range(2, 8):
            await asyncio.sleep(0.2)
            sensor.read()
            gate.tend_log(sensor.tail)
            # A reld that comes back has the position of the last checkpoint, and that is where it
            # had counted to.
            sensor.tail = Tail(gate.settings.request_log, sensor.tail.position, gate.owner.uid)
            if generation % 2:
                await load(gate, generation, both(world.old, world.new))
            await until(gate.settings.request_log.exists)
            now = gate.settings.request_log.stat().st_ino
            rotations, inode = rotations + (now != inode), now
        stop.set()
        await asyncio.gather(*clients)
        await sensor.lines_are(sent)
        assert (sensor.old.requests + sensor.new.requests, rotations > 1) == (sent, True)


async def test_a_restart_of_the_gate_loses_no_line():
    async with a_world() as world:
        for _ in range(20):
            await world.ask()
        found = master.find(world.gate.settings)
        assert found is not None
        handle = os.pidfd_open(found.pid)
        master.send(found, signal.SIGQUIT)
        await until(lambda: master.start_ticks(found.pid) is None)
        os.close(handle)
        await world.gate.start()
        for _ in range(20):
            await world.ask()
        await world.sensor.lines_are(40)


@pytest.mark.parametrize("what", ["workers", "all of the gate"])
async def test_a_kill_takes_only_what_was_not_written_yet(what):
    async with a_world() as world:
        for _ in range(50):
            await world.ask()
        await world.sensor.lines_are(50)  # so all is written
        found = master.find(world.gate.settings)
        assert found is not None
        before = [worker.process for worker in master.workers(found)]
        killed = before if what == "workers" else [found, *before]
        for process in killed:
            master.send(process, signal.SIGKILL)
        await until(lambda: all(master.start_ticks(p.pid) != p.start_ticks for p in killed))
        await world.gate.start()
        await until(lambda: connections.listeners(world.gate.settings.listen))
        for _ in range(50):
            await world.ask()
        await world.sensor.lines_are(100)


async def test_a_reader_that_was_away_reads_all_that_it_missed_once():
    async with a_world() as world:
        for _ in range(30):
            await world.ask()
        await world.sensor.lines_are(30)
        world.sensor.tail = Tail(
            world.gate.settings.request_log, world.sensor.tail.position, world.gate.owner.uid
        )
        for _ in range(30):
            await world.ask()
        await world.sensor.lines_are(60)


async def test_requests_that_hang_are_seen_long_before_they_are_in_the_log():
    async with a_world() as world:
        new = world.new.address
        assert await world.ask() == 200  # this connection to the app is kept and used again
        world.new.behave = hang
        # What was sent in the same tick of the kernel's clock (10 ms at most) as something was
        # received cannot be told from an idle connection.
        await asyncio.sleep(0.05)
        clients = [asyncio.create_task(world.ask()) for _ in range(5)]
        await until(lambda: connections.waiting([new])[new] == 5)
        assert connections.waiting([world.old.address]) == {world.old.address: 0}
        assert world.sensor.tail.read_raw() == [] or world.sensor.lines == 0
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await until(lambda: connections.waiting([new])[new] == 0)


async def test_a_silent_websocket_and_an_idle_connection_wait_for_nothing():
    async with a_world() as world:
        new = world.new.address
        world.new.behave = upgrade
        reader, writer = await connect(world.gate.settings.listen)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"pi")
        await asyncio.sleep(connections.PATIENCE + 0.3)
        assert connections.per_address([new])[new] == 1
        assert connections.waiting([new])[new] == 0
        writer.close()


@pytest.mark.parametrize("address", ["unix:/nowhere.sock", "127.0.0.1:1"])
def test_nobody_waits_where_nobody_is(address):
    assert connections.waiting([address]) == {address: 0}


async def test_the_connections_of_a_process_to_its_database_are_counted():
    async with an_app("database") as database, an_app("app") as app:
        pool = [await connect(database.address) for _ in range(3)]
        visitor = await connect(app.address)
        await until(lambda: len(app.tasks) == 1 and len(database.tasks) == 3)
        served = [app.address, database.address]
        found = connections.peers([os.getpid()], served)
        assert found[database.address] == 3
        assert found[app.address] == 1  # our own end of it; what the app serves is left out
        assert sum(found.values()) == 4
        for _, writer in [*pool, visitor]:
            writer.close()


async def test_waiting_is_cheap_enough_for_every_second():
    async with an_app("app") as app:
        app.behave = hang
        many = [await connect(app.address) for _ in range(300)]
        loop = asyncio.get_running_loop()
        began = loop.time()
        connections.waiting([app.address])
        assert loop.time() - began < 0.1
        for _, writer in many:
            writer.close()


async def test_only_the_ports_that_were_asked_for_are_looked_at():
    async with an_app("a") as one, an_app("b") as other, an_app("c") as third:
        one.behave = other.behave = hang
        visitors = [await connect(a.address) for a in (one, one, other, third)]
        for _, writer in visitors:
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
        asked = [one.address, other.address, third.address, "[::1]:9", "unix:/x.sock"]
        await until(lambda: sum(connections.waiting(asked).values()) == 3)
        assert connections.waiting(asked) == dict(zip(asked, (2, 1, 0, 0, 0), strict=True))
        assert connections.waiting([other.address]) == {other.address: 1}
        assert connections.waiting([]) == {}
        for _, writer in visitors:
            writer.close()
