"""Long connections of a slot that leaves are closed one by one, and nobody else is."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

import pytest

from tests.apps.knobs import parse_frame
from tests.load.http1 import Address
from tests.load.load import Mix
from tests.load.websocket import masked, shake_hands
from tests.rig import LoadInThread, Rig, fast, wait_for

CLIENTS = 60
PACED = 'websockets = { keep = "500ms", close_over = "2s" }'


@dataclass(frozen=True)
class End:
    at: float
    release: str
    unfinished: bool  # a part of a frame had come, or an echo was due


@dataclass
class Clients:
    """They talk now and then, note when they were closed, and come back at once."""

    port: int
    count: int
    ends: list[End] = field(default_factory=list)
    now: dict[int, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks = [
            asyncio.run_coroutine_threadsafe(self._client(n), self._loop) for n in range(self.count)
        ]
        wait_for(lambda: len(self.now) == self.count, 20, "not all are connected")
        return self

    def __exit__(self, *exception: object) -> None:
        for task in self._tasks:
            task.cancel()
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def on(self, release: str) -> int:
        return sum(1 for r in list(self.now.values()) if r == release)

    async def _client(self, number: int) -> None:
        await asyncio.sleep(number * 0.005)
        while True:
            try:
                reader, writer, release = await shake_hands(Address("127.0.0.1", self.port))
            except Exception as error:  # a failure of any kind is one
                self.failures.append(repr(error))
                await asyncio.sleep(0.1)
                continue
            self.now[number] = release
            try:
                unfinished = await self._talk(reader, writer, number)
                self.ends.append(End(time.monotonic(), release, unfinished))
            finally:
                writer.close()

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> bool:
        buffer, sent, echoed = bytearray(), 0, 0
        with suppress(OSError):
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.9 + number % 7 / 10):
                        while data := await reader.read(4096):
                            buffer += data
                            while (found := parse_frame(buffer)) is not None:
                                del buffer[: found[2]]
                                echoed += found[0] == 0x1
                    break
                sent += 1
                writer.write(masked(0x1, b"hello"))
        return bool(buffer) or echoed < sent


@contextmanager
def a_download(port: int) -> Iterator[socket.socket]:
    """A long ordinary answer of the live slot, on its way."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /slow?seconds=4 HTTP/1.1\r\nHost: x\r\n\r\n")
        yield client


def steady(ends: list[End], over: float, times: float = 1.0) -> None:
    """No second has much more than its share; `times` more where there is something to catch up with."""
    first = min(e.at for e in ends)
    seconds = Counter(int(e.at - first) for e in ends)
    share = len(ends) / over
    assert max(seconds.values()) <= share * times * 1.3 + 3, sorted(seconds.items())
    assert max(e.at for e in ends) - first > over * 0.7, sorted(seconds.items())


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(gate=PACED, rest=fast(steps=[100], bake="0s", drain="200ms", drain_max="8s")) as rig:
        rig.live_v1("v2", "v3")
        yield rig


def test_websockets_of_the_old_slot_are_closed_one_by_one_and_nothing_else_is(rig: Rig):
    mix = Mix(keepalive=4, oneshot=4, http2=0, websockets=0, uploads=1, upload_seconds=2.0)
    with (
        Clients(rig.listen, CLIENTS) as clients,
        a_download(rig.listen) as client,
        LoadInThread(rig.listen, None, mix) as load,
    ):
        load.wait_for(50)
        begun = rig.relctl_begun("switch", "v2", "--json")
        left = rig.wait_status(lambda s: s["rollout"] and s["rollout"]["streams"] == CLIENTS)
        assert left["rollout"]["phase"] == "draining"
        since = time.monotonic()
        out, err = begun.communicate(timeout=60)
        assert begun.returncode == 0, out + err
        assert client.recv(4096).startswith(b"HTTP/1.1 200"), "a long plain answer was cut"
        summary = load.stop()
        wait_for(lambda: clients.on("v2") == CLIENTS, 10, "not all have come back")
        assert not clients.failures
        ends = [e for e in clients.ends if e.release == "v1"]
        assert len(ends) == CLIENTS
        steady(ends, 2.0)
        assert min(e.at for e in ends) - since > 0.3
        # What a client says in the very moment of its close may be lost, as with any close.
        assert sum(e.unfinished for e in ends) <= 2
    assert not summary.whole.failed, summary.text()
    told = rig.receipt(2)["drain"]
    assert (told["closed"], told["cut"]) == (CLIENTS, 0)
    assert 2.4 < told["seconds"] < 7.0


