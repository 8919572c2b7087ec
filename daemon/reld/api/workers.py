"""Workers in a status and in a receipt. Pure."""

from __future__ import annotations

from typing import Any

from reld.api.clock import iso
from reld.api.service import Vitals
from reld.core.model import InstanceState, Rollout, Slot


def shown(slot: Slot, vitals: Vitals) -> list[dict[str, Any]]:
    """Those of a slot, key by key as it is documented."""
    return [
        {
            "name": w.worker,
            "index": w.index,
            "pid": w.identity.pid if w.identity is not None and w.runs else None,
            "state": "running" if w.state is InstanceState.READY else str(w.state),
            "started": iso(w.started_at + vitals.offset) if w.started_at else None,
            "restarts": w.restarts,
            "detail": w.detail,
        }
        for w in slot.workers
    ]


def moves(rollout: Rollout, vitals: Vitals) -> list[dict[str, Any]]:
    """Which of them were started and stopped, in order."""
    return [
        {"worker": m.worker, "release": m.release, "what": m.what, "at": iso(m.at + vitals.offset)}
        for m in rollout.worker_moves
    ]
