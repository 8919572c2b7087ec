"""Effects on the traffic: reloads, lanes, the shield, the drain's count."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from reld.core import maintenance
from reld.core.events import (
    DrainCounted,
    End,
    GateTrouble,
    LanesMoved,
    LanesRemoved,
    LanesStuck,
    ReloadEnded,
    ShadowSet,
    ShieldSet,
)
from reld.core.model import Color, Routing, State
from reld.core.parking import drain_of
from reld.engine import Post
from reld.errors import GateError
from reld.host.closing import StreamCloser
from reld.host.static_files import StaticFiles
from reld.nginx import connections
from reld.nginx.gate import Gate

log = logging.getLogger("reld.gate")

DRAIN_EVERY = 0.25
LANES_EVERY = 1.0
GATE_AGAIN = 1.0
"""Seconds between two attempts to start a gate for the first time."""


class Traffic:
    """One app's gate, seen from the engine."""

    def __init__(
        self, state: Callable[[], State], gate: Gate, files: StaticFiles | None = None
    ) -> None:
        self._state = state
        self._gate = gate
        self._files = files
        self._loading = asyncio.Lock()
        self.closer = StreamCloser(state, gate)

    @property
    def listen(self) -> str:
        """Where users meet the gate."""
        return self._gate.settings.listen

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
                if self._files is not None:
                    self._gate.roots = await self._files.roots(routing)
                end = await self._gate.load(generation, routing, deadline)
        except GateError as error:
            post(ReloadEnded(generation, End.REFUSED, error.message))
            return
        log.info("generation %d: %s %s", generation, end.what, end.detail)
        await asyncio.to_thread(self._gate.forget_pages, maintenance.pages(self._state()))
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
        slot, running = self._state().slot(color), self._state().rollout
        addresses = [] if slot is None else drain_of(slot, running)
        while True:
            left = self._gate.left(addresses, since)
            streams = connections.streams(addresses)
            if not post(DrainCounted(rollout, since, left.connections, left.old_workers, streams)):
                return
            await asyncio.sleep(DRAIN_EVERY)

    async def set_shield(self, rollout: int, post: Post, *, on: bool) -> None:
        if on:
            await asyncio.to_thread(self._gate.shield, rollout)
        else:
            await asyncio.to_thread(self._gate.unshield, rollout)
        post(ShieldSet(rollout, on))

    async def set_shadow(self, rollout: int, post: Post, *, on: bool) -> None:
        # Not in a thread: an "on" that was cancelled could come after the "off" that followed it.
        self._gate.mirror(rollout, on=on)
        log.info("rollout %d: the mirror is %s", rollout, "on" if on else "off")
        post(ShadowSet(rollout, on))

    async def keep_gate(self, post: Post) -> None:
        """The gate serves from the first moment on, be it a 503."""
        while (why := await self._first_config()) is not None:
            post(GateTrouble(why))
            await asyncio.sleep(GATE_AGAIN)

        def report(trouble: str) -> None:
            post(GateTrouble(trouble))

        await self._gate.keep(report)

    async def _first_config(self) -> str | None:
        """What keeps the gate from ever starting; None: it has a config, somebody's or the first."""
        async with self._loading:
            if self._gate.routing_on_disk() is not None:
                return None
            end = await self._gate.load(0, Routing(), 15.0)
        return end.detail if End(str(end.what)) is End.REFUSED else None
