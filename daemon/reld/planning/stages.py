"""A switch step by step: how long each lasts if nothing holds it up, and at most. Pure.

It follows the phases of the core; times that nobody can know before are None.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from reld import outlook
from reld.core import agreement
from reld.core.model import Phase, Rollout
from reld.core.policy import Policy
from reld.core.verdict.words import amount, counted


@dataclass(frozen=True, slots=True)
class Stage:
    """`seconds`: expected, None = not known; `most`: the limit, None = there is none."""

    name: str
    seconds: float | None
    most: float | None
    text: str

    def shown(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds that a phase took last time, of which release."""

    release: str
    seconds: float


def took(last: Rollout | None, phase: Phase) -> Took | None:
    """How long the last rollout was in that phase; None: it never was."""
    if last is None or not last.to:
        return None
    for mark, after in pairwise(last.marks):
        if mark.phase is phase:
            return Took(last.to, after.at - mark.at)
    return None


def stages(
    rollout: Rollout,
    rate: float | None,
    smokes: int,
    started: Took | None,
    away: float,
    *,
    alone: bool,
) -> list[Stage]:
    """Of a rollout that would begin now. `smokes`: checks. `away`: see State. `alone`: nobody serves
    that could be compared, or gone back to.
    """
    policy = rollout.policy
    first = [*_before(policy), *_start(rollout, started), *_smoke(policy, smokes)]
    if rollout.stop_first:
        before = _before(policy)
        leaves = Stage(
            "stop the old",
            None,
            policy.drain_max + policy.slot.stop_timeout,
            f"503 from here: {rollout.from_} ends what it has begun, then it is stopped",
        )
        text = f"{rollout.to} is served; users got 503 " + (
            f"for about {max(1.0, away):.0f} s" if away else "until now"
        )
        return [*before, leaves, *first[len(before) :], Stage("commit", None, None, text)]
    if alone:
        text = f"one verified reload: {rollout.to} serves"
        return [*first, Stage("commit", None, policy.reload_deadline, text)]
    return [*first, *_traffic(rollout, rate), *_leave(rollout)]


def _before(policy: Policy) -> list[Stage]:
    if "before_start" not in policy.hooks:
        return []
    text = "hook before_start, while nothing else changes"
    return [Stage("migrate", None, policy.hook_timeout, text)]


def _start(rollout: Rollout, started: Took | None) -> list[Stage]:
    slot = rollout.policy.slot
    text = f"{slot.instances} × {rollout.to}"
    if started is not None:
        text += f", as long as {started.release} took"
    return [Stage("start", started.seconds if started else None, slot.ready_deadline, text)]


def _smoke(policy: Policy, smokes: int) -> list[Stage]:
    if not smokes:
        return []
    text = f"{counted(smokes, 'check')} of each instance, before any user sees it"
    return [Stage("smoke", None, policy.smoke_deadline, text)]


def _traffic(rollout: Rollout, rate: float | None) -> list[Stage]:
    policy = rollout.policy
    found = []
    if policy.shadow:
        text = f"{policy.shadow * 100:g} % of the GETs are mirrored, nobody gets the answer"
        found.append(Stage("shadow", policy.step_time, None, text))
    gone = outlook.skipped(policy, rate)
    length = outlook.step_length(policy, rate)
    if agreement.BEFORE_ALL in policy.approve_after:
        found.append(_person())
    for share in policy.steps[:-1]:
        if share in gone:
            found.append(Stage(f"{share} %", 0.0, None, "skipped: it could not show anything"))
        else:
            text = "how many requests is not known"
            if rate is not None:
                text = f"about {amount(rate * length * share / 100)} requests for {rollout.to}"
            found.append(Stage(f"{share} %", length, policy.step_max, text))
        if share in policy.approve_after:
            found.append(_person())
    if policy.steps[-1] in policy.approve_after:
        found.append(_person())
    text = f"all of the traffic; {rollout.from_} stays warm, going back is one rename"
    found.append(Stage("bake", policy.bake, None, text))
    return found


def _person() -> Stage:
    return Stage("approve", None, None, "waits for a person to agree: relctl promote")


def _leave(rollout: Rollout) -> list[Stage]:
    policy, from_ = rollout.policy, rollout.from_
    text = f"{rollout.to} is live, {from_} gets nothing new and ends what it has begun"
    return [
        Stage("drain", policy.drain, policy.drain_max, text),
        Stage("stop", None, policy.slot.stop_timeout, f"{from_}: {policy.slot.stop_signal}"),
    ]
