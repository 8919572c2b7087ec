"""What the running phase waits for, and what is known against the candidate, as bars."""

from __future__ import annotations

from typing import Any

from relctl.look import Look
from relctl.screen.pieces import Line
from relctl.screen.slots import LABEL, Ranked
from relctl.text import clean, duration

_LEAST, _MOST = 6, 24
_WORDS = 24
"""Cells for what stands beside a bar."""
NEAR, VERY_NEAR = 0.5, 0.9
"""Evidence, of what a verdict needs, from which on people should look at it."""


def bars(status: dict[str, Any], columns: int, look: Look) -> list[Ranked]:
    """Nothing where the phase counts nothing."""
    rollout = status["rollout"]
    wide = min(_MOST, max(_LEAST, columns - LABEL - _WORDS))
    shown = _progress(rollout, wide, look)
    evidence = rollout.get("evidence")
    judged = rollout.get("percent") or in_shadow(rollout)
    if isinstance(evidence, dict) and judged:
        long = columns >= LABEL + wide + _WORDS + 4
        shown += [
            (4, _evidence("evidence", "errors", evidence, wide, look, long)),
            (5, _evidence("", "slowness", evidence, wide, look, long)),
        ]
    return shown


def _progress(rollout: dict[str, Any], wide: int, look: Look) -> list[Ranked]:
    found = rollout.get("progress")
    if not isinstance(found, dict):
        return []
    seconds = float(found.get("seconds") or 0.0)
    needed, most = found.get("needs_seconds"), found.get("at_most")
    if needed is None:
        words = f"{duration(seconds)}, at most {duration(float(most or 0))}"
        rows = [(4, _bar("time", _of(seconds, most), wide, words, look))]
    else:
        words = f"{duration(seconds)} of {duration(float(needed))}"
        if isinstance(most, int | float) and seconds > needed:
            words += f", at most {duration(float(most))}"
        rows = [(4, _bar("time", _of(seconds, needed), wide, words, look))]
    wanted = found.get("needs_requests")
    if wanted:  # 0: none are asked for
        had = int(found.get("requests") or 0)
        words = f"{had} of {wanted}"
        rows.append((5, _bar("requests", _of(had, wanted), wide, words, look)))
    if rollout.get("phase") == "draining" and rollout.get("left"):
        words = f"{clean(rollout['left'])} left"
        if rollout.get("streams"):
            words += f", {clean(rollout['streams'])} of them long ones"
        rows.append((5, (("open".ljust(LABEL), "dim"), (look.text(words), ""))))
    return rows


def _evidence(
    label: str, kind: str, evidence: dict[str, Any], wide: int, look: Look, long: bool
) -> Line:
    found = float(evidence.get(kind) or 0.0)
    style = "red" if found >= VERY_NEAR else "yellow" if found >= NEAR else ""
    of = " of a verdict" if long else ""
    return _bar(label, found, wide, f"{found * 100:.0f} %{of}, {kind}", look, style)


def _bar(label: str, fraction: float, wide: int, words: str, look: Look, style: str = "") -> Line:
    return (
        (label.ljust(LABEL), "dim"),
        (look.bar(fraction, wide), style),
        (f" {look.text(words)}", ""),
    )


def _of(part: float, whole: Any) -> float:
    return part / float(whole) if whole else 1.0


def in_shadow(rollout: dict[str, Any]) -> bool:
    """Before the first step, while what it answers is only compared."""
    shadow = rollout.get("shadow")
    shifts = rollout.get("phase") == "shifting" and not rollout.get("step")
    return isinstance(shadow, dict) and shifts and not shadow.get("over")
