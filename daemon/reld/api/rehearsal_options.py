"""The options of `rehearse`, and those of other commands that mean nothing to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reld.core.model import Kind
from reld.core.rehearsed import LEAST_SHARE, LONGEST, MOST_SHARE
from reld.errors import BadRequest

if TYPE_CHECKING:
    from reld.api.requests import Options

_OF_A_SWITCH = ("steps", "step_time", "step_max", "step_requests", "bake", "now", "observe")


def refuse(kind: str, options: Options) -> None:
    """Raises BadRequest for what does not go together."""
    if kind != Kind.REHEARSAL:
        if options.fail or options.share is not None or options.time is not None:
            raise BadRequest(f"cannot {kind}: share, time and fail are options of rehearse")
        return
    foreign = [name for name in _OF_A_SWITCH if getattr(options, name) not in (None, False)]
    if foreign:
        raise BadRequest(
            f"cannot rehearse: {foreign[0]} is an option of switch",
            "relctl rehearse --share 5 --time 30s",
        )


def share(fields: Mapping[str, Any]) -> int | None:
    """Percent. Raises BadRequest."""
    raw = fields.get("share")
    if raw is not None and (type(raw) is not int or not LEAST_SHARE <= raw <= MOST_SHARE):
        raise BadRequest(
            f"cannot use share: it is a whole number of percent from {LEAST_SHARE} to {MOST_SHARE}"
        )
    return raw


def time(fields: Mapping[str, Any]) -> float | None:
    """Seconds. Raises BadRequest."""
    raw = fields.get("time")
    if raw is None:
        return None
    if type(raw) not in (int, float) or not 1 <= raw <= LONGEST:
        raise BadRequest(f"cannot use time: a rehearsal takes from 1 to {LONGEST:.0f} seconds")
    return float(raw)
