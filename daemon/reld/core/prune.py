"""Which releases may be removed from the disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reld.core.commands import way_back
from reld.core.model import State


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A release that `relctl unpack` put in place; `at`: when, seconds since 1970."""

    release: str
    at: float


def to_prune(found: Iterable[Unpacked], keep: int, state: State) -> tuple[str, ...]:
    """Oldest first: all but the newest `keep` and what is `needed`; `keep` 0: none, ever.

    While a rollout runs nothing is removed: where it ends, and what that needs, is not known yet.
    """
    if keep == 0 or state.rollout is not None:
        return ()
    newest = sorted(found, key=lambda one: (one.at, one.release), reverse=True)
    wanted = needed(state)
    return tuple(one.release for one in reversed(newest[keep:]) if one.release not in wanted)


def needed(state: State) -> frozenset[str]:
    """What runs, what a start would start, and what a rollback would go back to."""
    names = {slot.release for slot in state.slots}
    names.update(good.release for good in state.good[-2:])  # a start's, and the way back then
    back = way_back(state)
    if back is not None:
        names.add(back.release)
    return frozenset(names)
