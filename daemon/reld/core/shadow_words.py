"""The shadow of a rollout in words: in the plan and in the news."""

from __future__ import annotations

from reld.core.model import Mirrored, Rollout, Shadow
from reld.core.policy import Policy
from reld.core.verdict.words import span


def plan(policy: Policy, from_: str, to: str) -> str:
    return (
        f"mirror {_percent(policy.shadow)} of the GETs of {from_} to {to} "
        f"for {policy.step_time:g} s, before any user sees it"
    )


def news(old: Rollout | None, new: Rollout) -> list[tuple[str, str]]:
    """What is told of it as (event, text)."""
    before, now = (old.shadow if old is not None else Shadow()), new.shadow
    told: list[tuple[str, str]] = []
    if now.since is not None and before.since is None:
        share = _percent(new.policy.shadow)
        told.append(("shadow", f"{share} of the GETs of {new.from_} are mirrored to {new.to}"))
    if now.over and not before.over:
        told.append(("shadow", sentence(new)))
    return told


def sentence(rollout: Rollout) -> str:
    """What the copies said; the times are those within which 95 of 100 had their first byte."""
    shadow = rollout.shadow
    counted = _counted(shadow.mirrored)
    if shadow.reason:
        return f"shadow: {counted}; {shadow.reason}"
    return f"shadow: {counted}"


def _counted(mirrored: Mirrored) -> str:
    many = f"{mirrored.total} cop{'y' if mirrored.total == 1 else 'ies'}"
    if not mirrored.total:
        return "no copy was answered"
    failed = f"{mirrored.failures or 'none'} failed"
    if mirrored.p95 is None or mirrored.live_p95 is None:
        return f"{many}, {failed}"
    slow, live = span(mirrored.p95), span(mirrored.live_p95)
    return f"{many}, {failed}, 95 % within {slow} (live {live})"


def _percent(share: float) -> str:
    return f"{share * 100:g} %"
