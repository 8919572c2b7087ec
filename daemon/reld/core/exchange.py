"""A surge in words: what it will do, how long that takes, and what its warm slot is worth. Pure."""

from __future__ import annotations

from itertools import pairwise

from reld.core.model import Phase, Rollout, State
from reld.core.policy import Policy
from reld.core.surge import back_changes, forth_changes


def lines(policy: Policy, from_: str) -> list[str]:
    """What a plan says of it; nothing without a surge."""
    count, surge = policy.slot.instances, _surge(policy)
    changes = forth_changes(count, surge) if surge else 0
    if not surge:
        return []
    if not changes:
        return [f"surge = {surge}: all of its {count} run beside {from_}, as without a surge"]
    places = (
        f"at most {count + surge} instances run at a time, so they change places {changes} times: "
        f"{from_} gives up {surge}, drains for {policy.drain:g} s, and as many new ones start; "
        f"{2 * changes} more reloads, and {lasts(policy):g} s more without their start-up time"
    )
    return [places, warm(policy, min(surge, count), count)]


def lasts(policy: Policy) -> float:
    """Seconds that the instances of a rollout need to change places, beside their start-up time."""
    surge = _surge(policy)
    return forth_changes(policy.slot.instances, surge) * policy.drain if surge else 0.0


def left(rollout: Rollout) -> float:
    """Seconds that are left of it, about: forth by the share that is to come, back by what is gone."""
    back = rollout.phase is Phase.RETURNING
    part = rollout.share if back else 100 - rollout.share
    return lasts(rollout.policy) * part / 100 if rollout.surge else 0.0


def warm_now(state: State) -> str:
    """What going back would mean at the moment; empty: it is one rename, as ever."""
    rollout = state.rollout
    old = None if rollout is None else state.slot(rollout.old)
    warm_phases = (Phase.SHIFTING, Phase.BAKING, Phase.COMMITTING)
    if rollout is None or old is None or not rollout.surge or rollout.phase not in warm_phases:
        return ""
    whole = len(old.instances)
    count = sum(i.was_ready for i in old.crew)
    if not count or count == whole:
        return ""
    return warm(rollout.policy, count, whole, rollout.surge, _start_up(rollout))


def warm(policy: Policy, count: int, whole: int, surge: int = 0, start_up: float = 0.0) -> str:
    """`count` of the old slot's `whole` instances run. `start_up`: seconds that an instance takes."""
    new = policy.slot.instances
    changes = back_changes(whole, new, surge or _surge(policy), count)
    verb = "is" if count == 1 else "are"
    so_many = f"{count} of {whole} old instances {verb} warm"
    if not changes:
        return f"{so_many}: they can take all of the traffic at once"
    seconds = changes * (policy.drain + start_up)
    more = "" if start_up else " and as many starts"
    return (
        f"{so_many}: going back takes about {seconds:g} s{more}, part of the traffic goes back at "
        "once, all of it where the new release fails nearly everything"
    )


def _surge(policy: Policy) -> int:
    return min(policy.surge, policy.slot.instances)


def _start_up(rollout: Rollout) -> float:
    """Seconds that the first instances took, rounded: the others are no faster."""
    for mark, after in pairwise(rollout.marks):
        if mark.phase is Phase.STARTING:
            return float(round(after.at - mark.at))
    return 0.0
