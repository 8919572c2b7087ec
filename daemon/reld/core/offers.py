"""What would not be refused if it were typed now: who is told what to type next is told nothing else."""

from __future__ import annotations

from reld.core.commands import (
    Abort,
    Begin,
    Command,
    Pause,
    Resume,
    already,
    refuse,
    turns_back,
)
from reld.core.model import Kind, Phase, Rollout, State
from reld.core.policy import Policy

_GOES_BACK = (Phase.RETURNING, Phase.REVERTING)


def offers(state: State) -> tuple[str, ...]:
    """Those of rollback, start, pause, resume and abort that would do something, without any option."""
    if state.rollout is not None:
        return _while_it_runs(state, state.rollout)
    policy = state.last.policy if state.last is not None else Policy()
    plain = (Begin(kind, None, policy) for kind in (Kind.ROLLBACK, Kind.START))
    return tuple(
        str(begin.kind)
        for begin in plain
        if not already(state, begin) and refuse(state, begin) is None
    )


def _while_it_runs(state: State, rollout: Rollout) -> tuple[str, ...]:
    """An abort of what goes back already changes nothing, and so does a second pause."""
    found = []
    back = turns_back(state, Begin(Kind.ROLLBACK, None, rollout.policy))
    if back and rollout.phase not in _GOES_BACK:
        found.append("rollback")
    steers: list[tuple[str, Command]] = [
        ("resume", Resume(rollout.id)) if rollout.paused else ("pause", Pause(rollout.id))
    ]
    if rollout.phase not in _GOES_BACK:
        steers.append(("abort", Abort(rollout.id, "")))
    return (*found, *(word for word, command in steers if refuse(state, command) is None))
