"""A rehearsal in words: its phases in the news, and its end in one sentence."""

from __future__ import annotations

from reld.core.model import Kind, Outcome, Phase, Rollout
from reld.core.surge import Plan


def who(rollout: Rollout) -> str:
    """What gets a share of the traffic."""
    return f"the copy of {rollout.to}" if rollout.kind is Kind.REHEARSAL else rollout.to


def phase(rollout: Rollout) -> str:
    """What only a rehearsal says; empty = the usual."""
    if rollout.kind is not Kind.REHEARSAL or rollout.rehearsal is None:
        return ""
    to, ours, why = rollout.to, rollout.rehearsal, rollout.reason.partition("\n")[0]
    match rollout.phase:
        case Phase.STARTING:
            return f"starting {_copies(rollout)} × {to} once more, beside itself"
        case Phase.PROVING:
            return f"the copy of {to} is ready: proving it before any user sees it"
        case Phase.ADMITTING:
            return f"admitting the copy of {to} to the gate at 0 %"
        case Phase.SHIFTING if ours.fails:
            return f"the copy of {to} fails what reld itself asks it: the verdict has to find that"
        case Phase.SHIFTING:
            return f"{ours.share} % of the traffic for the copy of {to}, for {ours.time:g} s"
        case Phase.REVERTING:
            return f"going back{': ' if why else ''}{why}"
        case Phase.DRAINING:
            return f"draining the copy of {to}: at least {rollout.policy.drain:g} s"
        case Phase.STOPPING:
            return f"stopping the copy of {to}"
        case _:
            return ""


def _copies(rollout: Rollout) -> int:
    """With a surge not all of what is live."""
    count = rollout.policy.slot.instances
    return Plan(count, count, rollout.surge).first if rollout.surge else count


def end(rollout: Rollout, outcome: Outcome | None, stays: str) -> str:
    """The sentence of its receipt; empty = the usual. `stays`: who serves."""
    ours = rollout.rehearsal
    if rollout.kind is not Kind.REHEARSAL or ours is None or outcome in (None, Outcome.ABORTED):
        return ""
    why = rollout.reason.partition("\n")[0]
    if outcome is Outcome.DONE:
        said = "the verdict works" if ours.found else "went forth and back as it should"
        unproven = ", unproven: nobody asked the copy" if rollout.unproven else ""
        return f"the rehearsal of {rollout.to}: {said}{unproven}{f' ({why})' if why else ''}"
    return f"the rehearsal of {rollout.to} found something: {why}; {stays}"
