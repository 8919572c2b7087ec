"""When a candidate must not go on. Looked at before any "is the time up"."""

from __future__ import annotations

from reld.core import watch
from reld.core.model import InstanceState, Rollout, State
from reld.core.routing import sick


def guard(state: State) -> str:
    """Why the candidate is not good enough, one clause; empty = nothing known against it."""
    rollout = state.rollout
    if rollout is None or rollout.candidate is None:
        return ""
    candidate = state.slot(rollout.candidate)
    if candidate is None:
        return ""
    if rollout.unit_trouble:
        return rollout.unit_trouble
    of = f"{candidate.release}"
    many = len(candidate.instances) > 1
    for instance in candidate.crew:
        which = f"instance {instance.index} of {of}" if many else of
        if instance.exit is not None or instance.state is InstanceState.EXITED:
            how = str(instance.exit) if instance.exit is not None else "gone"
            told = f": {instance.detail}" if instance.detail else ""
            if instance.identity is None or not instance.started_at:
                return f"{which} could not be started{told}"
            return f"{which} exited ({how}){told}"
        if sick(candidate, instance):
            return f"{which} is not alive: {instance.detail}"
    if not old_is_ready(state):
        return ""
    for instance in candidate.crew:
        if instance.state is InstanceState.UNREADY:
            return f"{of} is not ready any more while {rollout.from_} is: {instance.detail}"
    return watch.worse(rollout)


def old_is_ready(state: State) -> bool:
    """Only then is the old slot a better place for anybody."""
    old = None if state.rollout is None else state.slot(state.rollout.old)
    return old is not None and all(i.state is InstanceState.READY for i in old.crew)


def cornered(state: State) -> bool:
    """Traffic has moved, the old slot is not fit, and the candidate lives: going back is worse."""
    rollout = state.rollout
    if rollout is None or not rollout.moved:
        return False
    old = state.slot(rollout.old)
    candidate = state.slot(rollout.candidate)
    if old is None or candidate is None:
        return False
    return not old.fit and not candidate.dead


def held_because(rollout: Rollout, why: str, then: str) -> str:
    """What a cornered rollout waits for, in one line: those behind the first one of `why` quote a log."""
    first = why.partition("\n")[0]
    return f"{first}, but {rollout.from_} is not fit: {then}"
