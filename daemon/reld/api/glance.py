"""The status as all who follow it see it: made once, however many look in the same moment."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from reld.api.clock import iso
from reld.api.service import Service
from reld.api.status import headline, status
from reld.core.model import State

FRESH = 0.1
"""Seconds that a look is good for, unless the state changed meanwhile: half of the shortest time
between two of one follower."""


class Glance:
    """Not safe for threads. Followers look at common moments, see `next_tick`."""

    def __init__(self, service: Service, clock: Callable[[], float] = time.monotonic) -> None:
        self._service = service
        self._clock = clock
        self._at = float("-inf")
        self._state: State | None = None
        self._time = ""
        self._shown: dict[str, Any] = {}
        self._lines: dict[tuple[str, int | None, int], bytes] = {}

    def line(self, event: str, rollout: int | None, seq: int) -> bytes:
        """A line of /v1/events with the status of now. `seq`: of the newest event that was told."""
        self._look()
        key = (event, rollout, seq)
        found = self._lines.get(key)
        if found is None:
            found = self._lines[key] = self._line(*key)
        return found

    def _look(self) -> None:
        now, state = self._clock(), self._service.state()
        if state is self._state and now < self._at + FRESH:
            return
        vitals = self._service.vitals()
        self._at, self._state = now, state
        self._time = iso(vitals.now + vitals.offset)
        self._shown = status(state, vitals)
        self._lines = {}

    def _line(self, event: str, rollout: int | None, seq: int) -> bytes:
        body = {
            "seq": seq,
            "time": self._time,
            "rollout": rollout,
            "event": event,
            "text": headline(self._shown),
            "status": self._shown,
        }
        return json.dumps(body, separators=(",", ":")).encode("ascii") + b"\n"


def next_tick(after: float, every: float) -> float:
    """The first common moment later than `after`, for everybody who looks `every` so many seconds."""
    return (after // every + 1) * every
