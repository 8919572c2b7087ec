"""What the candidate writes that the old release never did: both logs, read while a rollout runs.

It looks on: nothing waits for it, nothing is decided by it, and where it fails there is nothing to
show. What the old release wrote so far is read once, when a rollout begins: of its log the first
lines, which say how it starts, and the last ones. From then on both logs are followed, a bounded
number of lines a second. A reld that comes back begins again: the logs are still there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from reld.core.model import Kind, Phase, State
from reld.newlines.news import News
from reld.reading import reading

if TYPE_CHECKING:
    from reld.host.log_look import Look, Voices

EVERY = 1.0
"""Seconds between two looks at the logs."""
WHILE_LEARNING = 0.1
LAST_PATIENCE = 1.0
"""Seconds that a receipt waits for the last lines."""
_LEAVING = (Phase.DRAINING, Phase.STOPPING, Phase.FINISHING)
_ALONE = (Kind.START, Kind.STOP, Kind.CONTRACT, Kind.EJECT)
"""There are no two releases to compare."""

Until = Callable[[Callable[[State], bool]], Awaitable[object]]


class NewLines:
    """`until` waits for a state that is so and is on disk. `voices`: see `Ears`."""

    def __init__(self, state: Callable[[], State], until: Until, voices: Voices) -> None:
        self._state = state
        self._until = until
        self._voices = voices
        self._look: Look | None = None

    async def keep(self) -> None:
        """For ever, rollout by rollout. At rest it costs nothing."""
        while True:
            await self._until(lambda s: s.rollout is not None and s.rollout.kind not in _ALONE)
            rollout = self._state().rollout
            if rollout is None:
                continue
            from reld.host.log_look import Look  # its patterns: of no use before

            look = self._look = Look(rollout, self._voices)
            await reading(look.begin, self._state())
            while not _said_all(rollout.id, self._state()):
                more = await reading(look.step)
                with suppress(TimeoutError):
                    async with asyncio.timeout(WHILE_LEARNING if more else EVERY):
                        await self._until(partial(_said_all, rollout.id))
            await reading(look.finish, LAST_PATIENCE)
            await self._until(partial(_over, rollout.id))

    def of(self, rollout: int) -> News | None:
        """What is known of the newest rollout; None: nothing."""
        look = self._of(rollout)
        return None if look is None else look.news

    def why_unknown(self, rollout: int) -> str:
        look = self._of(rollout)
        return "the logs of this rollout are not compared" if look is None else look.why

    def at_the_end(self, rollout: int) -> News | None:
        """The same, with its last lines. Blocks for twice LAST_PATIENCE at most."""
        look = self._of(rollout)
        if look is None:
            return None
        # In a thread of its own: a log on a disk that hangs must not keep the receipt from being saved.
        reads = threading.Thread(target=look.finish, args=(LAST_PATIENCE,), daemon=True)
        with suppress(RuntimeError):  # no leave for another thread
            reads.start()
            reads.join(2 * LAST_PATIENCE)
        return look.news

    def _of(self, rollout: int) -> Look | None:
        look = self._look
        return look if look is not None and look.rollout.id == rollout else None


def _over(rollout: int, state: State) -> bool:
    return state.rollout is None or state.rollout.id != rollout


def _said_all(rollout: int, state: State) -> bool:
    """What a candidate says on its way out is no news: nobody has told the old release to end yet."""
    now = state.rollout
    if now is None or now.id != rollout:
        return True
    return now.phase in _LEAVING and now.leaving is not None and now.leaving is now.candidate
