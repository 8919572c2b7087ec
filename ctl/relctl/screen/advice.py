"""What happens next by itself, and what a person may type meanwhile."""

from __future__ import annotations

from typing import Any

from relctl.status import can, next_words
from relctl.text import clean

_STEPLESS = ("stop", "contract", "start")


def then(rollout: dict[str, Any]) -> str:
    """Empty = it ends by itself, and there is nothing to say of it."""
    phase, old = rollout.get("phase"), clean(rollout.get("from") or "the old release")
    if rollout.get("kind") in _STEPLESS or rollout.get("strategy") == "stop-first":
        return ""
    if rollout.get("kind") == "rehearsal":
        return f"it goes back to {old} by itself: it is a rehearsal"
    match phase:
        case "shifting" | "preparing" | "starting" | "proving" | "admitting":
            return _forth(rollout, old)
        case "baking":
            return f"{old} leaves the gate, drains, stops; until then going back is instant"
        case "committing":
            return f"{old} drains and stops"
        case "reverting" | "returning":
            return f"{clean(rollout.get('to') or 'the candidate')} drains and stops"
        case "draining":
            return "it is stopped"
        case _:
            return ""


def commands(status: dict[str, Any], rollout: dict[str, Any] | None, *, away: bool = False) -> str:
    """What to type next. `away`: to whom else, if not to reld."""
    if away:
        back = " · sudo relctl rollback --offline" if rollout and rollout.get("percent") else ""
        return f"relctl check{back}"
    if rollout is None:
        return next_words(status)
    number, phase = rollout.get("id"), rollout.get("phase")
    if rollout.get("approval") == "awaited":
        return f"relctl approve {number} (another person){_also(status, 'abort', number)}"
    if rollout.get("asks"):
        return f"relctl promote {number}{_also(status, 'abort', number)}"
    if rollout.get("paused"):
        return "relctl resume · relctl promote · relctl abort"
    match phase:
        case "shifting":
            return "relctl promote (next step) · relctl pause · relctl abort"
        case "baking":
            return "relctl abort (back at once) · relctl promote (no more waiting)"
        case "draining" if not rollout.get("outcome"):
            back = _also(status, "rollback") if rollout.get("to") else ""
            return f"relctl promote (wait for nobody){back}"
        case "committing" | "reverting" | "returning" | "draining" | "stopping" | "finishing":
            return f"nothing, it ends by itself · then relctl show {number}"
        case _:
            steers = f"{_also(status, 'pause')}{_also(status, 'abort')}"
            return steers.removeprefix(" · ") or f"relctl show {number}"


def _also(status: dict[str, Any], command: str, number: Any = None) -> str:
    """One more command, if it would not be refused."""
    words = f"relctl {command}" if number is None else f"relctl {command} {number}"
    return f" · {words}" if can(status, command) else ""


def _forth(rollout: dict[str, Any], old: str) -> str:
    steps = [int(step) for step in rollout.get("steps") or [] if isinstance(step, int)]
    if not rollout.get("from") or not steps:
        return ""
    taken = rollout.get("step") if rollout.get("phase") == "shifting" else 0
    gone = rollout.get("skipped") or []
    left = [str(step) for step in steps[int(taken or 0) :] if step not in gone]
    shares = f"{', '.join(left)} %, " if left else ""
    return f"{shares}bake, drain; back to {old} by itself if worse"
