"""States to the store, with the receipts and counts of the rollouts that ended on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from reld import ejecting, log_lines
from reld.api.receipt import receipt
from reld.api.service import Vitals
from reld.clock import boottime, offset
from reld.core.model import Color, Counts, Kind, Outcome, Rollout, State
from reld.excerpt import excerpt
from reld.newlines.news import News
from reld.processes.journal import Journal
from reld.store.database import Store
from reld.store.rows import RolloutRow, WatchRow

LOG_LINES = 20

log = logging.getLogger("reld.saver")

Watched = Callable[[int], bytes | None]
"""What the sensor counted during a rollout: JSON lines; None: nothing. Called in a thread."""


Counted = Callable[[int], Mapping[Color, Counts] | None]
"""The requests of a rollout to its last one; None: the state knows them best. Called in a thread."""

TurnedAway = Callable[[int], int]
"""Of those the ones that got the announced 503; asked after `Counted`. Called in a thread."""

NewsAtTheEnd = Callable[[int], News | None]
"""What its candidate wrote that the old release never did. Called in a thread."""


def unwatched(_rollout: int) -> bytes | None:
    return None


def uncounted(_rollout: int) -> Mapping[Color, Counts] | None:
    return None


def nobody(_rollout: int) -> int:
    return 0


def unheard(_rollout: int) -> News | None:
    return None


class StateSaver:
    """`logs_at`: where the releases' logs are; a failed one's last lines go into its receipt."""

    def __init__(
        self,
        store: Store,
        logs_at: Path,
        notes: dict[str, str],
        watched: Watched = unwatched,
        counted: Counted = uncounted,
        turned_away: TurnedAway = nobody,
        news: NewsAtTheEnd = unheard,
    ) -> None:
        self._store = store
        self._logs_at = logs_at
        self._notes = notes
        self._watched = watched
        self._counted = counted
        self._turned_away = turned_away
        self._news = news

    async def save(self, state: State, ended: tuple[Rollout, ...]) -> None:
        """Raises StoreError."""
        rows = [await asyncio.to_thread(self._row, rollout) for rollout in ended]
        counted = [await asyncio.to_thread(self._watch, rollout.id) for rollout in ended]
        await self._store.save(state, rows, [watch for watch in counted if watch is not None])

    def _watch(self, rollout: int) -> WatchRow | None:
        try:
            rows = self._watched(rollout)
        except OSError as error:  # a replay is worth less than a receipt
            log.warning("the counts of rollout %d are lost: %s", rollout, error)
            return None
        return WatchRow(rollout, rows) if rows else None

    def _with_counts(self, rollout: Rollout) -> Rollout:
        try:
            found = self._counted(rollout.id)
        except OSError as error:
            log.warning("the last requests of rollout %d are not counted: %s", rollout.id, error)
            return rollout
        if found is None:
            return rollout
        blue, green = (found.get(color, Counts()) for color in (Color.BLUE, Color.GREEN))
        away = max(rollout.turned_away, self._turned_away(rollout.id))
        return replace(rollout, blue=blue, green=green, turned_away=away)

    def _row(self, rollout: Rollout) -> RolloutRow:
        rollout = self._with_counts(rollout)
        news = self._news(rollout.id)
        known = {} if news is None else {rollout.id: news}
        vitals = Vitals(boottime(), offset(), new_lines=known)
        told = receipt(rollout, vitals, running=False)
        if rollout.outcome is not Outcome.DONE and rollout.to:
            journal = Journal(self._notes.get("app", ""))
            tail = log_lines.last_of(self._logs_at, journal, rollout, LOG_LINES)
            told["evidence"] = {**told["evidence"], "log": tail, "excerpt": excerpt(tail)}
        if rollout.outcome is Outcome.DONE:
            told["notes"] = self._next(rollout)
        return RolloutRow.of(told)

    def _next(self, rollout: Rollout) -> list[str]:
        """What is left for a person to do."""
        unit = self._notes.get("unit")
        if rollout.kind is Kind.EJECT:
            return ejecting.done_lines(
                self._notes.get("app", ""), self._notes.get("gate", ""), rollout
            )
        if rollout.from_ == "external" and unit:
            return [
                f"the app of {unit} gets no requests any more: sudo systemctl disable --now {unit}"
            ]
        return ejecting.left_lines(rollout)
