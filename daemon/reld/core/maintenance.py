"""Closed on purpose: a person has the gate answer 503 while something behind it is repaired.

What is closed is one more part of the wanted routing, so a reload brings it about, is verified and
tried again like any other; a rollout that runs goes on beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reld.core.model import Closed, Maintenance, Routing, State


@dataclass(frozen=True, slots=True)
class Maintain:
    """Close the gate so, or (None) open it again."""

    maintenance: Maintenance | None


def already(state: State, wish: Maintain) -> bool:
    """It is what the state asks for; who said so first, and when, stays."""
    now, new = state.maintenance, wish.maintenance
    if now is None or new is None:
        return now is new
    return (now.closed, now.reason) == (new.closed, new.reason)


def maintained(state: State, wish: Maintain) -> State:
    return state if already(state, wish) else replace(state, maintenance=wish.maintenance)


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
