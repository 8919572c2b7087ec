"""The rows that people look at later: rollouts with receipts and counts, and the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One rollout in the history. Times are ISO 8601 text in UTC; `ended` None: it runs."""

    id: int
    kind: str
    from_: str | None
    to: str | None
    actor: str
    started: str
    ended: str | None
    outcome: str | None
    reason: str
    receipt: Mapping[str, Any]

    @classmethod
    def of(cls, receipt: Mapping[str, Any]) -> RolloutRow:
        """The row of a receipt object; its columns are the receipt's own keys."""
        return cls(
            id=receipt["id"],
            kind=receipt["kind"],
            from_=receipt["from"],
            to=receipt["to"],
            actor=receipt["actor"],
            started=receipt["started"],
            ended=receipt["ended"],
            outcome=receipt["outcome"],
            reason=receipt["reason"],
            receipt=receipt,
        )


@dataclass(frozen=True, slots=True)
class WatchRow:
    """What the sensor counted during a rollout: JSON lines, one span of time each, as bytes."""

    rollout: int
    rows: bytes


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who wanted to change what. `time` is ISO 8601 text in UTC.

    `login_uid` is the user who logged in, also behind sudo; None where nobody did (a service).
    """

    time: str
    uid: int
    login_uid: int | None
    pid: int
    command: str
    target: str
    outcome: str
    note: str
