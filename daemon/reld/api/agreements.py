"""Who was asked between two steps of a rollout, and who agreed. Pure."""

from __future__ import annotations

from typing import Any

from reld.core import agreement
from reld.core.model import Rollout


def shown(rollout: Rollout) -> dict[str, Any]:
    """Keys of the "rollout" of a status. "asks": null, or what it waits for."""
    asks = None
    if agreement.asks(rollout):
        asks = {
            "of": "approver" if rollout.approval else "operator",
            "type": f"relctl promote {rollout.id}",
            "text": rollout.waiting,
        }
    return {
        "approve_after": list(rollout.policy.approve_after),
        "asks": asks,
        "agreed": given(rollout),
    }


def given(rollout: Rollout) -> list[dict[str, Any]]:
    """The "agreed" of a status and of a receipt."""
    return [
        {"after": one.after, "by": one.by, "at": one.at or None, "note": one.note or None}
        for one in rollout.agreed
    ]