def test_after_a_rollback_nobody_is_kept_on_the_release_that_was_bad(rig: Rig):
    with Clients(rig.listen, 1):  # the first comes before: it has the live release, and keeps it
        live = rig.status()["release"]
        rig.edit("steps = [100]", "steps = [50, 100]")
        rig.edit('step_time = "300ms"', 'step_time = "60s"')
        rig.edit('keep = "500ms", close_over = "2s"', 'keep = "5m", close_over = "2s"')
        rig.edit('drain_max = "8s"', "")
        number = int(rig.relctl("switch", "v3", "--no-wait").out)
        rig.wait_share(50)
        with Clients(rig.listen, 40) as clients:
            taken = clients.on("v3")
            assert taken > 5
            began = time.monotonic()
            answer = rig.relctl("rollback")
            assert answer.code == 0, answer.text
            assert time.monotonic() - began < 10
            wait_for(lambda: clients.on(live) == 40, 5, "not all have come back")
            ends = [e for e in clients.ends if e.release == "v3"]
            assert len(ends) == taken == len(clients.ends)
            steady(ends, 2.0)
            assert not clients.failures
    assert rig.receipt(number)["drain"]["closed"] == taken


def test_a_reld_that_was_killed_goes_on_where_it_was(rig: Rig):
    rig.edit("steps = [50, 100]", "steps = [100]")
    rig.edit('keep = "5m", close_over = "2s"', 'keep = "500ms", close_over = "3s"')
    live = rig.status()["release"]
    other = "v1" if live != "v1" else "v2"
    with Clients(rig.listen, 40) as clients:
        number = int(rig.relctl("switch", other, "--no-wait").out)
        wait_for(lambda: clients.on(other) >= 12, 20, "nobody is closed")
        rig.kill_reld()
        rig.start_reld()
        rig.wait_idle()
        wait_for(lambda: clients.on(other) == 40, 10, "not all have come back")
        steady(clients.ends, 3.0, times=2.0)
        assert not clients.failures
    told = rig.receipt(number)["drain"]
    assert told["cut"] == 0
    assert 35 <= told["closed"] <= 40


def test_an_instance_that_changes_places_lets_its_websockets_go_one_by_one():
    paced = 'websockets = { keep = "100ms", close_over = "1s" }\ntimeout = "1s"'
    rest = fast(steps=[100], surge=1, bake="0s", drain="200ms", drain_max="60s")
    mix = Mix(keepalive=4, oneshot=4, http2=0, websockets=0)
    with Rig(instances=3, gate=paced, rest=rest) as rig:
        rig.live_v1("v2")
        with Clients(rig.listen, 12) as clients, LoadInThread(rig.listen, None, mix) as load:
            load.wait_for(20)
            began = time.monotonic()
            begun = rig.relctl_begun("switch", "v2", "--json")
            rig.wait_status(
                lambda s: s["rollout"] and "of v1 after 0.2 s" in (s["rollout"]["waiting"] or "")
            )
            out, err = begun.communicate(timeout=60)
            assert begun.returncode == 0, out + err
            assert time.monotonic() - began < 30
            summary = load.stop()
            wait_for(lambda: clients.on("v2") == 12, 10, "not all have come back")
            assert not clients.failures
            ends = [e for e in clients.ends if e.release == "v1"]
            assert len(ends) >= 12
            moments = {round(e.at, 1) for e in ends}
            assert len(moments) >= 8, sorted(moments)  # three instances leave
        assert not summary.whole.failed, summary.text()
        told = rig.receipt(2)["drain"]
        assert told["cut"] == 0
        assert told["closed"] >= 12
