"""What the processes of each slot use: shown, warned about, and the ground to go back for only when
memory runs out for both slots.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reld.clock import boottime
from reld.core.model import Color, Identity, Rollout, Slot, State
from reld.errors import GateError
from reld.host.roster import Roster
from reld.nginx import connections
from reld.processes import oom, resources
from reld.processes.resources import Usage

LOOK_EVERY = 2.0
LOOK_EVERY_AT_REST = 10.0
_REMEMBERED = 150
_FEWEST = 8
_LEAK_PER_MINUTE = 10 << 20
_LEAK_FRACTION = 0.1
"""Of what it uses, per minute: growth below both is no news. Two hundred connections that wait for
an answer are some 7 MiB."""
_HARDLY_ANY = 64 << 20
"""Bytes available on the machine; below it the kernel kills somebody, and may choose the live slot."""


@dataclass(frozen=True, slots=True)
class SlotUsage:
    """`cpu`: cores in use, since the look before. `growth`: bytes per minute, None = not known yet.
    `peers`: established connections to other addresses, such as the database's.
    """

    usage: Usage = Usage()
    cpu: float | None = None
    growth: float | None = None
    peers: Mapping[str, int] = field(default_factory=dict)


class Vitals:
    """Looks at both slots now and then."""

    def __init__(self, state: Callable[[], State], roster: Roster) -> None:
        self._state = state
        self._roster = roster
        self._seen: dict[tuple[Color, str], deque[tuple[float, Usage]]] = {}
        self._uses: dict[Color, SlotUsage] = {}

    async def keep(self) -> None:
        """For ever."""
        while True:
            await asyncio.to_thread(self.look)
            at_rest = self._state().rollout is None
            await asyncio.sleep(LOOK_EVERY_AT_REST if at_rest else LOOK_EVERY)

    def look(self) -> None:
        state = self._state()
        now = boottime()
        seen, uses = {}, {}
        for slot in state.slots:
            members = self._roster.members(slot)
            if state.live is slot.color:
                _protect(members)
            if not members:
                continue
            key = (slot.color, _process_of(slot))
            history = self._seen.get(key, deque(maxlen=_REMEMBERED))
            history.append((now, resources.usage(members)))
            seen[key] = history
            past = tuple(history)
            peers = _peers(members, slot) if state.rollout is not None else {}
            # Here, and not whenever somebody asks: the sensor does ten times a second.
            uses[slot.color] = SlotUsage(past[-1][1], _cpu(past), growth(past), peers)
        self._seen, self._uses = seen, uses

    def of(self, color: Color) -> SlotUsage | None:
        """None: nothing of the slot runs, or it is not ours."""
        return self._uses.get(color)

    def leak(self, rollout: Rollout) -> str:
        """A warning about the candidate's memory, one clause; "" = none."""
        new = self.of(rollout.candidate) if rollout.candidate is not None else None
        if new is None or new.growth is None:
            return ""
        old = self.of(rollout.old) if rollout.old is not None else None
        least = max(_LEAK_PER_MINUTE, _LEAK_FRACTION * new.usage.rss_bytes)
        as_much = old is not None and old.growth is not None and old.growth > new.growth / 2
        if new.growth < least or as_much:
            return ""
        return (
            f"the memory of {rollout.to} grows by {_mib(new.growth)} a minute, "
            f"it uses {_mib(new.usage.rss_bytes)}"
        )

    def memory_runs_out(self, rollout: Rollout) -> str:
        """Why going back is better than what the kernel would do; "" = memory is left."""
        leak = self.leak(rollout)
        left = resources.memory_available() if leak else _HARDLY_ANY + 1
        if left > _HARDLY_ANY:
            return ""
        return f"memory for both runs out: {_mib(left)} are left, and {leak}"


def growth(past: tuple[tuple[float, Usage], ...]) -> float | None:
    """Bytes per minute, when memory has grown steadily and does not stop; None: too early to say.

    Least squares over all of it; the later half must have grown half as fast at least, because a
    process that warms up grows too, and then stops.
    """
    if len(past) < _FEWEST:
        return None
    whole = _slope(past)
    later = _slope(past[len(past) // 2 :])
    return min(whole, 2 * later) * 60.0 if later < whole / 2 else whole * 60.0


def _slope(past: tuple[tuple[float, Usage], ...]) -> float:
    mean_t = sum(t for t, _ in past) / len(past)
    mean_y = sum(u.rss_bytes for _, u in past) / len(past)
    above = sum((t - mean_t) * (u.rss_bytes - mean_y) for t, u in past)
    below = sum((t - mean_t) ** 2 for t, _ in past)
    return above / below if below else 0.0


def _cpu(past: tuple[tuple[float, Usage], ...]) -> float | None:
    if len(past) < 2:
        return None
    (before, was), (now, is_) = past[-2], past[-1]
    return max(0.0, is_.cpu_seconds - was.cpu_seconds) / (now - before) if now > before else None


def _protect(members: frozenset[Identity]) -> None:
    """What became live is not the kernel's first choice any more."""
    for member in members:
        oom.lower(member)


def _peers(members: frozenset[Identity], slot: Slot) -> Mapping[str, int]:
    own = [instance.address for instance in slot.instances]
    try:
        return connections.peers((member.pid for member in members), own)
    except (OSError, GateError):
        return {}


def _process_of(slot: Slot) -> str:
    """Changes when an instance is restarted: its memory begins anew."""
    return "/".join(str(i.number) for i in slot.processes)


def _mib(number: float) -> str:
    return f"{number / (1 << 20):.0f} MiB"
