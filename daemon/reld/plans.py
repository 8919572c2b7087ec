"""What a rollout will do and how long it takes if nothing holds it up. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reld import outlook
from reld.api.requests import Options
from reld.core.model import Kind, Rollout
from reld.core.policy import Policy


def with_options(policy: Policy, options: Options) -> Policy:
    """The policy with what a person wants otherwise this time."""
    names = ("steps", "step_time", "step_max", "step_requests", "bake", "drain", "drain_max")
    given = {n: v for n in names if (v := getattr(options, n)) is not None}
    if options.now:
        given["steps"] = (100,)
    if options.observe:
        given["verdict"] = replace(policy.verdict, act=False)
    policy = replace(policy, **given)
    return replace(
        policy,
        step_max=max(policy.step_max, policy.step_time),
        drain_max=max(policy.drain_max, policy.drain),
    )


def forth(kind: Kind, from_: str, to: str, policy: Policy, rate: float | None) -> dict[str, Any]:
    """The "plan" of POST /v1/rollouts. `rate`: requests per second, None = not known."""
    if kind in (Kind.STOP, Kind.CONTRACT):
        seconds = policy.drain if kind is Kind.STOP else 0.0
        return _plan(kind, from_, to, seconds, (), [f"{kind} {from_}"])
    watched = bool(from_) and kind not in (Kind.ROLLBACK, Kind.EJECT)
    steps = policy.steps if watched else (100,)
    bake = policy.bake if watched else 0.0
    drain = policy.drain if from_ else 0.0
    skipped = outlook.skipped(policy, rate) if watched else ()
    seconds = outlook.lasts(policy, rate) if watched else drain
    text = [f"start {policy.slot.instances} × {to}, ready within {policy.slot.ready_deadline:g} s"]
    if from_:
        shares = " → ".join(f"{s} %" for s in steps if s not in skipped)
        text.append(f"shift {shares}, at least {policy.step_time:g} s a step before the last")
        text.append(f"bake {bake:g} s with {from_} warm, then drain it for {drain:g} s and stop it")
    watch = outlook.lines(policy, from_, to, rate) if watched else []
    return {
        **_plan(kind, from_ or None, to, seconds, steps, text + watch),
        "watch": watch,
        "skipped": list(skipped),
    }


def back(running: Rollout) -> dict[str, Any]:
    """The plan of turning a running rollout round."""
    text = f"move all traffic back to {running.from_}, drain {running.to}, stop it"
    plan = _plan(
        Kind.ROLLBACK, running.to, running.from_ or None, running.policy.drain, (0,), [text]
    )
    return {**plan, "instant": True}


def _plan(
    kind: Kind,
    from_: str | None,
    to: str | None,
    seconds: float,
    steps: tuple[int, ...],
    text: list[str],
) -> dict[str, Any]:
    return {
        "from": from_,
        "to": to,
        "kind": kind,
        "instant": False,
        "seconds": seconds,
        "steps": list(steps),
        "text": text,
    }
