"""What the watch of a rollout can find, said before it starts. Pure.

It follows what the core will do: a step ends after `step_time` and `step_requests`, at most after
`step_max`, and a step that cannot give the candidate enough requests is skipped.
"""

from __future__ import annotations

from reld.core.policy import Policy
from reld.core.verdict import power, words
from reld.core.watch import FEWEST

USUAL_ERROR_RATE = 0.001
"""What the live release is taken to fail where nobody has counted yet: 0.1 %."""

_THEN = {
    "hold": "it waits for relctl promote then",
    "rollback": "it goes back then",
    "promote": "it goes live all the same",
}


def skipped(policy: Policy, rate: float | None) -> tuple[int, ...]:
    """Steps that could not show anything at so many requests per second (None = not known)."""
    if rate is None:
        return ()
    most = rate * policy.step_max / 100
    return tuple(step for step in policy.steps[:-1] if most * step < FEWEST)


def step_length(policy: Policy, rate: float | None) -> float:
    """Seconds that a step takes which nothing holds up."""
    if rate is None:
        return policy.step_time
    needed = policy.step_requests / rate if rate > 0 else policy.step_max
    return max(policy.step_time, min(policy.step_max, needed))


def lasts(policy: Policy, rate: float | None) -> float:
    """Seconds from the first step to the end of the drain, if nothing holds it up."""
    return step_length(policy, rate) * len(_taken(policy, rate)) + policy.bake + policy.drain


def lines(policy: Policy, from_: str, to: str, rate: float | None) -> list[str]:
    """A few sentences for the person who waits."""
    said = [_finds(policy, from_, to, rate)]
    gone = skipped(policy, rate)
    if gone and rate is not None:
        named = ", ".join(f"{step} %" for step in gone)
        said.append(f"skips {named}: at {_per_second(rate)} they could not show anything")
    if rate and _unproven(policy, rate):
        said.append(_too_few(policy, to, rate))
    if not policy.verdict.act:
        said.append("only observed: the verdict is told and does not act")
    return said


def judged(policy: Policy) -> list[str]:
    """By what a release is judged, beside its errors: what the config says, for who reads a plan."""
    verdict = policy.verdict
    said = [f"a healthy release goes back by mistake once in {1 / verdict.false_alarm:.0f}"]
    if len(policy.steps) > 1:
        said.append(
            f"slowness is judged after {words.span(verdict.warmup)}, against the old release"
        )
    limits = []
    if verdict.max_error_rate is not None:
        limits.append(f"{words.percent(verdict.max_error_rate)} errors")
    if verdict.max_p95 is not None:
        limits.append(f"{words.span(verdict.max_p95)} for 95 of 100 requests")
    if limits:
        said.append(f"in any case not more than {' and '.join(limits)}")
    if verdict.routes:
        said.append(f"judged apart, too: {', '.join(verdict.routes)}")
    return said


def _finds(policy: Policy, from_: str, to: str, rate: float | None) -> str:
    if len(policy.steps) == 1:
        return (
            f"all traffic at once: {to} is compared with what is known of {from_}, "
            "not with what it does meanwhile"
        )
    if rate is None:
        return "no traffic has been counted yet: what the watch can find is not known"
    if rate <= 0:
        then = _THEN[policy.on_unproven]
        return f"no traffic lately: nothing can be found, {to} will be unproven; {then}"
    steps = [(float(step), step_length(policy, rate)) for step in _taken(policy, rate)]
    return power.promise(
        rate,
        (*steps, (100.0, policy.bake)),
        policy.verdict.false_alarm,
        lasts(policy, rate),
        policy.bake + policy.drain,
        USUAL_ERROR_RATE,
    )


def _unproven(policy: Policy, rate: float) -> bool:
    length, taken = step_length(policy, rate), _taken(policy, rate)
    short = bool(taken) and rate * length < policy.step_requests
    return short or _reach(policy, rate) < policy.step_requests


def _reach(policy: Policy, rate: float) -> float:
    """Requests that the candidate gets before the commit."""
    shares = sum(_taken(policy, rate)) / 100
    return rate * (step_length(policy, rate) * shares + policy.bake)


def _too_few(policy: Policy, to: str, rate: float) -> str:
    then = _THEN[policy.on_unproven]
    reach = _reach(policy, rate)
    few = "less than one request" if reach < 1 else f"about {words.amount(reach)} requests"
    return (
        f"{to} will be unproven at {_per_second(rate)}: it gets {few}, "
        f"and {policy.step_requests} are needed; {then}"
    )


def _taken(policy: Policy, rate: float | None) -> tuple[int, ...]:
    gone = skipped(policy, rate)
    return tuple(step for step in policy.steps[:-1] if step not in gone)


def _per_second(rate: float) -> str:
    return f"{words.amount(rate)} req/s"
