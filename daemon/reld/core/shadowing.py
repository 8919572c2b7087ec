"""Before the first step: some of the live slot's GETs go to the candidate, too, and no user sees it.

It is a step without lanes, in the phase `shifting`, for `step_time` and as many copies as a step of
that share would have requests, at most for `step_max`. Then the mirror goes off, and only when that is
sure the lanes begin to move. What is clearly worse here fails: no traffic was moved.
"""

from __future__ import annotations

import math
from dataclasses import replace

from reld.core import watch
from reld.core.guard import guard
from reld.core.model import Mark, Outcome, Phase, Rollout, Shadow, State
from reld.core.turns import (
    TOLD_AFTER,
    held,
    held_for_a_person,
    step_on,
    turn_back,
    wait,
    with_rollout,
)
from reld.core.verdict.finding import Finding

TOO_QUIET = "too few requests to show anything"


def shadow_begun(state: State, rollout: Rollout, at: float) -> State:
    """The first thing in `shifting`: the mirror is to go on, or the first step is taken."""
    if not rollout.policy.shadow:
        return step_on(state, rollout, at)
    if _too_quiet(rollout):
        return step_on(state, _over(rollout, TOO_QUIET, at), at)
    return with_rollout(state, replace(rollout, shadow=Shadow(on=True)))


def shadows(rollout: Rollout) -> bool:
    """The step before the first one."""
    return rollout.phase is Phase.SHIFTING and rollout.step < 0


def mirrors(rollout: Rollout) -> bool:
    """The mirror should be on."""
    return shadows(rollout) and not rollout.shadow.over and rollout.turning is None


def shadowing(state: State, rollout: Rollout, at: float) -> State:
    """The mirror goes on, is watched, goes off."""
    shadow = rollout.shadow
    ended = rollout if shadow.over else _over(rollout, "", at)
    if rollout.turning is not None:
        return turn_back(state, ended, rollout.turning, rollout.reason, at)
    why = guard(state)
    if why:
        return turn_back(state, ended, Outcome.FAILED, _accused(rollout, why), at)
    if shadow.over:
        if shadow.on:
            return _switched(state, rollout, "off", at)
        unheard = replace(rollout.watch, finding=Finding())  # of users nothing was heard yet
        return step_on(state, replace(rollout, watch=unheard), at)
    old = state.slot(rollout.old)
    if rollout.full or rollout.promoted or old is None or old.dead:
        short = replace(rollout, promoted=False)
        return with_rollout(state, _over(short, "it was cut short", at))
    if shadow.since is None:
        if at >= rollout.since + 2 * TOLD_AFTER and not rollout.paused:
            return with_rollout(state, _over(rollout, "the mirror could not be switched on", at))
        return _switched(state, rollout, "on", at)
    late = at >= shadow.since + rollout.policy.step_max
    holding = held(state, rollout, at)
    if holding and (rollout.paused or not late or not _may_go_on(state, rollout)):
        return wait(state, rollout, holding)
    if rollout.watch.finding.asks:
        return held_for_a_person(state, rollout)
    if late:
        few = "" if _enough(rollout) else TOO_QUIET
        held_by = holding.partition(": the share stays")[0]
        return with_rollout(state, _over(rollout, held_by or few, at))
    hold = rollout.watch.finding.hold
    watched = watch.watched_for(rollout, shadow.since)
    if watched >= rollout.policy.step_time and _enough(rollout) and not hold:
        return with_rollout(state, _over(rollout, "", at))
    return wait(state, rollout, hold)


def shadow_set(rollout: Rollout, at: float, *, on: bool) -> Rollout:
    """The gate's files say so now."""
    shadow = rollout.shadow
    if not on:
        return replace(rollout, shadow=replace(shadow, on=False))
    if not mirrors(rollout) or shadow.since is not None:
        return rollout
    told = watch.watch_begun(rollout.watch, at)
    return replace(rollout, shadow=replace(shadow, since=at), watch=told, waiting="")


def shadow_alarms(rollout: Rollout) -> list[float]:
    """When the next Tick is due."""
    shadow = rollout.shadow
    if shadow.since is None or shadow.over:
        return [rollout.since + TOLD_AFTER, rollout.since + 2 * TOLD_AFTER]
    return [rollout.watch.silent_at, shadow.since + rollout.policy.step_max]


def needed(share: float, step_requests: int) -> int:
    """Copies that make a shadow: as many as a step of that share gives the candidate."""
    return math.ceil(step_requests * share - 1e-9)


def _enough(rollout: Rollout) -> bool:
    policy = rollout.policy
    return rollout.shadow.mirrored.total >= needed(policy.shadow, policy.step_requests)


def _too_quiet(rollout: Rollout) -> bool:
    rate, policy = rollout.watch.rate, rollout.policy
    return rate is not None and rate * policy.shadow * policy.step_max < watch.FEWEST


def _may_go_on(state: State, rollout: Rollout) -> bool:
    """Its time is up, and what holds it is nothing that the first step would not see again."""
    old = state.slot(rollout.old)
    return (old is None or old.fit or old.dead) and not watch.worse(rollout)


def _over(rollout: Rollout, reason: str, at: float) -> Rollout:
    shadow = rollout.shadow
    seconds = 0.0 if shadow.since is None else at - shadow.since
    over = replace(shadow, over=True, reason=reason or shadow.reason, seconds=seconds)
    marks = (*rollout.marks, Mark(rollout.phase, rollout.since))
    return replace(rollout, shadow=over, since=at, marks=marks, waiting="")


def _switched(state: State, rollout: Rollout, way: str, at: float) -> State:
    if at < rollout.since + TOLD_AFTER:
        return state
    return wait(state, rollout, f"the mirror of the gate does not go {way}")


def _accused(rollout: Rollout, why: str) -> str:
    if why != watch.worse(rollout):
        return why
    seen = watch.dealt(rollout)
    users = f"users were given {seen} of its answers" if seen else "no user saw it"
    return f"failed in shadow: {why}; {users}"
