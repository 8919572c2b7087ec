"""What people do beside the rollouts of a story, by chances of its own: it shifts no other act."""

from __future__ import annotations

import random

from reld.core.maintenance import Maintain, closed
from reld.core.model import Closed, Maintenance
from reld.core.policy import StreamPolicy
from tests.sim.world import World

_STREAMS = (None, None, StreamPolicy(3.0, 4.0), StreamPolicy(60.0, 60.0))


def closes_or_opens(world: World, number: int) -> str:
    """Before act `number`; what was done, empty = nothing."""
    r = random.Random(f"story {world.seed} maintenance {number}")
    if r.random() >= 0.08:
        return ""
    allow = r.choice(((), ("192.0.2.0/24",)))
    hold = r.choice((0.0, 0.0, 2.0, 30.0))
    on = Maintenance(Closed("", allow, hold), "now", "anna") if r.random() < 0.6 else None
    said = world.command(Maintain(on)) or "accepted"
    return f"maintenance {'on' if on else 'off'}: {said}"


def goes_back_offline(world: World, number: int) -> str:
    """`relctl rollback --offline` before act `number`: reld is down, and the lanes are renamed."""
    r = random.Random(f"story {world.seed} offline {number}")
    if r.random() >= 0.02:
        return ""
    world.kill_reld()
    moved = [rollout for rollout, share in world.lanes.items() if share]
    world.lanes.update(dict.fromkeys(moved, 0))
    world.run(r.uniform(0.0, 3.0))
    world.start_reld()
    return f"back without reld: the lanes of {moved or 'no rollout'}"


def streams_of(r: random.Random) -> StreamPolicy | None:
    """What becomes of the websockets of a release."""
    return _STREAMS[int(r.random() * 997) % len(_STREAMS)]


def told_right(world: World) -> str:
    """In the end the gate is as closed as was asked for last; empty = it is."""
    wanted, serves = closed(world.state), world.serving.routing.maintenance
    return "" if wanted == serves else f"maintenance is {serves}, {wanted} was asked for"
