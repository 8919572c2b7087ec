"""Workers: background processes of a release. They run where their slot is live, and nowhere else.

They move when live flips, by one of two rules. Overlap: the new release's are started at once, the old
ones are stopped when the new ones have run for a moment. Stop-first: the old ones' trees are empty before
the first new one is started, so there are never two at once; also back, after a kill and a reboot, because
the rule looks at nothing but what runs and where live is.

A worker that is renamed is another one; only where both are stop-first, and each has no counterpart of its
own name, the new one still waits for the old one: a scheduler must not run twice because its name changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reld.core.instances import escalated, put_slot, reborn, to_stop
from reld.core.model import Instance, InstanceState, Slot, State, WorkerMove
from reld.core.policy import WorkerPolicy

MOST_MOVES = 100
"""In one rollout that people turn back and forth: what comes later is not told in its receipt."""

_NO_PROCESS = (InstanceState.WANTED, InstanceState.EXITED)
_ENDING = (InstanceState.STOPPING, InstanceState.KILLING)


def tend(state: State, at: float) -> State:
    """Let time and the two rules act on every worker."""
    for slot in state.slots:
        state = _put(state, slot, tuple(_aged(w, at) for w in slot.workers))
    for slot in state.slots:
        if not slot.external and slot.color is not state.live:
            state = _away(state, slot, at)
    home = _home(state)
    return state if home is None or home.external else _at_home(state, home, at)


def _aged(worker: Instance, at: float) -> Instance:
    due = worker.deadline is not None and at >= worker.deadline
    if due and worker.state is InstanceState.STARTING:
        return replace(worker, state=InstanceState.READY, deadline=None, detail="")
    return escalated(worker, at)


def _away(state: State, slot: Slot, at: float) -> State:
    """Nothing is started here; what runs is told to stop, in its time."""
    home = _home(state)
    gone = tuple(w for w in slot.workers if w.state in _NO_PROCESS)
    stay = tuple(
        w if w.state in _ENDING or _stays(home, slot, w) else to_stop(slot, w, at)
        for w in slot.workers
        if w not in gone
    )
    state = _put(state, slot, stay)
    left = {w.worker for w in stay}
    for worker in gone:
        if worker.started_at and worker.worker not in left:
            state = _noted(state, slot, worker.worker, "stopped", at)
    return state


def _at_home(state: State, slot: Slot, at: float) -> State:
    """All that the release has are wanted; what dies is started again, with backoff."""
    number = state.next_instance
    found = {(w.worker, w.index): w for w in slot.workers}
    for policy in slot.policy.workers:
        if blockers(state, slot, policy):
            continue
        for index in range(policy.instances):
            worker = found.get((policy.name, index))
            if worker is None or (worker.state is InstanceState.EXITED and worker.signalled):
                if worker is not None:
                    state = _noted(state, slot, policy.name, "stopped", at)
                found[policy.name, index] = _fresh(slot, policy.name, index, number)
                state = _noted(state, slot, policy.name, "started", at)
                number += 1
            elif worker.state is InstanceState.EXITED:
                found[policy.name, index] = reborn(worker, number, at)
                number += 1
            elif worker.state is InstanceState.WANTED and 0 < worker.spawn_at <= at:
                found[policy.name, index] = replace(worker, spawn_at=0.0)
    slot = state.slot(slot.color) or slot
    return replace(_put(state, slot, tuple(found.values())), next_instance=number)


def _fresh(slot: Slot, name: str, index: int, number: int) -> Instance:
    near = slot.instances[0].address if slot.instances else ""
    return Instance(number=number, index=index, address="", worker=name, near=near)


def blockers(state: State, slot: Slot, policy: WorkerPolicy) -> tuple[tuple[Slot, Instance], ...]:
    """Processes of the other slot that have to be gone before this worker may be started."""
    return tuple(
        (other, worker)
        for other, worker in _everywhere(state)
        if other.color is not slot.color and _excludes(slot, policy, other, worker)
    )


def _everywhere(state: State) -> Iterator[tuple[Slot, Instance]]:
    for slot in state.slots:
        for worker in slot.workers:
            if worker.state not in _NO_PROCESS:
                yield slot, worker


def _excludes(slot: Slot, policy: WorkerPolicy, other: Slot, worker: Instance) -> bool:
    theirs = other.policy.worker(worker.worker)
    if worker.worker == policy.name:
        return policy.stop_first or theirs.stop_first
    renamed = not slot.policy.has(worker.worker) and not other.policy.has(policy.name)
    return renamed and policy.stop_first and theirs.stop_first


def _stays(home: Slot | None, slot: Slot, worker: Instance) -> bool:
    """An overlapping worker goes on until its successors run."""
    if home is None or not home.policy.has(worker.worker):
        return False
    successor = home.policy.worker(worker.worker)
    if successor.stop_first or slot.policy.worker(worker.worker).stop_first:
        return False
    run = sum(w.worker == worker.worker and w.state is InstanceState.READY for w in home.workers)
    return run < successor.instances


def waits_for(state: State, leaving: Slot) -> str:
    """Why the workers of a leaving slot go on for now; empty = they do not."""
    home = _home(state)
    names = dict.fromkeys(
        w.worker
        for w in leaving.workers
        if w.state not in (*_ENDING, *_NO_PROCESS) and _stays(home, leaving, w)
    )
    if home is None or not names:
        return ""
    many = "workers" if len(names) > 1 else "worker"
    return (
        f"{many} {', '.join(names)} of {home.release} not running yet: "
        f"{leaving.release}'s go on until then"
    )


def trouble(state: State) -> tuple[str, ...]:
    """What is not as it should be with the workers of the live release, a clause for each name."""
    home = _home(state)
    if home is None or home.external:
        return ()
    found = []
    for policy in home.policy.workers:
        held = blockers(state, home, policy) if state.rollout is None else ()
        if held:
            found.append(
                f"worker {policy.name} of {home.release} is not started: "
                f"{held[0][0].release}'s does not end"
            )
        failing = [w for w in home.workers if w.worker == policy.name and _fails(w)]
        if failing:
            why = failing[0].detail.partition("\n")[0] or str(failing[0].exit or "it ended")
            found.append(f"worker {policy.name} of {home.release} does not stay up: {why}")
    return tuple(found)


def _fails(worker: Instance) -> bool:
    if worker.state is InstanceState.READY:
        return False
    return worker.restarts > 0 or (worker.exit is not None and not worker.signalled)


def _home(state: State) -> Slot | None:
    return state.slot(state.live)


def _put(state: State, slot: Slot, workers: tuple[Instance, ...]) -> State:
    return state if workers == slot.workers else put_slot(state, replace(slot, workers=workers))


def _noted(state: State, slot: Slot, name: str, what: str, at: float) -> State:
    """For the receipt of the rollout that moved it."""
    rollout = state.rollout
    if rollout is None or len(rollout.worker_moves) >= MOST_MOVES:
        return state
    told = [m for m in rollout.worker_moves if (m.worker, m.release) == (name, slot.release)]
    if told and told[-1].what == what:
        return state
    move = WorkerMove(name, slot.release, what, at)
    return replace(state, rollout=replace(rollout, worker_moves=(*rollout.worker_moves, move)))
