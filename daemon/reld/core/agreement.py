"""A person between two steps: `steps = [5, "approve", 25, 100]` waits after 5 % until somebody agrees.

The guard stays on, there is no deadline, and what was agreed to is kept with the rollout: who and when.
Where the config names approvers it is one of them, and not the person who began. A release that takes
no steps has nobody to ask: the first one, one beside a dead slot, stop-first, and a way back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from reld.core import watch
from reld.core.model import Agreed, Phase, Rollout, State
from reld.core.policy import Policy

WORD = "approve"
BEFORE_ALL = 0
"""The "share" of a gate that stands before the first step."""
PAST_ALL = 101


def split(steps: Iterable[int | str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shares, and those after whose step a person must agree.

    Raises ValueError for any other word, and for two of them in a row.
    """
    shares: list[int] = []
    gates: list[int] = []
    for step in steps:
        if not isinstance(step, str):
            shares.append(step)
            continue
        if step != WORD:
            raise ValueError(f'"{step[:20]}" is no step')
        here = shares[-1] if shares else BEFORE_ALL
        if here in gates:
            raise ValueError(f'"{WORD}" is there twice in a row')
        gates.append(here)
    return tuple(shares), tuple(gates)


def joined(policy: Policy) -> tuple[int | str, ...]:
    """Steps and gates in one row again, as the config has them."""
    before: tuple[int | str, ...] = (WORD,) if BEFORE_ALL in policy.approve_after else ()
    row = [
        one
        for share in policy.steps
        for one in ((share, WORD) if share in policy.approve_after else (share,))
    ]
    return (*before, *row)


def planned(policy: Policy) -> str:
    """For people who are told what a rollout will do."""
    return f"wait for a person to agree {places(policy.approve_after)}: relctl promote"


def left_out(configured: Policy, policy: Policy) -> tuple[int, ...]:
    """The gates of the config that a rollout with other steps does not stop at."""
    return tuple(one for one in configured.approve_after if one not in policy.approve_after)


def places(gates: Iterable[int]) -> str:
    return " and ".join(place(after) for after in gates)


def place(after: int) -> str:
    """Where a gate stands."""
    return {BEFORE_ALL: "before any traffic", 100: "before the bake"}.get(after, f"after {after} %")


def due(rollout: Rollout, share: int) -> tuple[int, ...]:
    """The gates that stand between where it is and its step to `share`, and nobody agreed to yet."""
    done = {one.after for one in rollout.agreed}
    gates = rollout.policy.approve_after
    return tuple(gate for gate in gates if _here(rollout) <= gate < share and gate not in done)


def needed(state: State, rollout: Rollout, share: int = PAST_ALL) -> bool:
    """A person must agree before its step to `share`; without one: before the bake.

    Not while the old slot is dead: whoever is asked late leaves users without any answer.
    """
    old = state.slot(rollout.old)
    return old is not None and not old.dead and bool(due(rollout, share))


def farthest(rollout: Rollout) -> int:
    """The index of the last step that nobody has to agree to before."""
    steps = rollout.policy.steps
    allowed = [n for n, share in enumerate(steps) if not due(rollout, share)]
    return max(allowed, default=rollout.step)


def next_step(rollout: Rollout) -> int:
    """The index of the next step that could show anything.

    As long as no step was taken nobody can be asked any more: what stands behind the first one then
    waits there.
    """
    step = watch.next_step(rollout, rollout.step + 1)
    return step if rollout.step >= 0 else min(step, max(0, farthest(rollout)))


def asking(rollout: Rollout) -> Rollout:
    """It waits for a person now."""
    who = "an approver" if rollout.approval else "a person"
    wait = f"{who} to agree {place(_here(rollout))}: relctl promote {rollout.id}"
    return replace(rollout, asked=True, waiting=wait)


def asks(rollout: Rollout) -> bool:
    """A person is asked, and an answer would do something."""
    return (
        rollout.asked
        and rollout.turning is None
        and rollout.outcome is None
        and rollout.phase in (Phase.ADMITTING, Phase.SHIFTING)
    )


def agreed(rollout: Rollout, who: str, at: str, note: str = "", *, to_all: bool) -> Rollout:
    """Somebody has: to what it asks for, or to every step that is left. `at`: wall clock.

    A step that could not show anything takes its gate with it, unless somebody hurries: then no step is
    skipped.
    """
    steps, following = rollout.policy.steps, rollout.step + 1
    last, hurried = following == len(steps), rollout.promoted or rollout.full
    step = following if last or hurried else watch.next_step(rollout, following)
    upto = PAST_ALL if last else steps[step]
    if to_all and not (last and rollout.asked):
        upto = 100
    told = tuple(Agreed(gate, who, at, note) for gate in due(rollout, upto))
    waiting = "" if rollout.asked else rollout.waiting
    return replace(rollout, agreed=rollout.agreed + told, asked=False, waiting=waiting)


def _here(rollout: Rollout) -> int:
    return BEFORE_ALL if rollout.step < 0 else rollout.policy.steps[rollout.step]
