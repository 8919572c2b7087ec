"""The answer to POST /v1/plan, out of what was looked at. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reld.config import Access, Hooks
from reld.core import agreement, approval
from reld.core.model import Kind, Rollout, State
from reld.errors import ConfigError, RelctlError
from reld.planning import memory
from reld.planning.memory import Memory
from reld.planning.questions import Answer, Question
from reld.planning.stages import Stage

_WHEN = {
    "before_start": "before {to} starts, while {from_} serves",
    "after_switch": "when {to} gets all of the traffic",
    "after_retire": "when {from_} has stopped",
    "on_rollback": "only if it goes back after traffic had moved",
}
_NEEDS_OLD = ("after_retire", "on_rollback")


@dataclass(frozen=True, slots=True)
class Found:
    """What was looked at. `stops`: what the switch would be refused or fail with, in its own words.

    `already`: why nothing would be done, `attached`: which rollout does it already; "" = neither.
    `gate_diff`: [{"when", "text", "diff"}]. `changes`: see `changes`. `judged`: see `outlook`.
    """

    stops: tuple[RelctlError, ...]
    questions: tuple[Question, ...]
    stages: Sequence[Stage]
    memory: Memory | None
    no_memory: str = ""
    already: str = ""
    attached: str = ""
    warnings: tuple[str, ...] = ()
    gate_diff: tuple[dict[str, str], ...] = ()
    gate_note: str = ""
    changes: tuple[dict[str, Any], ...] = ()
    judged: tuple[str, ...] = ()


def page(found: Found, plan: dict[str, Any], hooks_: Hooks, who: dict[str, Any]) -> dict[str, Any]:
    """`plan`: see `plans`. `hooks_`: the config's, of which `plan["hooks"]` are the ones that run."""
    stops = [stop_of(trouble) for trouble in found.stops]
    no = any(question.answer is Answer.NO for question in found.questions)
    return {
        "plan": {**plan, "stages": [stage.shown() for stage in found.stages]},
        "ok": not stops and not no,
        "already": found.already or None,
        "attached": found.attached or None,
        "stops": stops,
        "warnings": list(found.warnings),
        "questions": [question.shown() for question in found.questions],
        "detects": [*(plan.get("watch") or []), *found.judged],
        "memory": memory.told(found.memory, found.no_memory),
        "hooks": hooks(hooks_, str(plan.get("from") or ""), str(plan.get("to") or "")),
        "approvers": who,
        "config": list(found.changes),
        "gate_diff": list(found.gate_diff),
        "gate_note": found.gate_note or None,
    }


def stop_of(trouble: RelctlError) -> dict[str, Any]:
    """As an error is told, only that nothing has failed yet."""
    hint = trouble.hint
    if isinstance(trouble, ConfigError) and not hint:
        hint = "correct the config, then ask for the plan again"
    code, number = trouble.code, trouble.exit_code
    return {"code": code, "exit": number, "message": trouble.message, "hint": hint}


def hooks(configured: Hooks, from_: str, to: str) -> list[dict[str, Any]]:
    """Those that a switch runs, in the order of its life. `timeout` in seconds."""
    names = {"from_": from_ or "nothing", "to": to}
    return [
        {
            "name": name,
            "command": list(getattr(configured, name)),
            "when": when.format(**names),
            "timeout": configured.timeout,
        }
        for name, when in _WHEN.items()
        if getattr(configured, name) and (from_ or name not in _NEEDS_OLD)
    ]


def approvers(state: State, rollout: Rollout, access: Access) -> dict[str, Any]:
    """Who has to agree, and to what: {"needed", "who", "text"}."""
    needed = bool(access.approvers) and approval.needed(state, Kind.SWITCH, rollout.to)
    text = "nobody else has to agree"
    if needed:
        before = f"{rollout.from_} is stopped" if rollout.stop_first else "any traffic moves"
        text = f"another person has to agree before {before}: {', '.join(access.approvers)}"
    if rollout.policy.approve_after and not rollout.stop_first:
        manual = f"it will {agreement.planned(rollout.policy)}"
        text = f"{text}; {manual}" if needed else manual
    return {"needed": needed, "who": list(access.approvers), "text": text}
