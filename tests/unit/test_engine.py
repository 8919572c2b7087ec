"""The only writer: what is begun when, what is cancelled, what a failing disk delays."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from reld import engine as engine_module
from reld.core import effects as fx
from reld.core import events as ev
from reld.core.commands import Abort, Begin, Promote
from reld.core.machine import first_state
from reld.core.model import Identity, Kind, Phase
from reld.core.policy import Policy, SlotPolicy
from reld.engine import Engine
from reld.errors import StoreError

POLICY = Policy(slot=SlotPolicy(), steps=(50, 100), step_requests=0)


class Disk:
    """A disk that can be held up or broken, and remembers what was written."""

    def __init__(self):
        self.states = []
        self.ended = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def save(self, state, ended):
        await self.open.wait()
        if self.broken:
            raise StoreError("cannot save the state: the disk is full")
        self.states.append(state)
        self.ended.extend(ended)


class Host:
    """Remembers what was begun and cancelled; each work waits until it is told to end."""

    def __init__(self):
        self.begun = []
        self.cancelled = []
        self.posts = {}
        self.ends = {}
        self.news = asyncio.Event()

    async def perform(self, effect, post):
        self.begun.append(effect)
        self.posts[effect] = post
        self.ends[effect] = asyncio.get_running_loop().create_future()
        self.news.set()
        try:
            await self.ends[effect]
        except asyncio.CancelledError:
            self.cancelled.append(effect)
            self.news.set()
            raise

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def begins(self, effect, times=1):
        await self.until(lambda: self.begun.count(effect) >= times)


class Story:
    """An engine with its host, its disk and a clock that stands still unless it is moved."""

    def __init__(self):
        self.now = 100.0
        self.host = Host()
        self.disk = Disk()
        self.engine = Engine(first_state("web", "boot"), self.host, self.disk, lambda: self.now)

    def tell(self, *events):
        for event in events:
            self.engine.tell(event)

    @property
    def state(self):
        return self.engine.state

    def switch(self, release):
        assert self.engine.command(Begin(Kind.SWITCH, release, POLICY)) is None
        rollout = self.state.rollout.id
        address = f"127.0.0.1:{21000 + rollout}"
        self.tell(ev.Prepared(rollout, (address,)))
        number = self.state.slot(self.state.rollout.candidate).instances[0].number
        identity = Identity(number, number, "boot")
        self.tell(ev.Spawned(number, identity), ev.LetGo(number))
        self.tell(*[ev.ReadinessProbed(number, passed=True)] * 2)
        self.tell(ev.SmokeEnded(rollout, passed=True))
        return rollout

    def verify(self):
        self.tell(ev.ReloadEnded(self.state.gate.in_flight.generation, ev.End.VERIFIED))

    def first_release(self):
        self.switch("v1")
        self.verify()
        assert self.state.rollout is None

    def shifting(self):
        self.first_release()
        rollout = self.switch("v2")
        self.verify()
        assert self.state.rollout.phase is Phase.SHIFTING
        return rollout


@pytest.fixture
async def story():
    told = Story()
    task = asyncio.create_task(told.engine.run())
    await told.host.begins(fx.KeepGate())
    yield told
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_an_effect_begins_only_after_the_state_that_wants_it_is_on_disk(story):
    story.disk.open.clear()
    story.engine.command(Begin(Kind.SWITCH, "v1", POLICY))
    await asyncio.sleep(0)
    assert fx.Prepare(1) not in story.host.begun
    story.disk.open.set()
    await story.host.begins(fx.Prepare(1))
    assert any(s.rollout is not None for s in story.disk.states)


async def test_going_back_does_not_wait_for_the_disk(story):
    rollout = story.shifting()
    await story.host.begins(fx.MoveLanes(rollout, 50))
    story.tell(ev.LanesMoved(rollout, 50))
    await story.engine.until(lambda _: True)
    story.disk.open.clear()
    story.engine.command(Abort(rollout, "by hand"))
    await story.host.begins(fx.MoveLanes(rollout, 0))
    assert all(s.rollout is None or s.rollout.phase is not Phase.REVERTING
               for s in story.disk.states)  # fmt: skip


async def test_the_next_step_forward_waits_for_the_disk(story):
    rollout = story.shifting()
    await story.host.begins(fx.MoveLanes(rollout, 50))
    story.tell(ev.LanesMoved(rollout, 50))
    await story.engine.until(lambda _: True)
    story.disk.open.clear()
    story.engine.command(Promote(rollout))
    await asyncio.sleep(0)
    assert fx.MoveLanes(rollout, 100) not in story.host.begun
    story.disk.open.set()
    await story.host.begins(fx.MoveLanes(rollout, 100))


async def test_what_is_no_longer_wanted_is_cancelled(story):
    story.engine.command(Begin(Kind.SWITCH, "v1", POLICY))
    await story.host.begins(fx.Prepare(1))
    story.tell(ev.PrepareFailed(1, "no such directory"))
    await story.host.until(lambda: fx.Prepare(1) in story.host.cancelled)


async def test_a_result_of_cancelled_work_changes_nothing(story):
    story.engine.command(Begin(Kind.SWITCH, "v1", POLICY))
    await story.host.begins(fx.Prepare(1))
    post = story.host.posts[fx.Prepare(1)]
    story.tell(ev.PrepareFailed(1, "no such directory"))
    before = story.state
    assert not post(ev.Prepared(1, ("127.0.0.1:21001",)))
    assert story.state is before


async def test_work_that_ends_while_it_is_wanted_is_begun_again(story, monkeypatch):
    monkeypatch.setattr(engine_module, "AGAIN_AFTER", 0.01)
    story.engine.command(Begin(Kind.SWITCH, "v1", POLICY))
    await story.host.begins(fx.Prepare(1))
    story.host.ends[fx.Prepare(1)].set_result(None)
    await story.host.begins(fx.Prepare(1), times=2)


async def test_work_that_breaks_is_begun_again_and_told(story, monkeypatch, caplog):
    monkeypatch.setattr(engine_module, "AGAIN_AFTER", 0.01)
    story.engine.command(Begin(Kind.SWITCH, "v1", POLICY))
    await story.host.begins(fx.Prepare(1))
    story.host.ends[fx.Prepare(1)].set_exception(RuntimeError("a bug"))
    await story.host.begins(fx.Prepare(1), times=2)
    assert "Prepare(rollout=1) failed" in caplog.text


async def test_a_full_disk_shows_refuses_the_next_rollout_and_mends_by_itself(story, monkeypatch):
    monkeypatch.setattr(engine_module, "STORE_AGAIN_AFTER", 0.01)
    story.first_release()
    await story.engine.until(lambda _: True)
    story.disk.broken = True
    story.tell(ev.GateTrouble("something to write"))
    async with asyncio.timeout(5):
        while not story.state.store_trouble:
            await asyncio.sleep(0.01)
    refusal = story.engine.command(Begin(Kind.SWITCH, "v2", POLICY))
    assert "the disk is full" in refusal.message
    story.disk.broken = False
    await story.engine.until(lambda s: not s.store_trouble)
    assert story.engine.command(Begin(Kind.SWITCH, "v2", POLICY)) is None


async def test_a_rollout_that_ended_reaches_the_disk_once(story):
    story.first_release()
    await story.engine.until(lambda _: True)
    story.tell(ev.GateTrouble("x"))
    await story.engine.until(lambda _: True)
    assert [r.id for r in story.disk.ended] == [1]


async def test_a_rollout_that_ended_while_the_disk_was_broken_is_not_forgotten(story, monkeypatch):
    monkeypatch.setattr(engine_module, "STORE_AGAIN_AFTER", 0.01)
    await story.engine.until(lambda _: True)
    story.disk.broken = True
    story.first_release()
    story.disk.broken = False
    await story.engine.until(lambda _: True)
    assert [r.id for r in story.disk.ended] == [1]


async def test_nothing_is_reported_to_an_engine_that_stops(story):
    post = None
    story.engine.command(Begin(Kind.SWITCH, "v1", POLICY))
    await story.host.begins(fx.Prepare(1))
    post = story.host.posts[fx.Prepare(1)]
    for task in asyncio.all_tasks():
        if task.get_coro().__name__ == "run":
            task.cancel()
    await story.host.until(lambda: fx.Prepare(1) in story.host.cancelled)
    assert not post(ev.Prepared(1, ("127.0.0.1:21001",)))
