"""How a client wants to follow /v1/events, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from reld.api.hub import REMEMBERED
from reld.api.requests import query_number
from reld.errors import BadRequest

LEAST, MOST, USUAL = 0.2, 60.0, 1.0


@dataclass(frozen=True, slots=True)
class Following:
    """`rollout`: only what is about this one, to its result; None: everything, without end.

    `every`: seconds between two `progress` lines. `at_rest`: they come while nothing goes on, too.
    `last`: so many events of before are told first.
    """

    rollout: int | None = None
    every: float = USUAL
    at_rest: bool = False
    last: int = 0


def following(query: Mapping[str, str], rollout: int | None) -> Following:
    """Raises BadRequest."""
    last = query_number(query, "last", default=0, most=REMEMBERED)
    text = query.get("every")
    if text is None:
        return Following(rollout, last=last)
    plain = re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,6})?", text, re.ASCII)
    if not plain or not LEAST <= float(text) <= MOST:
        raise BadRequest(
            f"cannot read every={text[:20]!r}: it is a number of seconds from {LEAST} to {MOST:g}"
        )
    return Following(rollout, float(text), at_rest=True, last=last)
