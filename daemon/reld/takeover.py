"""Everything that reld knew is lost, and a gate serves the app: what it can take over from what is there.

The first line of the gate's config says which release answers where, and that is all that is certain.
So the live slot becomes an external one, as an app that runs before reld comes: probed, given traffic,
kept as the way back of the next switch, never restarted and never signalled. A candidate gets no
traffic any more. Nothing is guessed: settings, policies and good releases come with the next switch.
"""

from __future__ import annotations

import time

from reld.core.model import (
    Color,
    Gate,
    Instance,
    InstanceState,
    Lanes,
    Loaded,
    Maintenance,
    Routing,
    Slot,
    State,
)
from reld.core.policy import SlotPolicy


def taken_over(
    app: str, boot: str, loaded: Loaded, serving: int | None, newest_rollout: int
) -> State:
    """`loaded`: what the gate's config says. `serving`: the generation that the gate answers.

    `newest_rollout`: the highest number that is known from anywhere; 0: none.
    """
    closed = loaded.routing.maintenance  # opening it by itself could do harm
    if closed is not None and closed.hold:
        closed = None  # it has ended with the reld that held
    routing, generation = loaded.routing, max(loaded.generation, serving or 0)
    rollout = max(newest_rollout, routing.rollout or 0)
    # Instance numbers mark processes: none that an earlier reld gave may be given again.
    first = int(time.time())
    lanes = () if routing.rollout is None else (Lanes(routing.rollout, generation + 1),)
    state = State(
        app=app,
        boot=boot,
        gate=Gate(verified=loaded),
        old_lanes=lanes,
        next_rollout=rollout + 1,
        next_instance=first + 100,
        next_generation=generation + 1,
        maintenance=None if closed is None else Maintenance(closed, reason="found so"),
    )
    color, slot = _slot(routing, first)
    return state.with_slot(color, slot)


def told(loaded: Loaded) -> str:
    """For people: what was done, and what they have to do."""
    default, candidate = loaded.routing.default, loaded.routing.candidate
    assert default is not None
    words = (
        f"the gate serves {default.release} at {', '.join(default.addresses)}: it goes on, but reld"
        " will neither restart nor stop its processes: end them once another release is live"
    )
    if candidate is not None:
        at = ", ".join(candidate.addresses)
        words += f"; {candidate.release} at {at} gets no requests any more, its processes stay too"
    return words


def _slot(routing: Routing, first: int) -> tuple[Color, Slot]:
    default = routing.default
    assert default is not None
    instances = tuple(
        Instance(number=first + n, index=n, address=address, state=InstanceState.READY)
        for n, address in enumerate(default.addresses)
    )
    slot = Slot(default.color, default.release, 0, SlotPolicy(), instances, external=True)
    return default.color, slot
