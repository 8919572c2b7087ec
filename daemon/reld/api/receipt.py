"""Rollout → receipt: the durable account of who, what, when, requests, what was lost. Pure."""

from __future__ import annotations

from typing import Any

from reld.api.clock import iso
from reld.api.service import Vitals
from reld.api.timing import phases
from reld.core.model import Kind, Outcome, Rollout


def receipt(rollout: Rollout, vitals: Vitals, *, running: bool) -> dict[str, Any]:
    """The receipt object. Of a rollout that is over, `since` is the moment when it ended.

    "outcome", "exit" and "ended" are None while it runs: an outcome that is already decided can
    still change its name until the end.
    """
    end = vitals.now if running else rollout.since
    outcome = None if running else rollout.outcome
    return {
        "id": rollout.id,
        "kind": str(rollout.kind),
        "from": rollout.from_ or None,
        "to": rollout.to or None,
        "actor": rollout.actor,
        "outcome": None if outcome is None else str(outcome),
        "exit": None if outcome is None else exit_code(outcome, moved=rollout.moved),
        "reason": rollout.reason,
        "summary": _summary(rollout, outcome),
        "evidence": {},
        "unproven": rollout.unproven,
        "moved": rollout.moved,
        "requests": {
            "blue": {"total": rollout.blue.total, "errors": rollout.blue.errors},
            "green": {"total": rollout.green.total, "errors": rollout.green.errors},
        },
        "reloads": rollout.reloads,
        "drain": {"seconds": round(rollout.drain_seconds, 3), "cut": rollout.cut},
        "hooks": [
            {
                "name": hook.name,
                "state": str(hook.state),
                "attempt": hook.attempt,
                "detail": hook.detail,
            }
            for hook in rollout.hooks
        ],
        "started": iso(rollout.began + vitals.offset),
        "ended": None if running else iso(end + vitals.offset),
        "seconds": round(max(0.0, end - rollout.began), 3),
        "phases": phases(rollout, end, running=running),
    }


def exit_code(outcome: Outcome, *, moved: bool) -> int:
    """What `relctl` ends with when it watched this rollout."""
    match outcome:
        case Outcome.DONE:
            return 0
        case Outcome.FAILED:
            return 1
        case Outcome.ROLLED_BACK:
            return 3
        case Outcome.ABORTED:
            return 3 if moved else 1


def _summary(rollout: Rollout, outcome: Outcome | None) -> str:
    total = rollout.blue.total + rollout.green.total
    errors = rollout.blue.errors + rollout.green.errors
    counted = f"{_many(total, 'request')}, {_many(errors, 'error')}"
    if rollout.cut:
        counted += f", {_many(rollout.cut, 'connection')} cut at the end of the drain"
    return f"{_what(rollout, outcome)}: {counted}"


def _what(rollout: Rollout, outcome: Outcome | None) -> str:
    why = f" ({rollout.reason})" if rollout.reason else ""
    stays = f"{rollout.from_} serves" if rollout.from_ else "nothing was live before"
    match outcome:
        case None:
            return f"{rollout.kind} is {rollout.phase}"
        case Outcome.DONE if rollout.kind is Kind.STOP:
            return f"{rollout.from_ or 'the app'} was stopped"
        case Outcome.DONE if rollout.kind is Kind.CONTRACT:
            return "the contract migration has run"
        case Outcome.DONE:
            unproven = ", unproven" if rollout.unproven else ""
            return f"{rollout.to} serves{unproven}{why}"
        case Outcome.FAILED:
            return f"{rollout.kind} failed{why}, {stays}"
        case Outcome.ROLLED_BACK:
            return f"{rollout.to} was rolled back{why}, {stays}"
        case Outcome.ABORTED:
            return f"{rollout.kind} was aborted{why}, {stays}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
