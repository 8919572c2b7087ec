"""What `rehearse` is asked for, and what it means before it begins. Pure, but for its token."""

from __future__ import annotations

import secrets
from typing import Any

from reld.api.requests import Options
from reld.core import surge as surges
from reld.core.model import Kind, Slot
from reld.core.policy import Policy
from reld.core.rehearsal import FIND_WITHIN
from reld.core.rehearsed import LONGEST, USUAL_MOST, USUAL_SHARE, Rehearsal


def wish(
    kind: Kind, options: Options, policy: Policy, now: str, live: Slot | None
) -> dict[str, Any]:
    """`rehearsal` of a Begin; nothing for any other kind. `now`: wall clock."""
    if kind is not Kind.REHEARSAL:
        return {}
    usual = min(USUAL_MOST, max(1.0, policy.step_time))
    seconds = usual if options.time is None else min(options.time, LONGEST)
    share = min(_asked(options), _carried(policy, live))
    token = secrets.token_hex(16)
    return {"rehearsal": Rehearsal(share, seconds, options.fail, token, now)}


def plan(
    release: str, policy: Policy, ours: Rehearsal, options: Options, live: Slot | None
) -> dict[str, Any]:
    """The "plan" of POST /v1/rollouts."""
    less = _less(policy, ours, options, live)
    stays = f"for {ours.time:g} s"
    if ours.fails:
        stays = f"until the verdict finds it, at most {FIND_WITHIN:g} s"
    text = [
        f"start {_copies(policy, live)} × {release} once more, with the settings that it runs with",
        f"give it {ours.share} % of the traffic {stays}, beside a trickle of requests of reld's own",
    ]
    text += less
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
        "watch": less,
        "skipped": [],
    }


def _asked(options: Options) -> int:
    return USUAL_SHARE if options.share is None else options.share


def _carried(policy: Policy, live: Slot | None) -> int:
    """Percent that the copy's instances carry: with a surge there are fewer than of what is live."""
    surge = 0 if live is None else min(policy.surge, len(live.instances))
    if live is None or not surge:
        return 100
    places = _places(live, surge)
    return max(1, places.carries(places.first))


def _copies(policy: Policy, live: Slot | None) -> int:
    if live is None or not policy.surge:
        return policy.slot.instances
    return _places(live, min(policy.surge, len(live.instances))).first


def _places(live: Slot, surge: int) -> surges.Plan:
    return surges.Plan(len(live.instances), len(live.instances), surge)


def _less(policy: Policy, ours: Rehearsal, options: Options, live: Slot | None) -> list[str]:
    """Why it gets less than what was asked for; nothing where it does not."""
    asked = _asked(options)
    if live is None or ours.share >= asked:
        return []
    places = _places(live, min(policy.surge, len(live.instances)))
    few = f"with surge = {policy.surge} the copy has {places.first} of {places.growing} instances"
    return [f"{ours.share} % and not {asked} %: {few}, and they carry no more"]
