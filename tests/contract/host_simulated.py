"""The stage of the simulated host, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from reld.core import events as ev
from tests.contract.host_stage import Between, Stage
from tests.sim.host import SimHost
from tests.sim.world import Process, World


class _CountedSignals(SimHost):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.signals: dict[int, int] = {}

    def _stopped(self, number: int) -> ev.Event:
        process = self._world.process(number)
        if process is not None and process.alive:
            self.signals[number] = self.signals.get(number, 0) + 1
        return super()._stopped(number)


class Simulated(Stage):
    """Virtual time: nothing here waits."""

    MOST = 200.0

    def __init__(self) -> None:
        self.world = World(7)
        self.engine = self.world.engine
        self.host = _CountedSignals(self.world)
        self.between = Between(self.host)
        self.engine._host = self.between  # nothing was performed yet
        self.visited = False

    def until(self, condition: Callable[[], Any], words: str = "") -> None:
        limit = self.now() + self.MOST
        while not condition():
            assert self.now() < limit, f"never so: {words}: {self.state}"
            self.world.run(0.02)
            if self.visited:  # a worker that still has a visitor does not leave
                until = self.now() + 1.0
                workers = self.world.old_workers
                self.world.old_workers = [(w, max(t, until)) for w, t in workers]

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self.world.loop.create_task(coroutine)

    def install(self, release: str, faults: frozenset[str]) -> None:
        known = self.world.faults
        known.prepare_fails = float("missing" in faults)
        known.never_ready = float("never_ready" in faults)
        known.stubborn = float("stubborn" in faults or "family" in faults)
        known.smoke_fails = float("fails_smoke" in faults)
        known.hook_fails = float("fails_hook" in faults)

    def crash(self, number: int) -> None:
        self.world.die(self._process(number))

    def sicken(self, number: int) -> None:
        self._process(number).sick = True

    def mend(self, number: int) -> None:
        process = self._process(number)
        process.sick, process.ready_at = False, self.world.now

    def refuse_reloads(self) -> None:
        self.world.faults.reload_refused = 1.0

    def visit(self) -> None:
        self.visited = True

    def leave(self) -> None:
        self.visited = False
        self.world.old_workers.clear()

    def close(self) -> None:
        self.world.loop.call_soon(lambda: [t.cancel() for t in self._tasks()])
        self.world.close()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [w.task for w in self.between.works if w.task is not None]

    def now(self) -> float:
        return self.world.now

    def alive(self, number: int) -> bool:
        return any(p.alive for p in self.world.processes.values() if p.number == number)

    def answers(self, number: int) -> bool:
        return self.host._answers(self._process(number))

    def signals(self, number: int) -> int:
        return self.host.signals.get(number, 0)

    def served(self) -> int:
        return self.world.serving.generation

    def who(self, requests: int = 1) -> set[str]:
        routing = self.world.serving.routing
        share = self.world.lanes.get(routing.rollout or 0, 0)
        answers = set()
        if routing.default is not None and (share < 100 or routing.candidate is None):
            answers.add(routing.default.release)
        if routing.candidate is not None and share:
            answers.add(routing.candidate.release)
        return answers

    def share(self, rollout: int) -> int | None:
        return self.world.lanes.get(rollout)

    def shielded(self, rollout: int) -> bool:
        return rollout not in self.world.unshielded

    def mirrors(self, rollout: int) -> bool:
        return rollout in self.world.mirrors

    def _process(self, number: int) -> Process:
        process = self.world.process(number)
        assert process is not None
        return process


# the machine
