"""What others are told, and how it looks on the way. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reld.core.model import Rollout

LEVELS = ("info", "warning", "error")
_LONGEST = 2000  # characters of the text


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that happened.

    `event`: start, step, verdict, end, trouble or test; `what`: which of those, in one word. `level`:
    one of LEVELS. `text`: one line. `time`: ISO 8601. `id`: the same when it is told again. `stands_for`:
    how many messages this one takes the place of, itself included.
    """

    event: str
    what: str
    level: str
    text: str
    time: str
    app: str
    host: str
    id: str
    rollout: Mapping[str, Any] | None = None
    receipt: Mapping[str, Any] | None = None
    stands_for: int = 1

    @property
    def number(self) -> int | None:
        """Of the rollout that it is about."""
        return None if self.rollout is None else int(self.rollout["id"])

    def body(self, form: str) -> bytes:
        """`form`: json, or slack."""
        if form == "slack":
            return json.dumps({"text": slack(self)}).encode()
        told = {
            "event": self.event,
            "what": self.what,
            "level": self.level,
            "text": self.text[:_LONGEST],
            "time": self.time,
            "app": self.app,
            "host": self.host,
            "id": self.id,
            "rollout": self.rollout,
            "receipt": self.receipt,
            "stands_for": self.stands_for,
        }
        return json.dumps(told, separators=(",", ":")).encode()


def slack(message: Message) -> str:
    """One line; what Slack would take for markup or for a mention is taken apart."""
    text = message.text[:_LONGEST]
    for raw, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(raw, safe)
    mark = "" if message.level == "info" else f"[{message.level}] "
    return f"{mark}*{message.app}* on {message.host}: {text}"


def collapsed(messages: list[Message]) -> Message:
    """One in the place of many; none of them is the end of a rollout."""
    last, count = messages[-1], sum(m.stands_for for m in messages)
    worst = max((m.level for m in messages), key=LEVELS.index)
    text = last.text if last.stands_for == 1 else last.text.partition(": ")[2]
    return replace(last, level=worst, text=f"{count} messages, the last: {text}", stands_for=count)


def rollout_of(rollout: Rollout) -> dict[str, Any]:
    return {
        "id": rollout.id,
        "kind": str(rollout.kind),
        "from": rollout.from_ or None,
        "to": rollout.to or None,
        "phase": str(rollout.phase),
        "percent": rollout.share,
        "actor": rollout.actor,
    }


def of_receipt(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a rollout that is over."""
    told = {key: receipt.get(key) for key in ("id", "kind", "from", "to", "actor")}
    return {**told, "phase": None, "percent": None}


def without_logs(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """What app and hooks wrote stays on the machine; how much of it was new does not."""
    told = (receipt.get("evidence") or {}).items()
    evidence = {k: v for k, v in told if k not in ("log", "excerpt")}
    news = receipt.get("new_lines")
    return {
        **receipt,
        "reason": _first_line(receipt.get("reason") or ""),
        "evidence": evidence,
        "new_lines": None if news is None else {k: v for k, v in news.items() if k != "top"},
        "hooks": [
            {**hook, "detail": _first_line(hook["detail"])} for hook in receipt.get("hooks") or ()
        ],
    }


def _first_line(text: str) -> str:
    """What happened; those behind it quote a log."""
    return text.partition("\n")[0]
