"""What a rollout will do and how long it takes if nothing holds it up. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reld import away, outlook
from reld.api.requests import Options
from reld.core import agreement, exchange, shadow_words
from reld.core.model import Kind, Rollout
from reld.core.policy import STOP_FIRST, Policy
from reld.errors import BadRequest


def with_options(policy: Policy, options: Options) -> Policy:
    """The policy with what a person wants otherwise this time."""
    names = (
        "step_time",
        "step_max",
        "step_requests",
        "bake",
        "drain",
        "drain_max",
        "surge",
    )
    given = {n: v for n in names if (v := getattr(options, n)) is not None}
    if options.steps is not None:
        given["steps"], given["approve_after"] = agreement.split(options.steps)
    if options.now:
        given["steps"], given["approve_after"] = (100,), ()
    if options.shadow is not None or options.now:
        given["shadow"] = options.shadow or 0.0
    if options.stop_first:
        given["strategy"] = STOP_FIRST
    if options.observe:
        given["verdict"] = replace(policy.verdict, act=False)
    policy = replace(policy, **given)
    if policy.surge > policy.slot.instances:
        raise BadRequest(
            f"cannot use surge {policy.surge}: it is more than instances = {policy.slot.instances}"
        )
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
        if watched and policy.shadow:
            text.append(shadow_words.plan(policy, from_, to))
            seconds += policy.step_time
        shares = " → ".join(f"{s} %" for s in steps if s not in skipped)
        text.append(f"shift {shares}, at least {policy.step_time:g} s a step before the last")
        if watched and policy.approve_after:
            text.append(agreement.planned(policy))
        text.append(f"bake {bake:g} s with {from_} warm, then drain it for {drain:g} s and stop it")
        if kind is not Kind.EJECT:
            text += exchange.lines(policy, from_)
            seconds += exchange.lasts(policy)
    if policy.slot.workers and kind is not Kind.ROLLBACK:
        text.append(f"move its workers once it is live: {_workers(policy)}")
    watch = outlook.lines(policy, from_, to, rate) if watched else []
    return {
        **_plan(kind, from_ or None, to, seconds or None, steps, text + watch),
        "watch": watch,
        "skipped": list(skipped),
        "approve_after": list(policy.approve_after) if watched else [],
    }


def gates_left_out(
    plan: dict[str, Any], configured: Policy, policy: Policy, options: Options
) -> str:
    """One sentence about the gates of the config that `--steps` or `--now` leave out; "" = none."""
    gone = agreement.left_out(configured, policy)
    gated = plan.get("from") and plan.get("watch") and plan.get("strategy") != STOP_FIRST
    if not gone or not gated:
        return ""
    by = "--now" if options.now else "--steps"
    return f"{by} leaves out where the config has a person agree: {agreement.places(gone)}"


def _workers(policy: Policy) -> str:
    return ", ".join(
        f"{w.instances} × {w.name} ({w.handover})"
        if w.instances > 1
        else f"{w.name} ({w.handover})"
        for w in policy.slot.workers
    )


def in_turn(
    kind: Kind, from_: str, to: str, policy: Policy, seconds: float, options: Options
) -> dict[str, Any]:
    """The plan of a stop-first rollout. `seconds`: see `away`."""
    gap = f"users get 503 {away.told(seconds)}: {from_} is stopped before {to} starts"
    return {
        **_plan(kind, from_, to, seconds or None, (), away.lines(policy, from_, to, seconds)),
        "strategy": STOP_FIRST,
        "watch": [*away.ignored(options), gap],
        "skipped": [],
    }


def of(running: Rollout, seconds: float, rate: float | None) -> dict[str, Any]:
    """The plan of a rollout that runs already."""
    kind, from_, to, policy = running.kind, running.from_, running.to, running.policy
    if running.stop_first:
        return in_turn(kind, from_, to, policy, seconds, Options())
    return forth(kind, from_, to, policy, rate)


def back(running: Rollout) -> dict[str, Any]:
    """The plan of turning a running rollout round."""
    text = f"move all traffic back to {running.from_}, drain {running.to}, stop it"
    if running.surge:
        text = (
            f"give {running.from_} back at once what its instances carry, and the rest as they come "
            f"back one after the other, drain {running.to}, stop it"
        )
    plan = _plan(
        Kind.ROLLBACK, running.to, running.from_ or None, running.policy.drain, (0,), [text]
    )
    return {**plan, "instant": not running.surge}


def _plan(
    kind: Kind,
    from_: str | None,
    to: str | None,
    seconds: float | None,
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
