"""The releases that a person may name: their directories, and what was good once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reld.api.clock import iso
from reld.core.model import State
from reld.core.prune import Unpacked
from reld.release_place import INCOMPLETE


def listed(
    state: State, directories_: Sequence[str], unpacked: Sequence[Unpacked] = ()
) -> list[dict[str, Any]]:
    """The rows of GET /v1/releases, newest first."""
    made = {one.release: iso(one.at) for one in unpacked}
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
            "unpacked": made.get(name),
        }
        for name in known
    ]


def directories(template: str) -> list[str]:
    """Names that `{release}` in the template can be filled with, newest first.

    Without what is hidden, or says that it is not complete.
    """
    before, _, after = template.partition("{release}")
    parent = Path(before)
    if not before.endswith("/") or not parent.is_dir():
        return []
    found = []
    for entry in parent.iterdir():
        place = Path(f"{entry}{after}")
        ready = place.is_dir() and not os.path.lexists(place / INCOMPLETE)
        if ready and not entry.is_symlink() and not entry.name.startswith("."):
            found.append((entry.stat().st_mtime, entry.name))
    return [name for _, name in sorted(found, reverse=True)]
