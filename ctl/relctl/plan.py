"""What reld intends, in one line: from, to, how, and how long it will take."""

from __future__ import annotations

from typing import Any

from relctl.text import clean, duration, way


def title(answer: dict[str, Any], verb: str) -> str:
    """The first line of a rollout that was accepted."""
    plan = answer.get("plan") or {}
    number = f"rollout {answer['id']}: " if answer.get("id") is not None else ""
    kind = str(plan.get("kind") or verb)
    parts = [f"{number}{clean(kind)} {way(plan.get('from'), plan.get('to'))}" if plan else number]
    back = "rollback" in (kind, verb)
    if back:
        parts.append("instantly" if plan.get("instant", answer.get("attached")) else "boots first")
    if plan.get("strategy") == "stop-first":
        parts.append("stop-first")
    elif plan.get("steps") and not back:
        parts.append(" → ".join(_steps(plan)))
    if plan.get("seconds") is not None and not plan.get("instant"):
        parts.append(f"about {duration(float(plan['seconds']))}")
    if answer.get("attached"):
        parts.append("already on its way" if verb != "rollback" else "turned back")
    return ", ".join(part for part in parts if part).replace(": ,", ":")


def _steps(plan: dict[str, Any]) -> list[str]:
    """The shares, and between them where a person must agree."""
    gates = plan.get("approve_after") or []
    row = ["approve"] if 0 in gates else []
    for step in plan["steps"]:
        row += [str(step), "approve"] if step in gates else [str(step)]
    last = -2 if 100 in gates else -1
    return [*row[:last], f"{row[last]} %", *row[len(row) + last + 1 :]]


def watch(answer: dict[str, Any]) -> list[str]:
    """What the watch can find, and what it cannot."""
    return [clean(line) for line in (answer.get("plan") or {}).get("watch") or []]


def lines(answer: dict[str, Any]) -> list[str]:
    """The whole plan, for `--dry-run`."""
    plan = answer.get("plan") or {}
    return [title(answer, str(plan.get("kind") or "")), *map(clean, plan.get("text") or [])]


def release(answer: dict[str, Any]) -> str:
    """The release that it is about."""
    return str((answer.get("plan") or {}).get("to") or "")
