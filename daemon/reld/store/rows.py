"""The rows that people look at later: rollouts with receipts and counts, and the audit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reld.errors import StoreError

ROLLOUT_COLUMNS = 'id, kind, "from", "to", actor, started, ended, outcome, reason, receipt'
AUDIT_COLUMNS = (
    "time, uid, name, loginuid, login, pid, command, target, arguments, note, outcome, code, told,"
    " rollout"
)


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

    def columns(self) -> tuple[object, ...]:
        """As in ROLLOUT_COLUMNS, with their sum at the end. Raises StoreError."""
        told = (
            self.id,
            self.kind,
            self.from_,
            self.to,
            self.actor,
            self.started,
            self.ended,
            self.outcome,
            self.reason,
            as_json(self.receipt, "save the receipt"),
        )
        return (*told, rollout_sum(told))


def rollout_sum(columns: Iterable[object]) -> str:
    """Any damage to a column changes it."""
    text = repr(tuple(columns)).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def as_json(data: Mapping[str, Any], doing: str) -> str:
    """Raises StoreError: it holds what JSON cannot say; `doing` completes "cannot …"."""
    try:
        return json.dumps(data, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"cannot {doing}: {error}") from error


@dataclass(frozen=True, slots=True)
class WatchRow:
    """What the sensor counted during a rollout: JSON lines, one span of time each, as bytes."""

    rollout: int
    rows: bytes


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who wanted to change what. `time` is ISO 8601 text in UTC.

    `login_uid` is the user who logged in, also behind sudo; None where nobody did (a service).
    `arguments`: what else was asked for, a JSON object. `note`: what the person said to it.
    `outcome`: accepted, refused or error; `code` and `told` are those of the refusal.
    """

    time: str
    uid: int
    name: str
    login_uid: int | None
    login_name: str
    pid: int
    command: str
    target: str
    arguments: str
    note: str
    outcome: str
    code: str
    told: str
    rollout: int | None

    def columns(self) -> tuple[object, ...]:
        """As in AUDIT_COLUMNS."""
        return (
            self.time,
            self.uid,
            self.name,
            self.login_uid,
            self.login_name,
            self.pid,
            self.command,
            self.target,
            self.arguments,
            self.note,
            self.outcome,
            self.code,
            self.told,
            self.rollout,
        )

    def shown(self) -> dict[str, Any]:
        """The object of GET /v1/audit."""
        return {
            "time": self.time,
            "uid": self.uid,
            "user": self.name,
            "login_uid": self.login_uid,
            "login": self.login_name or None,
            "pid": self.pid,
            "command": self.command,
            "target": self.target or None,
            "arguments": json.loads(self.arguments),
            "note": self.note,
            "outcome": self.outcome,
            "code": self.code or None,
            "told": self.told,
            "rollout": self.rollout,
        }
