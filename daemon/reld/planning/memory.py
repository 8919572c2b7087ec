"""Is there memory for two copies? In words that the switch uses, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reld.core.model import Rollout, Slot


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `needed`: what comes on top, taken from what the live slot uses now; `available`: on the
    machine. `surge`: the instances that come at a time, 0 = a whole second slot.
    """

    needed: int
    available: int
    surge: int = 0

    @property
    def enough(self) -> bool:
        return self.needed <= self.available

    @property
    def refusal(self) -> str:
        """Why it is not enough."""
        what = "two copies do not fit: the live one uses"
        if self.surge:
            what = f"{self.surge} more instances do not fit: as many of the live ones use"
        return f"{what} {_mib(self.needed)} and only {_mib(self.available)} are available"


def hint(another_way: str) -> str:
    """What to type then. `another_way`: see `away`, "" = there is none."""
    other = f", or {another_way}" if another_way else ""
    return f"free memory, or --force if the new release needs less{other}"


def told(memory: Memory | None, why_not: str) -> dict[str, Any]:
    """The "memory" of a plan. `why_not`: why nothing is needed, where it is None."""
    if memory is None:
        return {"needed": None, "available": None, "enough": None, "text": why_not}
    text = memory.refusal
    if memory.enough:
        what = f"{memory.surge} more instances" if memory.surge else "a second copy"
        text = f"{what}: about {_mib(memory.needed)} of the {_mib(memory.available)} available"
    return {
        "needed": memory.needed,
        "available": memory.available,
        "enough": memory.enough,
        "text": text,
    }


def why_none(live: Slot | None, rollout: Rollout, already: str) -> str:
    """Why no second copy is reckoned with. `already`: why nothing would be done."""
    if already:
        return "nothing would be started"
    if live is None:
        return "nothing is live: nothing else needs memory"
    if rollout.stop_first:
        return "one copy at a time (stop-first)"
    return f"how much {live.release} uses is not known: it was not started by reld"


def _mib(number: int) -> str:
    return f"{number >> 20} MiB"
