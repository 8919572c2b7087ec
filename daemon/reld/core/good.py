"""The stack of good releases: a committed switch pushes, a committed rollback pops."""

from __future__ import annotations

from dataclasses import replace

from reld.core.model import (
    Good,
    Kind,
    Rollout,
)


def good_after(good: tuple[Good, ...], rollout: Rollout) -> tuple[Good, ...]:
    """A committed switch pushes, a committed rollback pops; a contract seals what lies below."""
    entry = Good(rollout.to, rollout.id)
    match rollout.kind:
        case Kind.STOP | Kind.EJECT | Kind.REHEARSAL:
            return good
        case Kind.CONTRACT:
            return (*(replace(g, sealed=True) for g in good[:-1]), *good[-1:])
        case Kind.ROLLBACK:
            left = {rollout.to, rollout.from_}  # neither it nor what came after it is a way back
            first = next((n for n, g in enumerate(good) if g.release in left), len(good))
            return (*good[:first], entry)
        case _:
            kept = tuple(g for g in good if g.release != rollout.to)
            return (*kept, entry)[-20:]
