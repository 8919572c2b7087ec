"""A rollout on a terminal: what is over stays as lines, what goes on is a block that is rewritten.

Also what happens without one: the same block, with what is live.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Any

from relctl import plan
from relctl.look import look_of
from relctl.receipt import lines
from relctl.screen.frame import MOST_EVENTS, Scene, frame
from relctl.screen.painter import Painter
from relctl.text import clean, duration, way

NEWS = ("degraded", "waiting", "hook", "verdict", "shield", "shadow")
_NO_EVENT = ("status", "progress", "accepted")
_REMEMBERED = 4 * MOST_EVENTS
_NOTICED = 1.0
"""Seconds that reld may be away before it is shown: what is shorter than a glance is no news."""
_AT_LEAST = 0.05
"""Seconds between two drawings: who was stopped for a while has a lot to read first."""


class Screen:
    """The view for people who watch."""

    query = f"every=0.25&last={_REMEMBERED}"
    silence: float | None = 5.0

    def __init__(self) -> None:
        self._look = look_of(sys.stdout)
        sys.stdout.flush()
        keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._painter = Painter(self._look, sys.stdout.fileno(), keys)
        self._status: dict[str, Any] = {}
        self._events: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)
        self._away: float | None = None
        self._number: Any = None
        self._phase: str | None = None
        self._since = 0.0
        self._said = ""
        self._skipped = 0
        self._drawn = 0.0

    def event(self, event: dict[str, Any]) -> None:
        kind, text = event.get("event"), clean(event.get("text") or "")
        if event.get("past"):
            self._remember(event)
            return
        if kind == "accepted":
            self._number = event.get("id")
            self._painter.say([text, *(f"  {line}" for line in plan.watch(event))])
            return
        if kind not in _NO_EVENT:
            self._remember(event)
        status = event.get("status")
        stay: list[str] = []
        if isinstance(status, dict):
            self._status = status
        rollout = status.get("rollout") if isinstance(status, dict) else None
        if isinstance(rollout, dict):
            stay += self._entered(rollout)
        receipt = event.get("receipt")
        if kind == "result" and isinstance(receipt, dict):
            stay += self._over(receipt)
        news = kind in NEWS or self._skips(kind, rollout)
        if news and text and text != self._said:
            self._said = text
            stay.append(f"  {text}")
        self._draw(stay)

    def notice(self, text: str) -> None:
        self._painter.close()
        print(text, file=sys.stderr, flush=True)

    def away(self, text: str, seconds: float) -> None:
        if not self._status:
            if seconds == 0.0:
                self.notice(text)
            return
        if seconds < _NOTICED:
            return
        self._away = seconds
        self._drawn = 0.0
        self._draw([])

    def back(self) -> None:
        self._away = None

    def end(self, receipt: dict[str, Any]) -> None:
        self._painter.say(self._over(receipt))
        self._painter.close()

    def close(self) -> None:
        self._painter.close()

    def _draw(self, stay: list[str]) -> None:
        now = time.monotonic()
        if not stay and now < self._drawn + _AT_LEAST:
            return
        self._drawn = now
        if not self._status:
            self._painter.say(stay)
            return
        scene, size = Scene(self._status, tuple(self._events), self._away), self._painter.size
        self._painter.draw(frame(scene, size, self._look), stay, size)

    def _remember(self, event: dict[str, Any]) -> None:
        """What is told again after an outage is known already."""
        newest = str(self._events[-1].get("time") or "") if self._events else ""
        if not event.get("past") or str(event.get("time") or "") > newest:
            self._events.append(event)

    def _skips(self, kind: Any, rollout: Any) -> bool:
        """Whether it tells of a step that is left out; who comes later is not told again."""
        before, steps = self._skipped, len((rollout or {}).get("skipped") or [])
        if kind in ("status", "step"):
            self._skipped = steps
        return kind == "step" and steps > before

    def _entered(self, rollout: dict[str, Any]) -> list[str]:
        """The lines of what is over now."""
        stay: list[str] = []
        number, phase = rollout.get("id"), rollout.get("phase")
        if number != self._number:
            self._phase, self._number = None, number
            stay.append(_title(rollout))
        if not phase or phase == self._phase:
            return stay
        if self._phase is None:  # we came later: what is over is told at once
            stay += [finished(name, seconds) for name, seconds in _phases(rollout) if name != phase]
        else:
            stay += self._finished(rollout)
        self._phase = str(phase)
        self._since = time.monotonic()
        return stay

    def _over(self, receipt: dict[str, Any]) -> list[str]:
        return [*self._finished(receipt), "", *lines(receipt)]

    def _finished(self, account: dict[str, Any]) -> list[str]:
        if self._phase is None:
            return []
        seconds = time.monotonic() - self._since
        for name, counted in _phases(account):  # reld's clock saw all of it, ours only the end
            if name == self._phase:
                seconds = counted
        line = finished(self._phase, seconds)
        self._phase = None
        return [line]


def finished(phase: str, seconds: float) -> str:
    return f"  {clean(phase):<11} {duration(seconds)}"


def _title(rollout: dict[str, Any]) -> str:
    people = f" by {clean(rollout['actor'])}" if rollout.get("actor") else ""
    moves = way(rollout.get("from"), rollout.get("to"))
    return f"rollout {rollout.get('id')}: {clean(rollout.get('kind') or '')} {moves}{people}"


def _phases(account: dict[str, Any]) -> list[tuple[str, float]]:
    return [
        (str(phase.get("phase")), float(phase.get("seconds") or 0))
        for phase in account.get("phases") or []
        if isinstance(phase, dict)
    ]
