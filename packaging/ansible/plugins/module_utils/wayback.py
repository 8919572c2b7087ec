"""How to be rid of a release, out of what `relctl status` says. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GOING = ("rolled_back", "aborted", "failed")
"""Outcomes that are known before the rollout is over: it is going back."""


@dataclass(frozen=True, slots=True)
class Way:
    """What is to be done. All empty: go back, to whatever relctl thinks best.

    `done`: nothing is, and why. `joins`: a rollout that goes back from it already. `to`: the release to
    go back to. `busy`: another rollout, `waits_for`, is in the way.
    """

    done: str = ""
    joins: int | None = None
    to: str | None = None
    busy: str = ""
    waits_for: int = 0


def way(status: dict[str, Any], bad: str, release: str | None) -> Way:
    """`release`: where to, None = relctl chooses."""
    live, running = status.get("release"), status.get("rollout") or {}
    brings, leaves, kind = running.get("to"), running.get("from"), running.get("kind")
    if kind == "rollback" and leaves == bad and brings != bad and release in (None, brings):
        return Way(joins=int(running["id"]))
    if kind == "switch" and brings == bad and running.get("outcome") in GOING:
        return Way(joins=int(running["id"]))  # it goes back by itself
    if kind == "switch" and brings == bad != leaves:
        return Way(to=release or leaves)  # relctl turns it round
    if not running:
        return Way(to=release) if live == bad else Way(done=_elsewhere(live, bad))
    if bad not in (live, brings):
        return Way(done=_elsewhere(live, bad))
    number = int(running["id"])
    what = f"rollout {number} ({brings or kind}) is {running.get('phase')}"
    hint = f"next: relctl watch {number}, or wait_lock"
    return Way(busy=f"cannot roll back from {bad}: {what}; {hint}", waits_for=number)


def before(history: list[dict[str, Any]], bad: str) -> str | None:
    """What was live before `bad` was switched to, by `relctl history`, newest first."""
    for past in history:
        brought = (past.get("kind"), past.get("to")) == ("switch", bad) and past.get("from") != bad
        if brought and str(past.get("outcome")).startswith("done"):
            return past.get("from")
    return None


def _elsewhere(live: Any, bad: str) -> str:
    return f"{bad} is not live here: {live or 'nothing'} is"
