"""What whoever watches the journal is told about, each kind with a MESSAGE_ID of its own.

journalctl MESSAGE_ID=a5061fdad5ed4bcab4310821c0c41a7e     releases that were taken back
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from enum import StrEnum

from reld.api.status import degraded
from reld.api.summary import summary
from reld.core import approval
from reld.core.instances import BACKOFF_FIRST
from reld.core.model import Instance, Outcome, Rollout, Slot, State
from reld.journal import NOTICE, About, about


class Alert(StrEnum):
    """The value is the MESSAGE_ID: it stays the same for ever, whatever the words become."""

    BEGAN = "b9ce52d9ba6a4ddabdffc0dfc164cad6"
    DONE = "270f8b948cd24eaf844288232c7a34a9"
    FAILED = "859c2c9aeb9d4fb28689de6297fca203"
    WENT_BACK = "a5061fdad5ed4bcab4310821c0c41a7e"
    DEGRADED = "2e05db2cce7d4e75ae77fe98d0e9e1f8"
    RECOVERED = "08aa2e0a7f4a40a09323598adaea473c"
    NEEDS_OPERATOR = "9e1d632e6f0540828531c9a5450a0e12"
    NEEDS_APPROVAL = "7485ca523172475a8058dc75be0b38c5"
    CRASH_LOOP = "52cbd70a0f7a409f8a0b71cedf396fd0"
    COPY_OUT = "64f271e899f3457b96d1834d6c2af62e"
    REBOOTED = "5c8ed1c5ebb34c0e9687d772f07ba87a"
    FEED_DEAD = "fdf337ee16c94a0f817543ca069d3aae"
    FEED_BACK = "0cf6c17728bb47a89b5337e33e4d661a"
    DISK_FULL = "a12b1b31c1dc45e79b2e7aec1246e76c"
    DISK_FREE = "55990929d3b7462b97925710df40db6e"


_LEVELS = {
    Alert.BEGAN: NOTICE,
    Alert.DONE: NOTICE,
    Alert.FAILED: logging.WARNING,
    Alert.WENT_BACK: logging.WARNING,
    Alert.DEGRADED: logging.WARNING,
    Alert.RECOVERED: NOTICE,
    Alert.NEEDS_OPERATOR: logging.ERROR,
    Alert.NEEDS_APPROVAL: NOTICE,
    Alert.CRASH_LOOP: logging.ERROR,
    Alert.COPY_OUT: logging.WARNING,
    Alert.REBOOTED: logging.WARNING,
    Alert.FEED_DEAD: logging.ERROR,
    Alert.FEED_BACK: NOTICE,
    Alert.DISK_FULL: logging.ERROR,
    Alert.DISK_FREE: NOTICE,
}
_OF_OUTCOME = {
    Outcome.DONE: Alert.DONE,
    Outcome.FAILED: Alert.FAILED,
    Outcome.ROLLED_BACK: Alert.WENT_BACK,
    Outcome.ABORTED: Alert.WENT_BACK,
}

_LOOPS = BACKOFF_FIRST * 2**3
"""Seconds of backoff after three short lives in a row."""


@dataclass(frozen=True, slots=True)
class Raised:
    """`text` is one line; `rollout`: the one that it is about."""

    alert: Alert
    text: str
    rollout: Rollout | None = None

    @property
    def level(self) -> int:
        """For a logger."""
        return _LEVELS[self.alert]

    @property
    def about(self) -> dict[str, About]:
        if self.rollout is None:
            return about(message_id=self.alert)
        slot = self.rollout.candidate or ""
        return about(self.rollout.id, slot, self.rollout.to, self.alert)


def raised(before: State, after: State, damage: str = "") -> list[Raised]:
    """What is to be told because the state changed. `damage`: of the database, see `api.service`."""
    found = []
    ended = after.last if after.last is not before.last else None
    if ended is not None and ended.outcome is not None:
        told = f"rollout {ended.id}: {summary(ended, ended.outcome)}"
        found.append(Raised(_OF_OUTCOME[ended.outcome], told, ended))
    new, old = after.rollout, before.rollout
    if new is not None and (old is None or old.id != new.id):
        way = f"from {new.from_} to {new.to}" if new.from_ else f"to {new.to}"
        by = f", {new.actor}" if new.actor else ""
        found.append(Raised(Alert.BEGAN, f"rollout {new.id} began: {new.kind} {way}{by}", new))
    if new is not None and waits_for_a_person(new) and not (old and waits_for_a_person(old)):
        found.append(_asked(new))
    was, now = _wrong(before, damage), _wrong(after, damage)
    if now and not was:
        found.append(Raised(Alert.DEGRADED, f"degraded: {now}", new))
    elif was and not now:
        found.append(Raised(Alert.RECOVERED, "not degraded any more", new))
    found += _crash_loops(before, after)
    return found if now else [*found, *_copies_out(before, after)]


def _asked(rollout: Rollout) -> Raised:
    """To be approved is how it was meant to go; whatever else a person is needed for is trouble."""
    if not rollout.asked and rollout.waiting != approval.wanted(rollout):
        told = f"rollout {rollout.id} needs an operator: {rollout.waiting}"
        return Raised(Alert.NEEDS_OPERATOR, told, rollout)
    gives_up = f"relctl abort {rollout.id} gives it up"
    told = f"rollout {rollout.id} ({rollout.to}) waits for {rollout.waiting}; {gives_up}"
    return Raised(Alert.NEEDS_APPROVAL, told, rollout)


def _crash_loops(before: State, after: State) -> list[Raised]:
    """Told once, until one of its lives is long again."""
    had = {_seat(slot, p): p for slot in before.slots for p in slot.processes}
    found = []
    for slot in after.slots:
        for process in slot.processes:
            old = had.get(_seat(slot, process))
            if old is None or not old.backoff < _LOOPS <= process.backoff:
                continue
            name = f"worker {process.worker}" if process.worker else "instance"
            why = f": {old.exit}" if old.exit is not None else ""
            told = f"{name} {process.index} of {slot.release} dies again and again{why}"
            found.append(Raised(Alert.CRASH_LOOP, told, after.rollout))
    return found


def _seat(slot: Slot, process: Instance) -> tuple[str, str, str, int]:
    return slot.color, slot.release, process.worker, process.index


def _copies_out(before: State, after: State) -> list[Raised]:
    """While nothing is rolled out the gate sends fewer instances requests than before.

    One that is merely not ready: what died is DEGRADED, which says more.
    """
    old, new = (s.gate.verified.routing.default for s in (before, after))
    if before.rollout or after.rollout or old is None or new is None:
        return []
    if (old.color, old.release) != (new.color, new.release):
        return []
    gone = [address for address in old.addresses if address not in new.addresses]
    if not gone or len(new.addresses) >= len(old.addresses):
        return []
    what = f"{', '.join(gone)} of {new.release} gets no requests any more"
    return [Raised(Alert.COPY_OUT, f"{what}, {len(new.addresses)} serve")]


def _wrong(state: State, damage: str) -> str | None:
    """What is not as it should be, apart from the waits that any rollout has."""
    if state.rollout is not None:
        state = replace(state, rollout=replace(state.rollout, waiting=""))
    return degraded(state, damage)


def waits_for_a_person(rollout: Rollout) -> bool:
    """Such a wait says what to type; a person who paused it knows."""
    return not rollout.paused and ": relctl " in rollout.waiting
