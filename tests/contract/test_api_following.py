"""Following at a pace of one's own: what was told before, what a tick costs, and who takes nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from reld.api import glance
from reld.api.hub import REMEMBERED, Hub
from reld.api.service import Vitals
from tests.contract.api_support import (
    RUNNING,
    FakeService,
    Running,
    Stream,
    ask,
    request_bytes,
    served,
    until,
)


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with served() as running:
        yield running


async def test_progress_comes_as_often_as_it_was_asked_for_also_at_rest(api: Running) -> None:
    stream = await Stream.open(api.path, "/v1/events?every=0.2")
    assert (await stream.line())["event"] == "status"
    for _ in range(3):
        line = await stream.line()
        assert (line["event"], line["rollout"]) == ("progress", None)
        assert line["status"]["rollout"] is None
    api.service.now = replace(api.service.now, rollout=RUNNING)
    while (line := await stream.line())["rollout"] is None:
        pass
    assert line["status"]["rollout"]["id"] == 42


async def test_what_happened_before_is_told_once_without_what_was_so_then(api: Running) -> None:
    for number in range(1, 6):
        api.service.hub.publish("phase", f"number {number}", 42, status={"of": "then"})
    stream = await Stream.open(api.path, "/v1/events?last=2")
    assert (await stream.line())["event"] == "status"
    assert await stream.line() == {
        "seq": 4, "time": "T", "rollout": 42, "event": "phase", "text": "number 4", "past": True,
    }  # fmt: skip
    assert (await stream.line())["seq"] == 5
    api.service.hub.publish("phase", "number 6", 42, status={"of": "now"})
    fresh = await stream.line()
    assert (fresh["status"], "past" in fresh) == ({"of": "now"}, False)


async def test_an_old_result_is_not_taken_for_the_one_that_is_awaited(api: Running) -> None:
    api.service.now = replace(api.service.now, rollout=RUNNING)
    api.service.hub.publish("result", "of an earlier life", 42, receipt={"id": 42})
    stream = await Stream.open(api.path, "/v1/events?rollout=42&last=9&every=0.2")
    assert (await stream.line())["event"] == "status"
    past = await stream.line()
    assert (past["event"], past["past"], "receipt" in past) == ("result", True, False)
    assert (await stream.line())["event"] == "progress"


async def test_without_a_wish_nothing_is_told_twice_or_at_rest(api: Running) -> None:
    api.service.hub.publish("phase", "long ago", 42)
    stream = await Stream.open(api.path, "/v1/events")
    assert (await stream.line())["event"] == "status"
    api.service.hub.publish("phase", "now", 42)
    assert (await stream.line())["text"] == "now"


@pytest.mark.parametrize(
    "query",
    ["every=0", "every=0.1", "every=61", "every=-1", "every=1e1", "every=nan", "every=", "every=%D9%A3",
     "last=-1", "last=201", "last=x", "every=1&last=9999999999"],
)  # fmt: skip
async def test_what_nobody_can_mean_is_refused(api: Running, query: str) -> None:
    for path in ("/v1/events", "/v1/events?rollout=41"):
        joint = "&" if "?" in path else "?"
        refused = await ask(api.path, "GET", f"{path}{joint}{query}")
        assert refused.status == 400
        assert refused.body["error"]["message"].startswith(
            ("cannot read every", "cannot read last")
        )
    assert api.service.hub.readers == 0


async def test_however_many_look_in_the_same_moment_the_status_is_made_once(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glance, "FRESH", 60.0)  # the machine may be slow: all of this is one moment
    made = 0

    def vitals() -> Vitals:
        nonlocal made
        made += 1
        return Vitals(10.0, 0.0)

    monkeypatch.setattr(api.service, "vitals", vitals)
    streams = [await Stream.open(api.path, "/v1/events?every=0.2") for _ in range(8)]
    for stream in streams:
        for _ in range(3):
            await stream.line()
    assert made == 1
    api.service.now = replace(api.service.now, rollout=RUNNING)  # nobody is shown what is over
    while (await streams[0].line())["rollout"] is None:
        pass
    assert made == 2


def test_a_change_of_the_state_is_seen_at_once_and_so_is_time() -> None:
    service, now = FakeService(), 100.0
    look = glance.Glance(service, lambda: now)  # type: ignore[arg-type]
    first = look.line("progress", None, 1)
    assert look.line("progress", None, 1) is first
    assert look.line("progress", None, 2) != first
    service.now = replace(service.now, app="other")
    assert b'"app":"other"' in look.line("progress", None, 1)
    kept = look.line("progress", None, 1)
    now += glance.FRESH
    assert look.line("progress", None, 1) is not kept


def test_everybody_looks_at_common_moments() -> None:
    assert [glance.next_tick(at, 0.25) for at in (10.0, 10.1, 10.249)] == [10.25] * 3
    assert glance.next_tick(10.25, 0.25) == 10.5


async def told(stream: Stream) -> None:
    """One line; what fills it up is another one, of spaces."""
    for _ in range(2):
        assert await asyncio.wait_for(stream.reader.readline(), 10)


async def test_a_reader_that_is_stopped_costs_no_status_and_goes_on_where_things_are(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    line = glance.Glance.line

    def counted(self: glance.Glance, event: str, rollout: int | None, seq: int) -> bytes:
        nonlocal looks
        looks += 1
        return line(self, event, rollout, seq) + b" " * 60_000 + b"\n"  # so that it is soon full

    monkeypatch.setattr(glance.Glance, "line", counted)
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stopped.connect(str(api.path))
        stopped.sendall(request_bytes("GET", "/v1/events?every=0.2"))
        reading = await Stream.open(api.path, "/v1/events?every=0.2")
        before = -1
        while looks != before:  # what the socket takes is bounded
            before = looks
            for _ in range(4):
                await told(reading)
                looks -= 1
        assert api.service.hub.readers == 2
        stopped.setblocking(False)
        taken = 0
        with pytest.raises(BlockingIOError):
            while True:
                taken += len(stopped.recv(1 << 20))
        assert taken > 0
        stuck = looks
        while looks <= stuck:  # it takes again, and is told again
            await told(reading)
            looks -= 1
    reading.writer.close()
    await until(lambda: api.service.hub.readers == 0)


def test_what_is_remembered_is_bounded() -> None:
    hub = Hub(lambda: "T")
    for _ in range(3 * REMEMBERED):
        hub.publish("phase", "x", None, status={"large": "x" * 1000})
    assert len(hub._past) == REMEMBERED
    assert all("status" not in line for line in hub._past)
