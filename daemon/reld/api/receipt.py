"""Rollout → receipt: the durable account of who, what, when, requests, what was lost. Pure."""

from __future__ import annotations

from typing import Any

from reld.api import agreements, new_lines, rehearsal, shadow, workers
from reld.api.clock import iso
from reld.api.evidence import evidence, judged_by, requests
from reld.api.service import Vitals
from reld.api.summary import summary
from reld.api.timing import phases
from reld.core.model import Color, Outcome, Rollout
from reld.core.policy import STOP_FIRST, WARM


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
        "note": rollout.note,
        "approved_by": rollout.approved_by or None,
        "approval_note": rollout.approval_note,
        "agreed": agreements.given(rollout),
        "on_duty": rollout.on_duty or None,
        "summary": summary(rollout, outcome),
        "evidence": evidence(rollout),
        "judged_by": judged_by(rollout),
        "warning": rollout.warning or None,
        "unproven": rollout.unproven,
        "moved": rollout.moved,
        "skipped": list(rollout.skipped),
        "shadow": shadow.account(rollout),
        "rehearsal": None if running else rehearsal.account(rollout),
        "requests": {
            "blue": {**requests(rollout.blue), "release": _release(rollout, Color.BLUE)},
            "green": {**requests(rollout.green), "release": _release(rollout, Color.GREEN)},
        },
        "strategy": STOP_FIRST if rollout.stop_first else WARM,
        "turned_away": rollout.turned_away,
        "new_lines": new_lines.shown(vitals.new_lines.get(rollout.id), new_lines.IN_RECEIPT),
        "reloads": rollout.reloads,
        "workers": workers.moves(rollout, vitals),
        "drain": {
            "seconds": round(rollout.drain_seconds, 3),
            "cut": rollout.cut,
            "closed": rollout.closed,
        },
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


def _release(rollout: Rollout, color: Color) -> str | None:
    """What was in the slot meanwhile; None: nothing, or nobody remembers."""
    if color is rollout.candidate:
        return rollout.to or None
    return (rollout.from_ or None) if color is rollout.old else None


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
