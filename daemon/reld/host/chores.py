"""What goes on beside the engine for as long as reld runs: one that fails is begun again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from reld.errors import RelctlError

log = logging.getLogger("reld")

AGAIN_AFTER = 1.0


async def for_ever(chore: Callable[[], Awaitable[None]]) -> None:
    """Until cancelled. A chore that died unseen would be missed only when it is needed."""
    while True:
        try:
            await chore()
        except (OSError, RelctlError) as error:
            log.warning("%s, it is tried again", error)
        except Exception:
            log.exception("a chore failed, it is begun again")
        await asyncio.sleep(AGAIN_AFTER)
