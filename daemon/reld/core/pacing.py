"""Long connections of a slot that leaves are closed one by one: thousands of clients that come back in
the same second would be a load that nobody has sized anything for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from reld.core.events import StreamsClosed, StreamsStay
from reld.core.model import Kind, Phase, Rollout

BACK_OVER = 10.0
"""Seconds: the clients of a release that was taken back should not stay with it."""
GRACE = 2.0
"""Seconds that the gate's old workers have, after their last connection, to be gone; also the longest
that one of them takes to connect."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`count` connections are closed evenly from `since` to `until` (CLOCK_BOOTTIME seconds)."""

    count: int
    since: float
    until: float

    def allowed(self, at: float) -> int:
        """How many may still be open."""
        if at <= self.since:
            return self.count
        if at >= self.until:
            return 0
        return math.floor(self.count * (self.until - at) / (self.until - self.since))


def window(rollout: Rollout) -> tuple[float, float] | None:
    """From when until when they are closed; None: not at all, they are cut when the drain ends."""
    policy, begun = rollout.policy.streams, _begun(rollout)
    if policy is None or begun is None:
        return None
    back = _back(rollout)
    over = min(policy.close_over, BACK_OVER) if back else policy.close_over
    over = min(over, rollout.policy.drain_max)  # a person may have wanted it shorter this time
    awaited = back or _alone(rollout) or rollout.thins is not None
    keep = 0.0 if awaited else min(policy.keep, rollout.policy.drain_max - over)
    return begun + keep, begun + keep + over


def pace(rollout: Rollout, count: int, at: float) -> Pace | None:
    """What to do about the `count` that are open now; asked again after reld was away.

    It catches up, but never at more than twice the pace that was meant.
    """
    found = window(rollout)
    if found is None:
        return None
    since, until = max(at, found[0]), found[1]
    share = count / max(count, rollout.streams_most, 1)
    return Pace(count, since, max(until, since + share * (found[1] - found[0]) / 2))


def patience(rollout: Rollout) -> float:
    """Seconds after which a drain ends whatever is left."""
    grace = 0.0 if rollout.policy.streams is None else GRACE
    return rollout.policy.drain_max + grace


def counted(rollout: Rollout, streams: int | None) -> Rollout:
    if streams is None:
        return rollout
    most = max(rollout.streams_most, streams)
    return replace(rollout, streams=streams, streams_most=most)


def noted(rollout: Rollout, event: StreamsClosed | StreamsStay) -> Rollout:
    thins = rollout.thins is not None and not rollout.thins.over
    if rollout.phase is not Phase.DRAINING and not thins:
        return rollout
    if isinstance(event, StreamsStay):
        return replace(rollout, warning=rollout.warning or event.detail)
    return counted(replace(rollout, closed=rollout.closed + event.closed), event.left)


def streams_over(rollout: Rollout, at: float) -> bool:
    """All were closed in time, and nothing that matters can come any more: see `over_at`."""
    over, thinning = over_at(rollout), rollout.thins
    left = rollout.left if thinning is None else thinning.left
    return over is not None and left == 0 and at >= over


def over_at(rollout: Rollout) -> float | None:
    """From when on a slot or spare instances that no connection is left to need not wait for anything.

    Old workers of the gate that are still there serve long connections of the other slot, for as long as
    their clients like: the drain does not wait for those. Such a worker takes no new request (its
    listener is closed, no client connection is used twice), and what it has begun here has its
    connection from the start (`proxy_request_buffering off`) and is in `left`. That leaves a request
    which waits at the other slot and, should that fail, would be tried here: until the gate's patience
    with it is over the slot stays; not after going back, where "here" is what was too bad to serve.
    A stream that has not begun may wait for longer; its client comes again.
    """
    times, begun = None if _alone(rollout) else window(rollout), _begun(rollout)
    if times is None or begun is None:
        return None
    tried = 0.0 if _back(rollout) else rollout.policy.gate_timeout
    return max(times[1], begun + tried) + GRACE


def _begun(rollout: Rollout) -> float | None:
    """When what drains now was no longer exposed."""
    return rollout.drain_since if rollout.thins is None else rollout.thins.at


def _back(rollout: Rollout) -> bool:
    if rollout.thins is not None:
        return rollout.phase is Phase.RETURNING
    return rollout.leaving is not None and rollout.leaving is rollout.candidate


def _alone(rollout: Rollout) -> bool:
    """The gate serves nobody meanwhile: all others wait for these few."""
    return rollout.stop_first or rollout.kind is Kind.STOP
