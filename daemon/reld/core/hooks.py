"""Which hooks a rollout runs, and when one has taken too long."""

from __future__ import annotations

from dataclasses import replace

from reld.core.model import (
    Hook,
    HookState,
    Kind,
    Outcome,
    Rollout,
    State,
)

HOOK_GRACE = 10.0
"""Seconds that the runner of a hook gets, after the hook's own time, to report."""


def hook_of(rollout: Rollout, name: str) -> Hook | None:
    return next((h for h in rollout.hooks if h.name == name), None)


def hook_begun(rollout: Rollout, name: str, at: float) -> Rollout:
    if name not in rollout.policy.hooks or hook_of(rollout, name) is not None:
        return rollout
    hook = Hook(name, HookState.RUNNING, attempt=1, deadline=at + rollout.policy.hook_timeout)
    return replace(rollout, hooks=(*rollout.hooks, hook))


def hooks_overdue(state: State, at: float) -> State:
    """A hook whose runner never reported has failed."""
    rollout = state.rollout
    if rollout is None or not rollout.hooks:
        return state
    hooks = tuple(
        replace(h, state=HookState.FAILED, detail="hook timed out")
        if h.state is HookState.RUNNING and at >= h.deadline + HOOK_GRACE
        else h
        for h in rollout.hooks
    )
    return (
        state if hooks == rollout.hooks else replace(state, rollout=replace(rollout, hooks=hooks))
    )


def runs_before_start(rollout: Rollout) -> bool:
    fresh = rollout.kind in (Kind.SWITCH, Kind.RESTART)
    return fresh and "before_start" in rollout.policy.hooks


def last_hooks(state: State, rollout: Rollout, outcome: Outcome) -> tuple[str, ...]:
    if rollout.kind is Kind.CONTRACT:
        return ("contract",) if outcome is Outcome.DONE else ()
    if rollout.kind is Kind.STOP:
        return ()
    if outcome is not Outcome.DONE:
        return ("on_rollback",) if rollout.moved else ()
    if rollout.kind is Kind.ROLLBACK:
        return ("on_rollback",)
    tree_empty = state.slot(rollout.old) is None
    return ("after_retire",) if rollout.old is not None and tree_empty else ()
