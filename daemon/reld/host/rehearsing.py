"""The requests that a rehearsal makes of its own: GETs through the gate, as a user's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from reld.core import rehearsal
from reld.core.events import Asked
from reld.core.model import Rollout, State
from reld.core.rehearsed import Rehearsal
from reld.engine import Post
from reld.errors import PrepareError
from reld.host.snapshots import Snapshots
from reld.nginx.rehearse import FAILED
from reld.probes.http import HttpTrouble, ask
from reld.snapshot import was_replaced

HEADER = "X-Relctl-Rehearsal"
PATIENCE = 10.0
"""Seconds after which a request is lost."""
TOLD_EVERY = 1.0
_MOST = 64
"""Requests that wait for their answer; more are not sent meanwhile."""
_NO_ANSWER = (502, 504)
"""What the gate says where no app did. What an app says itself is for the verdict."""


class Rehearser:
    """Asks the gate; the state knows at which share, and how many it were before a restart."""

    def __init__(self, state: Callable[[], State], snapshots: Snapshots) -> None:
        self._state = state
        self._snapshots = snapshots

    async def prepare(self, rollout: Rollout) -> None:
        """It starts what runs: today's config may say what nobody has seen. Raises PrepareError."""
        live = self._state().slot(rollout.old)
        if live is None:
            raise PrepareError("nothing is live", "relctl status")
        taken = await self._snapshots.copy(live.snapshot, rollout.id)
        there = await asyncio.to_thread(Path(taken.directory).is_dir)
        if not there or await asyncio.to_thread(was_replaced, taken):
            raise PrepareError(
                f"release {rollout.to} is another one since it was started: {taken.directory}",
                f"put it back as it was; relctl restart starts {rollout.to} as it is now",
            )

    async def ask(self, rollout: int, gate: str, post: Post) -> None:
        """Until it is cancelled. `gate`: where the one that runs listens, whatever the config says now."""
        running = self._state().rollout
        if running is None or running.id != rollout or running.rehearsal is None:
            return
        snapshot = await self._snapshots.get(rollout)
        path, host = snapshot.readiness.path or "/", snapshot.app.host
        trickle = _Trickle(running.rehearsal, gate, path, host)
        try:
            while True:
                await trickle.flow(TOLD_EVERY)
                counted = trickle.counted
                if not post(Asked(rollout, counted.asked, counted.failed, counted.lost)):
                    return
        finally:
            trickle.stop()


class _Trickle:
    def __init__(self, known: Rehearsal, address: str, path: str, host: str) -> None:
        self.counted = known
        self._pause = 1 / rehearsal.per_second(known)
        self._address = address
        self._path = path
        self._headers = (
            ("Host", host),
            ("User-Agent", "relctl-rehearsal"),
            ("X-Forwarded-Proto", "https"),
            (HEADER, known.token),
        )
        self._waiting: set[asyncio.Task[None]] = set()

    async def flow(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            if len(self._waiting) < _MOST:
                task = loop.create_task(self._one())
                self._waiting.add(task)
                task.add_done_callback(self._waiting.discard)
            await asyncio.sleep(self._pause)

    def stop(self) -> None:
        for task in self._waiting:
            task.cancel()

    async def _one(self) -> None:
        failed = lost = False
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await ask(self._address, "GET", self._path, self._headers, b"")
            failed = answer.headers.get(HEADER.lower()) == FAILED
            lost = answer.status in _NO_ANSWER
        except (OSError, HttpTrouble):  # TimeoutError is an OSError
            lost = True
        now = self.counted
        self.counted = replace(
            now, asked=now.asked + 1, failed=now.failed + failed, lost=now.lost + lost
        )
