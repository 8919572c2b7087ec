"""The paced end of long connections, by a gate that does as the test says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from reld.clock import boottime
from reld.core import events as ev
from reld.core.model import Color, Instance, Kind, Phase, Rollout, Slot, State
from reld.core.policy import Policy, SlotPolicy, StreamPolicy
from reld.host import closing
from reld.nginx.streams import Closing, NotPermitted


def draining(keep: float, over: float) -> State:
    now = boottime()
    policy = Policy(streams=StreamPolicy(keep, over))
    rollout = Rollout(
        1, Kind.SWITCH, Phase.DRAINING, now, now, policy,
        old=Color.BLUE, candidate=Color.GREEN, leaving=Color.BLUE, drain_since=now,
    )  # fmt: skip
    slot = Slot(Color.BLUE, "v1", 1, SlotPolicy(), (Instance(1, 0, "127.0.0.1:1"),))
    return replace(State("web", "boot"), blue=slot, rollout=rollout)


class Fake:
    """Stands for `Streams`: so many are open, and may be busy."""

    def __init__(self, count: int) -> None:
        self.open = list(range(count))
        self.asked: list[float] = []
        self.forbidden = False

    def find(self, _workers: object) -> tuple[Any, ...]:
        if self.forbidden:
            raise NotPermitted("cannot reach the gate's connections: no right", "be root")
        return tuple(self.open)

    def close(self, stream: int, quiet: float) -> Closing:
        self.asked.append(quiet)
        self.open.remove(stream)
        return Closing.CLOSED


async def closed(monkeypatch: pytest.MonkeyPatch, fake: Fake, state: State) -> list[ev.Event]:
    """What is reported until nothing is open, or 1 s has passed."""
    monkeypatch.setattr(closing, "Streams", lambda _: fake)
    told: list[ev.Event] = []
    closer = closing.StreamCloser(lambda: state, SimpleNamespace(leaving=tuple))  # type: ignore[arg-type]
    work = asyncio.create_task(closer.close(1, Color.BLUE, lambda e: told.append(e) or True))
    for _ in range(100):
        await asyncio.sleep(0.01)
        if not fake.open:
            break
    assert not work.done()  # it would be begun again and again
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    return told


async def test_they_are_closed_one_after_the_other(monkeypatch):
    fake = Fake(8)
    began = boottime()
    told = await closed(monkeypatch, fake, draining(0.1, 0.4))
    assert not fake.open
    assert 0.3 < boottime() - began < 0.9
    counts = [e.closed for e in told if isinstance(e, ev.StreamsClosed)]
    assert sum(counts) == 8
    assert len(counts) > 4


async def test_nothing_is_closed_while_they_are_kept(monkeypatch):
    fake = Fake(3)
    assert await closed(monkeypatch, fake, draining(60.0, 1.0)) == []
    assert len(fake.open) == 3


async def test_without_the_right_people_are_told_and_nothing_is_tried_again(monkeypatch, caplog):
    fake = Fake(3)
    fake.forbidden = True
    (told,) = await closed(monkeypatch, fake, draining(0.0, 1.0))
    assert isinstance(told, ev.StreamsStay)
    assert "cut together when the drain ends" in told.detail
    assert caplog.text.count("be root") == 1
