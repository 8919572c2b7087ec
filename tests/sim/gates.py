"""People between two steps: where a story has them, and that nothing gets past them."""

from __future__ import annotations

import random
from dataclasses import replace

from reld.core import commands as c
from reld.core.model import Kind, Phase, Rollout, State
from reld.core.policy import Policy


def gated(policy: Policy, chance: random.Random) -> Policy:
    """In a third of the rollouts somebody has to agree somewhere."""
    if chance.random() > 0.35:
        return policy
    places = sorted(g for g in (0, *policy.steps) if chance.random() < 0.5)
    return replace(policy, approve_after=tuple(places))


def answered(r: random.Random, state: State, command: c.Command) -> c.Command:
    """Who is asked may answer, as one who may or as one who may not."""
    running = state.rollout
    if running is None or not running.asked or isinstance(command, c.Begin) or r.random() > 0.5:
        return command
    name, uid = r.choice((("alice", 1000), ("bob", 1001)))
    full, approver, operator = (r.random() < p for p in (0.2, 0.6, 0.8))
    return c.Promote(
        running.id, full, people=(uid,), actor=name, approver=approver, operator=operator
    )


def passed(before: State, after: State) -> str:
    """What got past a person who had to agree; empty = nothing did."""
    was, now = before.rollout, after.rollout
    if was is None or now is None or was.id != now.id:
        return ""
    olds = before.slot(now.old), after.slot(now.old)  # it may die by the very event
    for one in now.agreed[len(was.agreed) :]:
        if now.approval and one.by == now.actor:
            return f"{one.by} agreed to what {one.by} began"
        if one.after not in now.policy.approve_after:
            return f"somebody agreed after {one.after} %, where nobody was asked"
    if any(old is None or old.dead for old in olds):
        return ""  # nobody may be made to wait for a person then
    missing = [g for g in _behind(was, now) if g not in {one.after for one in now.agreed}]
    return f"nobody agreed after {missing} %, and it is {now.phase} {now.step}" if missing else ""


def _behind(was: Rollout, now: Rollout) -> list[int]:
    """The gates that it came past."""
    gates = now.policy.approve_after
    if now.kind in (Kind.ROLLBACK, Kind.EJECT):
        return []
    if (was.phase, now.phase) == (Phase.ADMITTING, Phase.SHIFTING) and now.turning is None:
        return [g for g in gates if g == 0]
    if (was.phase, now.phase) == (Phase.SHIFTING, Phase.BAKING):
        return [g for g in gates if g == 100]
    if now.step <= was.step:
        return []
    here = 1 if was.step < 0 else now.policy.steps[was.step]
    return [g for g in gates if here <= g < now.policy.steps[now.step]]
