"""What is promised of a rehearsal: nothing is as it was not, whatever happens meanwhile."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from reld.core.commands import Begin
from reld.core.model import Kind, State
from reld.core.policy import Policy
from reld.core.rehearsed import Rehearsal

if TYPE_CHECKING:
    from tests.sim.world import World


def wish(r: random.Random) -> Rehearsal:
    """One that somebody might want; without a token the gate knows none of its requests."""
    token = r.choice(("", "0123456789abcdef" * 2))
    return Rehearsal(r.choice((1, 5, 50)), r.choice((1.0, 5.0, 30.0)), r.random() < 0.4, token)


def rehearse(world: World, policy: Policy, number: int) -> str:
    """Before act `number` somebody rehearses, and mostly waits for the end; empty = nobody does."""
    r = random.Random(f"story {world.seed} rehearsal {number}")
    if r.random() >= 0.06 or world.state.rollout is not None:
        return ""
    begin = Begin(Kind.REHEARSAL, None, policy, "test", rehearsal=wish(r))
    said = world.command(begin) or "accepted"
    if said == "accepted":
        world.run(r.choice((5.0, 100.0, 100.0)) * r.random())
    return f"rehearsal: {said}"


def stays_as_it_is(before: State, after: State) -> str:
    """What a rehearsal changed that it must not; empty = nothing."""
    was, now = before.rollout, after.rollout
    if was is not None and was.kind is Kind.REHEARSAL and now is None:
        return _ended(before, after)
    if now is None or now.kind is not Kind.REHEARSAL:
        return ""
    if after.live is not None and after.live is now.candidate:
        return "a rehearsal is live"
    if now.committed or now.hooks:
        return f"a rehearsal has committed, or has run {now.hooks}"
    if now.wanted_share > now.policy.steps[0]:
        return f"a rehearsal of {now.policy.steps[0]} % wants {now.wanted_share} %"
    return ""


def _ended(before: State, after: State) -> str:
    last = after.last
    if before.good != after.good:
        return "a rehearsal changed what a rollback goes back to"
    if last is None or after.rehearsed is None or after.rehearsed.id != last.id:
        return "a rehearsal ended without an account"
    return "" if after.rehearsed.outcome == last.outcome else "its account says otherwise"
