"""What the shadow of a rollout found, as an object of a status and of a receipt. Pure."""

from __future__ import annotations

from typing import Any

from reld.core.model import Rollout


def account(rollout: Rollout) -> dict[str, Any] | None:
    """The "shadow" of a status and of a receipt; None: it was not wanted. Times in seconds."""
    shadow = rollout.shadow
    if not rollout.policy.shadow:
        return None
    mirrored = shadow.mirrored
    return {
        "share": rollout.policy.shadow,
        "total": mirrored.total,
        "failures": mirrored.failures,
        "p95": mirrored.p95,
        "live_p95": mirrored.live_p95,
        "seconds": round(shadow.seconds, 3),
        "over": shadow.over,
        "reason": shadow.reason or None,
    }
