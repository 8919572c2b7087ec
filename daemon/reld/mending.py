"""After the database was damaged: going back is never barred, new releases wait for `relctl mend`."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from reld.api.peers import Caller
from reld.core.model import Kind
from reld.errors import NeedsOperator, StoreError
from reld.store.database import Store

log = logging.getLogger("reld.store")

PATIENCE = 5.0
"""Seconds that the disk may take."""
_FORWARD = (Kind.SWITCH, Kind.RESTART, Kind.CONTRACT, Kind.REHEARSAL)


def refuse_damaged(kind: Kind, store: Store) -> None:
    """Raises NeedsOperator."""
    if store.damage and kind in _FORWARD:
        what = "rehearse" if kind is Kind.REHEARSAL else kind
        message = f"cannot {what}: {store.damage}"
        raise NeedsOperator(message, "look at the disk, then: relctl mend")


async def refuse_unfit(kind: Kind, store: Store) -> None:
    """Nothing new is begun on a disk that has lost data until somebody looked at it, nor on one that
    takes nothing: that is tried, because nobody knows before.

    Raises NeedsOperator; StoreError: the state cannot be saved now.
    """
    refuse_damaged(kind, store)
    try:
        async with asyncio.timeout(PATIENCE):
            await store.prove()
    except TimeoutError:
        raise StoreError(
            "cannot save the state: the disk does not answer", f"dmesg; df -h {store.path.parent}"
        ) from None


async def mend(store: Store, caller: Caller) -> dict[str, Any]:
    """The body that answers POST /v1/mend. Raises StoreError where the disk does not let us."""
    before = store.damage
    found = await store.mend()
    if not before and not found.backups:
        return {"mended": False, "message": "nothing to mend: the state is whole"}
    told = f"mended: {found.rollouts} rollouts and {found.audit} lines of the audit came back"
    log.warning("%s, by %s", told, caller.actor)
    kept = f"; kept: {', '.join(found.backups)}" if found.backups else ""
    return {
        "mended": True,
        "message": told + kept,
        "rollouts": found.rollouts,
        "audit": found.audit,
        "backups": list(found.backups),
    }
