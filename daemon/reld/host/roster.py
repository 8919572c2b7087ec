"""Who runs: the processes behind the instance numbers of the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from reld.core.model import Identity, Instance, Slot, State
from reld.host.active import ActiveFiles
from reld.probes.spec import Result
from reld.processes.held import Held
from reld.processes.spec import Ending
from reld.processes.tree import Tree
from reld.snapshot import Seat


@dataclass(slots=True)
class Running:
    """A process that is ours to watch. `child` None: adopted, and nobody knows how it will end."""

    identity: Identity
    pidfd: int
    tree: Tree
    child: Ending | None = None
    held: Held | None = None
    unit: str = ""
    last: Result | None = None


class Roster:
    """Kept by `Instances`, read by everybody who looks at them."""

    def __init__(self, state: Callable[[], State], active: ActiveFiles | None = None) -> None:
        self.state = state
        self._active = active
        self.running: dict[int, Running] = {}

    def find(self, number: int) -> tuple[Slot, Instance]:
        """Raises LookupError: there is no such instance (any more)."""
        for slot in self.state().slots:
            for instance in slot.processes:
                if instance.number == number:
                    return slot, instance
        raise LookupError(number)

    def members(self, slot: Slot) -> frozenset[Identity]:
        """Every process of a slot."""
        trees = [self.running[i.number].tree for i in slot.processes if i.number in self.running]
        return frozenset().union(*(t.members() for t in trees))

    def units(self) -> frozenset[str]:
        """What systemd keeps and reld has taken over."""
        return frozenset(r.unit for r in self.running.values() if r.unit)

    def seat(self, slot: Slot, instance: Instance) -> Seat:
        state = self.state()
        seat = seat_of(state.app, slot, instance, state.boot)
        if self._active is None:
            return seat
        return replace(seat, active=str(self._active.path(slot.color)))


def seat_of(app: str, slot: Slot, instance: Instance, boot: str) -> Seat:
    return Seat(
        app,
        slot.color,
        instance.index,
        instance.number,
        instance.address,
        boot,
        instance.worker,
        instance.near,
    )
