"""`relctl logs --new`: lines that the candidate writes and the old release never did."""

from __future__ import annotations

from typing import Any

from relctl.text import clean, clip, labelled, table, way

IN_RECEIPT = 3
"""Kinds of lines at the end of a rollout; `show` has all that were kept."""
_SHORT = 100


def lines(answer: dict[str, Any]) -> list[str]:
    """The answer for people."""
    outcome = clean(answer.get("outcome") or "still running").replace("_", " ")
    moves = way(answer.get("from"), answer.get("to"))
    found = answer.get("new_lines")
    if not isinstance(found, dict):
        why = clean(answer.get("why") or "it was not looked at")
        said = f"not known: {why}"
    elif not found.get("kinds"):
        said = f"none: {_against(answer, found)}"
    else:
        said = f"{_count(found)}; {_against(answer, found)}"
    head = labelled(
        ((f"rollout {clean(answer.get('rollout'))}", f"{moves}, {outcome}"), ("new lines", said))
    )
    rows = [(kind.get("count"), kind.get("level") or "", kind.get("text")) for kind in _top(found)]
    if not rows:
        return head
    shown = [*head, "", *table(("COUNT", "LEVEL", "LINE"), rows)]
    more = int(found["kinds"]) - len(rows) if isinstance(found, dict) else 0
    return [*shown, f"… and {more} more kinds"] if more > 0 else shown


def brief(found: Any, most: int | None) -> str:
    """For a receipt, a line for each of the first kinds; empty: none, or not known."""
    if not isinstance(found, dict) or not found.get("kinds"):
        return ""
    top = _top(found)
    shown = [
        f"{clean(kind.get('count'))} × {clip(clean(kind.get('text') or ''), _SHORT)}"
        for kind in (top if most is None else top[:most])
    ]
    return "\n".join([_count(found), *shown])


def _count(found: dict[str, Any]) -> str:
    kinds, written = int(found.get("kinds") or 0), int(found.get("lines") or 0)
    more = " at least" if found.get("thinned") else ""
    return f"{written}{more}, of {kinds} kind{'' if kinds == 1 else 's'}"


def _against(answer: dict[str, Any], found: dict[str, Any]) -> str:
    known = int(found.get("known") or 0)
    return f"compared with {known} lines of {clean(answer.get('from') or 'the old release')}"


def _top(found: Any) -> list[dict[str, Any]]:
    top = found.get("top") if isinstance(found, dict) else None
    return [kind for kind in top if isinstance(kind, dict)] if isinstance(top, list) else []
