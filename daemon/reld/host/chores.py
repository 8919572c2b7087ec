"""What goes on beside the engine for as long as reld runs: one that fails is begun again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from reld.errors import RelctlError

log = logging.getLogger("reld")

AGAIN_AFTER = 1.0
"""Seconds."""
TOLD_EVERY = 600.0
"""Seconds between two lines about one trouble that stays: it must not fill the journal."""


async def for_ever(chore: Callable[[], Awaitable[None]]) -> None:
    """Until cancelled. A chore that died unseen would be missed only when it is needed."""
    loop, known, told = asyncio.get_running_loop(), "", 0.0
    while True:
        try:
            await chore()
        except Exception as error:
            said = repr(error)
            if said != known or loop.time() > told + TOLD_EVERY:
                known, told = said, loop.time()
                _tell(error)
        await asyncio.sleep(AGAIN_AFTER)


def _tell(error: Exception) -> None:
    if isinstance(error, OSError | RelctlError):
        log.warning("%s, it is tried again", error)
    else:
        log.error("a chore failed, it is begun again", exc_info=error)
