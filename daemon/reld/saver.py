"""States to the store, with the receipts of the rollouts that ended on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

from reld.api.receipt import receipt
from reld.api.service import Vitals
from reld.clock import boottime, offset
from reld.core.model import Outcome, Rollout, State
from reld.processes import logs
from reld.store.database import Store
from reld.store.rows import RolloutRow

LOG_LINES = 20


class StateSaver:
    """`logs_at`: where the releases' logs are; a failed one's last lines go into its receipt."""

    def __init__(self, store: Store, logs_at: Path, notes: dict[str, str]) -> None:
        self._store = store
        self._logs_at = logs_at
        self._notes = notes

    async def save(self, state: State, ended: tuple[Rollout, ...]) -> None:
        """Raises StoreError."""
        rows = [await asyncio.to_thread(self._row, rollout) for rollout in ended]
        await self._store.save(state, rows)

    def _row(self, rollout: Rollout) -> RolloutRow:
        told = receipt(rollout, Vitals(boottime(), offset()), running=False)
        if rollout.outcome is not Outcome.DONE and rollout.to:
            tail = logs.tail(self._logs_at / f"{rollout.to}.log", LOG_LINES)
            told["evidence"] = {"log": tail}
        external = rollout.from_ == "external" and rollout.outcome is Outcome.DONE
        unit = self._notes.get("unit")
        if external and unit:
            told["notes"] = [
                f"the app of {unit} gets no requests any more: systemctl disable --now {unit}"
            ]
        return RolloutRow.of(told)
