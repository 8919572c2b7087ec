"""The account of a finished rollout: its lines, and the exit code that it stands for."""

from __future__ import annotations

from typing import Any

from relctl.errors import DONE, FAILED, NEEDS_OPERATOR, WENT_BACK
from relctl.text import NONE, clean, duration, labelled, local, paragraph, table, took, way

GONE_BACK = ("rolled_back", "aborted")


def exit_code(receipt: dict[str, Any]) -> int:
    """What `switch`, `watch` and the like end with. reld's own number wins where it gives one."""
    if isinstance(receipt.get("exit"), int):
        return int(receipt["exit"])
    outcome = str(receipt.get("outcome"))
    if outcome.startswith("done"):
        return DONE
    if outcome == "rolled_back":
        return WENT_BACK
    if outcome == "aborted":
        return WENT_BACK if receipt.get("moved") else FAILED
    return FAILED


def exit_code_of_turning_back(receipt: dict[str, Any]) -> int:
    """What `rollback` ends with when it turned a running rollout round: going back was the wish.

    A rollout that ended "done" all the same could not go back: a person has to look.
    """
    outcome = str(receipt.get("outcome"))
    if outcome in GONE_BACK:
        code = exit_code(receipt)
        return DONE if code in (FAILED, WENT_BACK) else code
    if outcome.startswith("done"):
        return NEEDS_OPERATOR
    return exit_code(receipt)


def lines(receipt: dict[str, Any]) -> list[str]:
    """The few lines at the end of a rollout."""
    return labelled(_pairs(receipt)) + [clean(note) for note in receipt.get("notes") or []]


def full(receipt: dict[str, Any]) -> list[str]:
    """`relctl show`: the same, and everything that led there."""
    pairs = _pairs(receipt)
    for key, value in _mapping(receipt.get("evidence")).items():
        lines_ = isinstance(value, list) and all(isinstance(line, str) for line in value)
        text = paragraph("\n".join(value)) if lines_ else _plain(value)
        pairs.append((f"evidence {clean(key)}", text))
    shown = labelled(pairs)
    phases = [phase for phase in receipt.get("phases") or [] if isinstance(phase, dict)]
    if phases:
        rows = [(phase.get("phase") or NONE, _seconds(phase.get("seconds"))) for phase in phases]
        shown += ["", *table(("PHASE", "TOOK"), rows)]
    return shown + [clean(note) for note in receipt.get("notes") or []]


def _pairs(receipt: dict[str, Any]) -> list[tuple[str, str]]:
    outcome = clean(receipt.get("outcome") or "still running").replace("_", " ")
    who = f" by {clean(receipt['actor'])}" if receipt.get("actor") else ""
    kind = clean(receipt.get("kind") or "rollout")
    ended = receipt.get("ended")
    return [
        (f"rollout {receipt.get('id')}", f"{outcome}, {kind}{who}"),
        ("from → to", way(receipt.get("from"), receipt.get("to"))),
        ("reason", paragraph(receipt.get("reason") or "")),
        ("requests", _requests(_mapping(receipt.get("requests")))),
        ("reloads", clean(receipt["reloads"]) if receipt.get("reloads") is not None else ""),
        ("drain", _drain(_mapping(receipt.get("drain")))),
        ("time", f"{took(receipt.get('started'), ended)} (until {local(ended)})" if ended else ""),
    ]


def _requests(slots: dict[str, Any]) -> str:
    parts = []
    for color, counted in slots.items():
        total = int(_mapping(counted).get("total") or 0)
        errors = int(_mapping(counted).get("errors") or 0)
        parts.append(f"{clean(color)} {total}, {errors} error{'' if errors == 1 else 's'}")
    return " · ".join(parts)


def _drain(drain: dict[str, Any]) -> str:
    if drain.get("seconds") is None:
        return ""
    return f"{duration(float(drain['seconds']))}, {int(drain.get('cut') or 0)} cut"


def _seconds(value: Any) -> str:
    return duration(float(value)) if isinstance(value, int | float) else NONE


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{clean(key)} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(inner) for inner in value)
    return clean(value)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
