"""The releases that a person may name: their directories, and what was good once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reld.core.model import State


def listed(state: State, directories_: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of GET /v1/releases, newest first."""
    known = list(directories_)
    known += [g.release for g in reversed(state.good) if g.release not in known]
    slots = {s.release: s.color for s in state.slots}
    live = state.slot(state.live)
    sealed = {g.release: g.sealed for g in state.good}
    return [
        {
            "release": name,
            "live": live is not None and live.release == name,
            "slot": slots.get(name),
            "good": name in sealed,
            "sealed": sealed.get(name, False),
        }
        for name in known
    ]


def directories(template: str) -> list[str]:
    """Names that `{release}` in the template can be filled with, newest first."""
    before, _, after = template.partition("{release}")
    parent = Path(before)
    if not before.endswith("/") or not parent.is_dir():
        return []
    found = []
    for entry in parent.iterdir():
        place = Path(f"{entry}{after}")
        if place.is_dir() and not entry.is_symlink():
            found.append((entry.stat().st_mtime, entry.name))
    return [name for _, name in sorted(found, reverse=True)]
