"""The steps of a rollout: shares of the traffic, and between them where a person must agree."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from reld.config import Rollout
from reld.config_values import WrongError, integer, items, many, show
from reld.core.agreement import WORD, split

EXPECTED = "percents that rise to 100, such as [5, 25, 50, 95, 100]"
_WITH_PEOPLE = (
    f'percents that rise to 100 and "{WORD}" between them, such as [5, "{WORD}", 25, 100]'
)
_MEANT = ("a", "manual", "pause", "wait", "promote")


@dataclass(frozen=True, slots=True)
class Steps:
    """`approve_after`: shares after whose step a person must agree; 0: before the first."""

    shares: tuple[int, ...]
    approve_after: tuple[int, ...]


def steps(value: Any) -> Steps:
    raw = items(value, EXPECTED)
    for word in (one for one in raw if isinstance(one, str) and one.isalpha() and one != WORD):
        meant = f'"{WORD}"' if word.lower().startswith(_MEANT) else ""
        raise WrongError(f"{show(word)} is no step", _WITH_PEOPLE, meant)
    many(integer(1, 100), EXPECTED)([one for one in raw if one != WORD])
    try:
        shares, gates = split(raw)
    except ValueError as wrong:
        raise WrongError(str(wrong), _WITH_PEOPLE) from None
    if not shares or shares[-1] != 100:
        raise WrongError("does not end in 100", EXPECTED)
    if any(a >= b for a, b in itertools.pairwise(shares)):
        raise WrongError("does not rise", EXPECTED)
    return Steps(shares, gates)


def rollout(steps: Steps | None = None, **more: Any) -> Rollout:
    """[rollout] of what its keys say."""
    if steps is None:
        return Rollout(**more)
    return Rollout(steps=steps.shares, approve_after=steps.approve_after, **more)
