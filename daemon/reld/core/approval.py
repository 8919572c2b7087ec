"""Two people for what changes the app: who waits for an approver, and who may be one."""

from __future__ import annotations

from reld.core.agreement import asks
from reld.core.model import Kind, Phase, Rollout, State

_UNAPPROVED = (Kind.STOP, Kind.START, Kind.REHEARSAL)
"""Taking the app down in need, and bringing back what was live, is never made to wait; a rehearsal
runs what is live already, with the settings that it has, and leaves nothing as it was not.
"""
_APPROVABLE = (Phase.PREPARING, Phase.STARTING, Phase.PROVING, Phase.FINISHING)


def needed(state: State, kind: Kind, release: str) -> bool:
    """Where the config names approvers: whether this has to wait for one.

    Going back to a release that was good does not; a rollback to any other one is a switch.
    """
    if kind is Kind.ROLLBACK:
        return release not in {good.release for good in state.good}
    return kind not in _UNAPPROVED


def wanted(rollout: Rollout) -> str:
    """The wait, for people."""
    return f"an approver: relctl approve {rollout.id}"


def barred(rollout: Rollout) -> str:
    """Why nobody can approve it now; empty = somebody can."""
    if asks(rollout):
        return ""
    if rollout.approved_by:
        return f"{rollout.approved_by} has approved it already"
    if not rollout.approval:
        return "it needs no approval"
    if (
        not rollout.awaits_approval
        or rollout.turning is not None
        or rollout.phase not in _APPROVABLE
    ):
        return f"it is {rollout.phase}, and ends"
    return ""


def began_it(rollout: Rollout, people: tuple[int, ...]) -> bool:
    """Whether any of these user ids is one of the person's who began it."""
    return not set(people).isdisjoint(rollout.people)
