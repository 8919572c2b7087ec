"""What recovery finds may end a rollout at once: it gets its receipt like any other."""

from __future__ import annotations

import asyncio
import contextlib

from reld.core.commands import Begin
from reld.core.machine import first_state, step
from reld.core.model import Kind, Outcome, State
from reld.core.policy import Policy
from reld.core.recovery import Observed, recover
from reld.engine import Engine, Post


class Disk:
    def __init__(self):
        self.ended = []

    async def save(self, state, ended):
        self.ended += ended


class Idle:
    async def perform(self, effect, post: Post):
        await asyncio.Event().wait()


def cut_short() -> State:
    """reld died in the checks."""
    return step(first_state("web", "boot"), Begin(Kind.SWITCH, "v1", Policy()), 100.0)


async def test_a_rollout_that_ends_by_what_recovery_finds_is_written_with_its_receipt():
    found = recover(cut_short(), Observed("boot"), 101.0)
    disk = Disk()
    engine = Engine(found, Idle(), disk, lambda: 101.0)
    running = asyncio.create_task(engine.run())
    async with asyncio.timeout(5):
        await engine.until(lambda state: state.rollout is None)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert [(ended.id, ended.outcome) for ended in disk.ended] == [(1, Outcome.FAILED)]
