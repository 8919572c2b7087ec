"""The releases that a person may name: their directories, and what was good once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from reld.api.clock import iso
from reld.core.model import State
from reld.core.prune import Unpacked
from reld.release_place import incomplete


def listed(
    state: State,
    directories_: Sequence[str],
    unpacked: Sequence[Unpacked] = (),
    unfinished: Mapping[str, str] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """The rows of GET /v1/releases, newest first; those that are not complete come before."""
    made = {one.release: iso(one.at) for one in unpacked}
    known = [*unfinished, *(d for d in directories_ if d not in unfinished)]
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
            "incomplete": unfinished.get(name),
        }
        for name in known
    ]


def directories(template: str) -> list[str]:
    """Names that `{release}` in the template can be filled with, newest first.

    Without what is hidden, or says that it is not complete.
    """
    ready = [(made, name) for name, made, unfinished in _there(template) if not unfinished]
    return [name for _, name in sorted(ready, reverse=True)]


def unfinished(template: str) -> dict[str, str]:
    """Those that say that they are not complete, and what they are: see `release_place.Incomplete`."""
    return {name: word for name, _, word in sorted(_there(template)) if word}


def _there(template: str) -> Iterator[tuple[str, float, str]]:
    before, _, after = template.partition("{release}")
    parent = Path(before)
    if not before.endswith("/") or not parent.is_dir():
        return
    for entry in parent.iterdir():
        place = Path(f"{entry}{after}")
        if place.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
            found = incomplete(str(entry), str(place))
            yield entry.name, entry.stat().st_mtime, "" if found is None else found.word
