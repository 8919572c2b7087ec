"""Refusals of the core as the errors that people are told."""

from __future__ import annotations

from dataclasses import replace

from reld.core.commands import Refusal, Why
from reld.core.model import Rollout
from reld.errors import BadRequest, Busy, NeedsOperator, NotPermitted, Refused

_ERRORS = {
    Why.REFUSED: Refused,
    Why.BAD: BadRequest,
    Why.BUSY: Busy,
    Why.OPERATOR: NeedsOperator,
    Why.PERSON: NotPermitted,
}


def refused(refusal: Refusal) -> Refused:
    return _ERRORS[refusal.why](refusal.message, refusal.hint)


def with_age(refusal: Refusal, running: Rollout | None, now: float) -> Refusal:
    """How long the rollout that is in the way has run. `now`: CLOCK_BOOTTIME seconds."""
    if refusal.why is not Why.BUSY or running is None:
        return refusal
    age = now - running.began
    return replace(refusal, message=f"{refusal.message}, it began {age:.0f} s ago")
