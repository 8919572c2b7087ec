"""What the last rehearsal showed, as an object of a status and of a receipt. Pure."""

from __future__ import annotations

from typing import Any

from reld.core.model import Rollout
from reld.core.rehearsal_result import result
from reld.core.rehearsed import Rehearsed


def shown(found: Rehearsed | None) -> dict[str, Any] | None:
    """The "rehearsal" of a status; None: there was none yet. Times in seconds."""
    if found is None:
        return None
    return {
        "release": found.release,
        "at": found.at,
        "id": found.id,
        "outcome": found.outcome,
        "reason": found.reason or None,
        "seconds_to_ready": found.seconds_to_ready,
        "seconds_to_roll_back": found.seconds_to_roll_back,
        "longest_request": found.longest_request,
        "seconds_to_drain": found.seconds_to_drain,
        "seconds_to_stop": found.seconds_to_stop,
        "lost": found.lost,
        "found": found.found,
        "advice": list(found.advice),
    }


def account(rollout: Rollout) -> dict[str, Any] | None:
    """The same of one rollout, for its receipt, with the requests of reld's own; None: it is none."""
    ours, found = rollout.rehearsal, shown(result(rollout))
    if ours is None or found is None:
        return None
    own = {"asked": ours.asked, "failed": ours.failed, "lost": ours.lost}
    return {**found, "share": ours.share, "fail": ours.fails, "own": own}
