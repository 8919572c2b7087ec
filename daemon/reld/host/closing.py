"""The paced end of long connections to a slot that leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from reld.clock import boottime
from reld.core.events import StreamsClosed, StreamsStay
from reld.core.model import Color, State
from reld.core.pacing import Pace, pace, window
from reld.core.parking import drain_of
from reld.engine import Post
from reld.nginx.gate import Gate
from reld.nginx.streams import Closing, NotPermitted, Stream, Streams

log = logging.getLogger("reld.gate")

LOOK_EVERY = 0.1
"""Seconds; more than one is closed at a time only where so many are due."""
QUIET = 0.05
"""Seconds without a word, after which nobody is in the middle of one."""
PATIENCE = 2.0
"""Seconds behind the pace, after which a pause between two packets is good enough."""


class StreamCloser:
    def __init__(self, state: Callable[[], State], gate: Gate) -> None:
        self._state = state
        self._gate = gate
        self._told = False

    async def close(self, rollout: int, color: Color, post: Post) -> None:
        """Until cancelled."""
        slot, running = self._state().slot(color), self._state().rollout
        if slot is None or running is None or running.id != rollout:
            return
        times = window(running)
        if times is not None:
            await asyncio.sleep(max(0.0, times[0] - boottime()))
            streams = Streams(drain_of(slot, running))
            try:
                await self._close_all(rollout, streams, post)
            except NotPermitted as error:
                self._tell_once(rollout, error, post)
        await asyncio.Event().wait()

    async def _close_all(self, rollout: int, streams: Streams, post: Post) -> None:
        open_ = await self._find(streams)
        running = self._state().rollout
        plan = pace(running, len(open_), boottime()) if running is not None else None
        if plan is None or not post(StreamsClosed(rollout, 0, len(open_))):
            return
        behind_since: float | None = None
        while True:
            at = boottime()
            due = len(open_) - plan.allowed(at)
            late = behind_since is not None and at - behind_since > PATIENCE
            closed = 0
            for stream in open_:
                if closed >= due:
                    break
                quiet = 0.0 if late else QUIET
                if await asyncio.to_thread(streams.close, stream, quiet) is Closing.BUSY:
                    continue
                closed += 1
                # One by one, at once: with the last one the drain is over, and nobody is heard any more.
                if not post(StreamsClosed(rollout, 1, len(open_) - closed)):
                    return
            behind_since = (behind_since or at) if closed < due else None
            await asyncio.sleep(_pause(plan, at))
            open_ = await self._find(streams)

    async def _find(self, streams: Streams) -> tuple[Stream, ...]:
        return await asyncio.to_thread(lambda: streams.find(self._gate.leaving()))

    def _tell_once(self, rollout: int, error: NotPermitted, post: Post) -> None:
        detail = f"websockets are cut together when the drain ends: {error.message}"
        if not self._told:
            log.warning("%s; %s", detail, error.hint)
        self._told = True
        post(StreamsStay(rollout, detail))


def _pause(plan: Pace, at: float) -> float:
    """Until the next one is due, roughly."""
    if at < plan.since or plan.count == 0:
        return LOOK_EVERY
    return min(LOOK_EVERY, (plan.until - plan.since) / plan.count)
