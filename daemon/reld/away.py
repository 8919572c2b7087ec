"""What a rollout means to users when two copies do not fit, in words. Pure.

`seconds`: how long it took last time to stop one release and to get the next one ready; 0: not known.
"""

from __future__ import annotations

from reld.api.requests import Options
from reld.core.model import Kind, Rollout
from reld.core.policy import Policy

_COMPARED = (
    "steps",
    "step_time",
    "step_max",
    "step_requests",
    "bake",
    "now",
    "observe",
    "surge",
    "shadow",
)
"""Options that mean something only while both releases serve."""


def told(seconds: float) -> str:
    """For how long; 0 = nobody knows."""
    return f"for about {max(1.0, seconds):.0f} s" if seconds else "until it is ready"


def another_way(running: Rollout, seconds: float) -> str:
    """For whom two copies do not fit."""
    release = f" {running.to}" if running.kind is not Kind.RESTART else ""
    return f"relctl {running.kind}{release} --stop-first: the app is away {told(seconds)}"


def lines(policy: Policy, from_: str, to: str, seconds: float) -> list[str]:
    """What will be done, for people."""
    slot, most = policy.slot, f"within {policy.drain_max:g} s"
    within = f"within {slot.ready_deadline:g} s"
    return [
        f"answer 503 to everybody, let {from_} end what it has begun, {most}, and stop it",
        f"start {slot.instances} × {to}, ready {within}: users get 503 {told(seconds)}",
        f"bring {from_} back if {to} does not get ready",
        f"compare nothing: no steps, no bake; once {to} is live, only a rollback goes back",
    ]


def ignored(options: Options) -> list[str]:
    """What was typed and means nothing, one line; [] = nothing."""
    given = [name for name in _COMPARED if getattr(options, name, None) not in (None, False)]
    if not given:
        return []
    names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
    return [f"stop-first: {names} ignored, there are no two releases at once"]
