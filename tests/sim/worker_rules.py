"""What must hold of workers, checked against the world's own truth; each function says what is broken.

`may_start` at each launch: only where live is; never two of a stop-first worker, over both slots and with
the processes of relds that were killed. `moves` after each step: those of the live slot go on, an
overlapping one until its successors have run for a moment. `in_the_end`: all of them run, nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reld.core.instances import SETTLED_AFTER
from reld.core.model import Color, InstanceState, Kind, Phase, Slot, State

if TYPE_CHECKING:
    from tests.sim.world import Process, World

_UP = (InstanceState.STARTING, InstanceState.READY)


def may_start(world: World, process: Process) -> str:
    """It is about to be let go."""
    slot = world.slot_of(process.number)
    if slot is None or world.state.live is not slot.color:
        return f"a worker of {slot.release if slot else 'nobody'} starts, and that is not live"
    mine = slot.policy.worker(process.worker)
    for other in world.processes.values():
        if other is process or not other.worker or not other.alive or other.held:
            continue
        if other.color is slot.color:
            if (other.worker, other.index) == (process.worker, process.index):
                return f"worker {process.worker} {process.index} of {slot.release} runs twice"
            continue
        if not (mine.stop_first or other.stop_first):
            continue
        if other.worker == process.worker:
            return f"worker {process.worker} runs in both slots, and it is stop-first"
        both = mine.stop_first and other.stop_first
        if both and not slot.policy.has(other.worker) and process.worker not in other.siblings:
            return f"{other.worker} was renamed {process.worker}, and both run"
    return ""


def moves(before: State, after: State, at: float) -> str:
    """Looks at what was told to stop in this step."""
    if after.rollout is not None and after.rollout.kind is Kind.STOP:
        return ""
    for slot in after.slots:
        was = before.slot(slot.color)
        told = [] if was is None or was.snapshot != slot.snapshot else _told_to_stop(was, slot)
        if told and slot.color is after.live:
            return f"worker {told[0]} of the live slot is told to stop"
        for name in told:
            why = _gap(after, slot, name, at)
            if why:
                return why
    return ""


def _told_to_stop(was: Slot, now: Slot) -> list[str]:
    ran = {w.number for w in was.workers if w.state in _UP}
    ending = [w for w in now.workers if w.number in ran and w.state is InstanceState.STOPPING]
    return [w.worker for w in ending]


def _gap(state: State, slot: Slot, name: str, at: float) -> str:
    home, rollout = state.slot(state.live), state.rollout
    if home is None or rollout is None or not home.policy.has(name):
        return ""
    if home.policy.worker(name).stop_first or slot.policy.worker(name).stop_first:
        return ""
    if rollout.phase in (Phase.STOPPING, Phase.FINISHING):
        return ""  # it had its time
    run = [
        w
        for w in home.workers
        if w.worker == name and w.state in _UP and at >= w.started_at + SETTLED_AFTER
    ]
    if len(run) < home.policy.worker(name).instances:
        return f"worker {name} of {slot.release} is told to stop before {home.release}'s runs"
    return ""


def in_the_end(world: World) -> str:
    """Those of the live slot run, all of them."""
    live = world.state.slot(world.state.live)
    if world.active - {world.state.live}:
        return f"the files of {world.active} are there, {world.state.live} is live"
    if live is None:
        return ""
    if world.active != {live.color}:
        return f"{live.color} is live, and its file is not there"
    wanted = {(p.name, n) for p in live.policy.workers for n in range(p.instances)}
    run = {(w.worker, w.index) for w in live.workers if w.state is InstanceState.READY}
    if not live.external and wanted != run:
        return f"workers {run} run, {wanted} are wanted"
    return ""


def show(world: World, live: Color | None) -> str:
    """The file moves: away with the old one first."""
    if world.disk.live is not live:
        return f"the file says {live} before the disk knows"
    world.active = set() if live is None else {live}
    return ""
