"""Effects on the traffic: reloads, lanes, the drain's count, the requests that were answered."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from reld.core.events import (
    DrainCounted,
    End,
    GateTrouble,
    LanesMoved,
    LanesRemoved,
    LanesStuck,
    ReloadEnded,
    RequestsCounted,
)
from reld.core.model import Color, Counts, Routing, State
from reld.engine import Post
from reld.errors import GateError
from reld.nginx.gate import Gate
from reld.nginx.requests import Tail, Tally, tally

log = logging.getLogger("reld.gate")

DRAIN_EVERY = 0.25
LANES_EVERY = 1.0
COUNT_EVERY = 0.25
LOG_EVERY = 2.0
GATE_AGAIN = 1.0
"""Seconds between two attempts to start a gate for the first time."""


class Traffic:
    """One app's gate, seen from the engine."""

    def __init__(self, state: Callable[[], State], gate: Gate) -> None:
        self._state = state
        self._gate = gate
        self._tail = Tail(gate.settings.request_log)
        self._tallies: dict[str, Tally] = {}
        self._loading = asyncio.Lock()
        # Two tasks read, each in a thread of its own: a line that both read would count twice.
        self._reading = threading.Lock()

    async def reload(self, generation: int, post: Post) -> None:
        state = self._state()
        flying = state.gate.in_flight
        if flying is None or flying.generation != generation:
            return
        routing, rollout = flying.routing, state.rollout
        try:
            if routing.rollout is not None and rollout is not None:
                await asyncio.to_thread(
                    self._gate.prepare_lanes, routing.rollout, rollout.policy.steps
                )
            deadline = rollout.policy.reload_deadline if rollout is not None else 15.0
            async with self._loading:
                end = await self._gate.load(generation, routing, deadline)
        except GateError as error:
            post(ReloadEnded(generation, End.REFUSED, error.message))
            return
        log.info("generation %d: %s %s", generation, end.what, end.detail)
        post(ReloadEnded(generation, End(str(end.what)), end.detail))

    async def move_lanes(self, rollout: int, share: int, post: Post) -> None:
        try:
            await self._gate.move(rollout, share)
        except GateError as error:
            post(LanesStuck(rollout, error.message))
            return
        post(LanesMoved(rollout, share))

    async def remove_lanes(self, rollout: int, before: int, post: Post) -> None:
        while self._gate.left((), before).old_workers:
            await asyncio.sleep(LANES_EVERY)
        await asyncio.to_thread(self._gate.remove_lanes, rollout)
        post(LanesRemoved(rollout))

    async def count_drain(self, rollout: int, color: Color, since: int, post: Post) -> None:
        slot = self._state().slot(color)
        addresses = [i.address for i in slot.instances] if slot is not None else []
        while True:
            left = self._gate.left(addresses, since)
            if not post(DrainCounted(rollout, since, left.connections, left.old_workers)):
                return
            await asyncio.sleep(DRAIN_EVERY)

    async def count_requests(self, rollout: int, post: Post) -> None:
        """Counts on top of what the state has: a reld that comes back goes on from there."""
        running = self._state().rollout
        if running is None:
            return
        had = {Color.BLUE: running.blue, Color.GREEN: running.green}
        await asyncio.to_thread(self.read_log)
        base = dict(self._tallies)
        while True:
            await asyncio.sleep(COUNT_EVERY)
            await asyncio.to_thread(self.read_log)
            blue, green = (self._counted(c, had[c], base) for c in (Color.BLUE, Color.GREEN))
            had_now = (running.blue, running.green)
            if (blue, green) != had_now and not post(RequestsCounted(rollout, blue, green)):
                return
            running = self._state().rollout
            if running is None:
                return

    async def keep_gate(self, post: Post) -> None:
        """The gate serves from the first moment on, be it a 503."""
        while (why := await self._first_config()) is not None:
            post(GateTrouble(why))
            await asyncio.sleep(GATE_AGAIN)

        def report(trouble: str) -> None:
            post(GateTrouble(trouble))

        reading = asyncio.create_task(self._tend_log())
        try:
            await self._gate.keep(report)
        finally:
            reading.cancel()

    async def _first_config(self) -> str | None:
        """What keeps the gate from ever starting; None: it has a config, somebody's or the first."""
        async with self._loading:
            if self._gate.routing_on_disk() is not None:
                return None
            end = await self._gate.load(0, Routing(), 15.0)
        return end.detail if End(str(end.what)) is End.REFUSED else None

    async def _tend_log(self) -> None:
        while True:
            await asyncio.to_thread(self._read_and_tend)
            await asyncio.sleep(LOG_EVERY)

    def _read_and_tend(self) -> None:
        self.read_log()
        self._gate.tend_log(self._tail)

    def read_log(self) -> None:
        """Read what nginx wrote since, and count it per address."""
        with self._reading:
            while lines := self._tail.read():
                self._tallies = tally(lines, self._tallies)

    def _counted(self, color: Color, had: Counts, base: dict[str, Tally]) -> Counts:
        slot = self._state().slot(color)
        if slot is None:
            running = self._state().rollout
            if running is None:
                return had
            return running.blue if color is Color.BLUE else running.green
        total, errors = had.total, had.errors
        for instance in slot.instances:
            now = self._tallies.get(instance.address, Tally())
            before = base.get(instance.address, Tally())
            total += now.total - before.total
            errors += now.errors - before.errors
        return Counts(total, errors)
