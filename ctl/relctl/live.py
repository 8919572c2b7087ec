"""A rollout on a terminal: finished phases stay as lines, the running one is rewritten in place.

No colour at all, so NO_COLOR has nothing to turn off.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any

from relctl import plan
from relctl.receipt import lines
from relctl.status import against, slots
from relctl.text import clean, clip, duration

WIDEST = 80
NEWS = ("degraded", "waiting", "hook", "verdict", "shield", "shadow")
CLEAR = "\r\x1b[K"


class Screen:
    """The view for people who watch."""

    def __init__(self) -> None:
        self._phase: str | None = None
        self._since = 0.0
        self._drawn = False
        self._said = ""
        self._skipped = 0

    def event(self, event: dict[str, Any]) -> None:
        text = clean(event.get("text") or "")
        if event.get("event") == "accepted":
            self._line(text)
            for line in plan.watch(event):
                self._line(f"  {line}")
            return
        status = event.get("status")
        rollout = status.get("rollout") if isinstance(status, dict) else None
        news = event.get("event") in NEWS or self._skips(event.get("event"), rollout)
        if news and text and text != self._said:
            self._said = text
            self._line(f"  {text}")
        if isinstance(status, dict) and isinstance(rollout, dict):
            self._enter(rollout)
            self._draw(live_line(status, rollout))
        elif event.get("event") not in ("result", *NEWS) and text:
            self._draw(text)

    def notice(self, text: str) -> None:
        self._clear()
        print(text, file=sys.stderr, flush=True)

    def end(self, receipt: dict[str, Any]) -> None:
        self._finish(receipt)
        self._clear()
        print("\n".join(["", *lines(receipt)]), flush=True)

    def close(self) -> None:
        with suppress(OSError):  # the terminal may be what was lost
            self._clear()

    def _skips(self, kind: Any, rollout: Any) -> bool:
        """Whether it tells of a step that is left out; who comes later is not told again."""
        before, steps = self._skipped, len((rollout or {}).get("skipped") or [])
        if kind in ("status", "step"):
            self._skipped = steps
        return kind == "step" and steps > before

    def _enter(self, rollout: dict[str, Any]) -> None:
        phase = rollout.get("phase")
        if not phase or phase == self._phase:
            return
        if self._phase is None:  # we came later: what is over is told at once
            for name, seconds in _phases(rollout):
                if name != phase:
                    self._line(finished_line(name, seconds))
        else:
            self._finish(rollout)
        self._phase = str(phase)
        self._since = time.monotonic()

    def _finish(self, account: dict[str, Any]) -> None:
        if self._phase is None:
            return
        seconds = time.monotonic() - self._since
        for name, counted in _phases(account):  # reld's clock saw all of it, ours only the end
            if name == self._phase:
                seconds = counted
        self._line(finished_line(self._phase, seconds))
        self._phase = None

    def _line(self, text: str) -> None:
        self._clear()
        print(text, flush=True)

    def _draw(self, text: str) -> None:
        columns = min(WIDEST, _columns())
        sys.stdout.write(CLEAR + clip(text, columns - 1))  # the last column would wrap
        sys.stdout.flush()
        self._drawn = True

    def _clear(self) -> None:
        if self._drawn:
            sys.stdout.write(CLEAR)
            sys.stdout.flush()
            self._drawn = False


def finished_line(phase: str, seconds: float) -> str:
    return f"  {clean(phase):<11} {duration(seconds)}"


def live_line(status: dict[str, Any], rollout: dict[str, Any]) -> str:
    """Phase, share, time left, evidence, what it waits for, instances: as much as fits.

    Once there is evidence, instances are shown only when one of them is not ready.
    """
    parts = [f"{clean(rollout.get('phase') or ''):<11} {rollout.get('percent') or 0:>3} %"]
    if rollout.get("paused"):
        parts.append("paused")
    elif rollout.get("eta") is not None:
        parts.append(f"{duration(float(rollout['eta']))} left")
    if rollout.get("turned_away"):
        parts.append(f"{clean(rollout['turned_away'])} × 503")
    evidence = rollout.get("evidence")
    judged = isinstance(evidence, dict) and bool(rollout.get("percent"))
    if judged:
        parts.append(f"evidence {against(evidence)}")
        if rollout.get("waiting"):
            parts.append(clean(rollout["waiting"]))
    counted = [text for text in map(_ready, slots(status).items()) if text]
    if counted and not (judged and _all_ready(status)):
        parts.append(", ".join(counted))
    if rollout.get("waiting") and not judged:
        parts.append(clean(rollout["waiting"]))
    return "> " + " · ".join(parts)


def _ready(item: tuple[str, Any]) -> str:
    color, slot = item
    instances = (slot or {}).get("instances") or []
    ready = sum(instance.get("state") == "ready" for instance in instances)
    return f"{color} {ready}/{len(instances)} ready" if instances else ""


def _all_ready(status: dict[str, Any]) -> bool:
    found = [i for slot in slots(status).values() for i in (slot or {}).get("instances") or []]
    return all(instance.get("state") == "ready" for instance in found)


def _phases(account: dict[str, Any]) -> list[tuple[str, float]]:
    return [
        (str(phase.get("phase")), float(phase.get("seconds") or 0))
        for phase in account.get("phases") or []
        if isinstance(phase, dict)
    ]


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDEST
    except OSError:
        return WIDEST
