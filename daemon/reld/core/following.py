"""A link that names the release to be live, such as capistrano's `current`: what a change of it means.

Only changes are acted on, each once: what was acted on last is kept in the state. A release that went
back is not tried again until the link changes, and a person who goes back does not fight with it: link
and app differ then, and that is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from reld.core.model import Followed, Outcome, Rollout, State


class Do(StrEnum):
    NOTHING = "nothing"
    NOTE = "note"  # remember it: there is nothing to begin
    WAIT = "wait"  # until the rollout that runs is over
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Link:
    """What the link says now. `target`: its real path, empty: there is none.

    `release`: empty where the target is none, for the reason in `trouble` (one line). `owner`: the
    user id of who made the link.
    """

    path: str
    target: str = ""
    release: str = ""
    trouble: str = ""
    owner: int = 0


def decide(state: State, link: Link) -> Do:
    """What is to be done about it now."""
    known = state.follow
    if known is None or known.link != link.path:
        return Do.NOTE  # nobody knows whether it changed, so it did not
    if known.target == link.target or link.trouble:
        return Do.NOTHING
    running = state.rollout
    if running is not None and (running.to != link.release or running.outcome or running.turning):
        return Do.WAIT
    live = state.slot(state.live)
    if running is None and live is not None and live.release == link.release:
        return Do.NOTE
    return Do.SWITCH


def noted(link: Link, rollout: int | None = None) -> Followed:
    return Followed(link.path, link.target, link.release, rollout)


def ended_for(known: Followed | None, ended: Rollout) -> Followed | None:
    """What is remembered of the link, after a rollout that may have been begun for it."""
    if known is None or known.rollout != ended.id:
        return known
    return replace(known, outcome=ended.outcome)


def told(state: State, link: Link, refused: str) -> tuple[str, str]:
    """("followed", "pending" or "refused", why). `refused`: why the switch could not begin."""
    if link.trouble:
        return "refused", link.trouble
    if refused:
        return "refused", refused
    match decide(state, link):
        case Do.WAIT:
            running = state.rollout
            number = running.id if running is not None else 0
            return "pending", f"{link.release} begins when rollout {number} is over"
        case Do.SWITCH:
            return "pending", f"{link.release} begins in a moment"
        case Do.NOTE:
            return "pending", "reld has just begun to look at it"
        case Do.NOTHING:
            return _acted_on(state, link)


def _acted_on(state: State, link: Link) -> tuple[str, str]:
    known, running, live = state.follow, state.rollout, state.slot(state.live)
    if running is not None and running.to == link.release and running.outcome is None:
        return "followed", f"rollout {running.id} is {running.phase}"
    if live is not None and live.release == link.release:
        return "followed", ""
    serves = f"{live.release} is live" if live is not None else "nothing is live"
    if known is not None and known.outcome not in (None, Outcome.DONE):
        how = "failed" if known.outcome is Outcome.FAILED else f"was {known.outcome}"
        return "refused", (
            f"rollout {known.rollout} ({link.release}) {how.replace('_', ' ')}, {serves}:"
            " it is not tried again until the link changes"
        )
    return "refused", (
        f"drift: the link says {link.release}, {serves}, and only a change of the link is acted on;"
        f" relctl switch {link.release} follows it"
    )
