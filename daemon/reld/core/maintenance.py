"""Closed on purpose: a person has the gate answer 503 while something behind it is repaired.

What is closed is one more part of the wanted routing, so a reload brings it about, is verified and
tried again like any other; a rollout that runs goes on beside it.

With `hold` requests wait instead, for something that is over in seconds (a database that changes its
primary), and go on by themselves. That ends in time, and with reld: nobody waits for what is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reld.core.model import Closed, Maintenance, Routing, State

MOST_HELD = 300
"""Requests that may wait. Each has two connections of a worker of the site's nginx, Debian's has 768."""


@dataclass(frozen=True, slots=True)
class Maintain:
    """Close the gate so, or (None) open it again."""

    maintenance: Maintenance | None
    rate: float | None = None  # requests per second lately, as far as known


def already(state: State, wish: Maintain) -> bool:
    """It is what the state asks for; who said so first, and when, stays."""
    now, new = state.maintenance, wish.maintenance
    if now is None or new is None:
        return now is new
    return (now.closed, now.reason) == (new.closed, new.reason)


def maintained(state: State, wish: Maintain, at: float) -> State:
    if already(state, wish):
        return state
    new = wish.maintenance
    if new is not None and new.closed.hold:
        new = replace(new, until=at + new.closed.hold)
    return replace(state, maintenance=new)


def holds(state: State) -> bool:
    """Requests are to wait."""
    return state.maintenance is not None and state.maintenance.closed.hold > 0


def released(state: State) -> State:
    """What was held goes on."""
    return replace(state, maintenance=None) if holds(state) else state


def in_time(state: State, at: float) -> State:
    """A hold is over by itself."""
    now = state.maintenance
    return released(state) if now is not None and now.until <= at else state


def cannot_hold(state: State, wish: Maintain) -> str:
    """Why nothing should be held now; empty = it may be."""
    new, now = wish.maintenance, state.maintenance
    if new is None or not new.closed.hold or already(state, wish):
        return ""
    if holds(state):  # else the first ones would wait for longer than anybody may
        return "they are held already"
    if state.live is None:
        return "nothing is live"
    if now is not None:
        return "the gate is closed for maintenance"
    expected = (wish.rate or 0.0) * new.closed.hold
    if expected > MOST_HELD:
        return (
            f"at {wish.rate:.0f} requests a second {expected:.0f} would wait in"
            f" {new.closed.hold:g} s, {MOST_HELD} may"
        )
    return ""


def closed(state: State) -> Closed | None:
    """What the gate should be told."""
    return None if state.maintenance is None else state.maintenance.closed


def with_maintenance(state: State, routing: Routing) -> Routing:
    return replace(routing, maintenance=closed(state))


def in_effect(state: State) -> bool:
    """Every request meets what was asked for last, whichever config that may be in force it meets."""
    return all(loaded.routing.maintenance == closed(state) for loaded in state.gate.possible)


def pages(state: State) -> frozenset[str]:
    """The pages that a config which may be in force names, or will."""
    every = (closed(state), *(loaded.routing.maintenance for loaded in state.gate.possible))
    return frozenset(one.page for one in every if one is not None and one.page)
