"""What `rehearse` is asked for, and what it means before it begins. Pure, but for its token."""

from __future__ import annotations

import secrets
from typing import Any

from reld.api.requests import Options
from reld.core.model import Kind
from reld.core.policy import Policy
from reld.core.rehearsal import FIND_WITHIN
from reld.core.rehearsed import LONGEST, USUAL_MOST, USUAL_SHARE, Rehearsal


def wish(kind: Kind, options: Options, policy: Policy, now: str) -> dict[str, Any]:
    """`rehearsal` of a Begin; nothing for any other kind. `now`: wall clock."""
    if kind is not Kind.REHEARSAL:
        return {}
    usual = min(USUAL_MOST, max(1.0, policy.step_time))
    seconds = usual if options.time is None else min(options.time, LONGEST)
    share = USUAL_SHARE if options.share is None else options.share
    token = secrets.token_hex(16)
    return {"rehearsal": Rehearsal(share, seconds, options.fail, token, now)}


def plan(release: str, policy: Policy, ours: Rehearsal) -> dict[str, Any]:
    """The "plan" of POST /v1/rollouts."""
    stays = f"for {ours.time:g} s"
    if ours.fails:
        stays = f"until the verdict finds it, at most {FIND_WITHIN:g} s"
    text = [
        f"start {policy.slot.instances} × {release} once more, with the settings that it runs with",
        f"give it {ours.share} % of the traffic {stays}, beside a trickle of requests of reld's own",
    ]
    if ours.fails:
        text.append("of those the ones that come to the copy fail there; no user's request does")
    text.append(
        f"go back by the lanes, drain it for {policy.drain:g} s, stop it, and say what was measured"
    )
    text.append("no hook runs, no worker moves, no release is a good one for it")
    return {
        "from": release,
        "to": release,
        "kind": Kind.REHEARSAL,
        "instant": False,
        "seconds": (FIND_WITHIN if ours.fails else ours.time) + policy.drain,
        "steps": [ours.share],
        "text": text,
        "watch": [],
        "skipped": [],
    }
