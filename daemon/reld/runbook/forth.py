"""How a release goes out: what to type, what happens then, and how long each part takes."""

from __future__ import annotations

from reld import outlook
from reld.config import fill
from reld.core import agreement, exchange
from reld.core.policy import Policy
from reld.runbook.facts import RELEASE, Facts
from reld.runbook.words import bullets, code, plain, span, table, typed


def release(facts: Facts) -> list[str]:
    return [
        "## Release",
        "",
        f"1. The release is a directory: {code(_place(facts))}. It must be complete before step 2.",
        f"   {code(facts.type(f'unpack {RELEASE} FILE'))} puts a tar archive there, complete or not at all.",
        "2. Ask what will happen. Nothing is changed by it:",
        "",
        *_indented(typed(facts.type(f"plan {RELEASE}"))),
        "3. Switch, and say who watches:",
        "",
        *_indented(typed(facts.type(f"switch {RELEASE} --on-duty NAME"))),
        "   It stays and shows what happens. Ctrl-C or a lost connection only ends the looking: the",
        f"   rollout goes on, and {code(facts.type('watch'))} takes it up again.",
        *_approval(facts),
        *_gates(facts),
        "",
        "From another machine (`vm` is the name that your SSH knows it by):",
        "",
        *typed(f"ssh vm {facts.type(f'switch {RELEASE} --on-duty NAME')}"),
        *_link(facts),
    ]


def happens(facts: Facts) -> list[str]:
    """Step by step, with durations."""
    policy = facts.policy
    said = ["## What happens then", ""]
    if facts.stop_first:
        return [*said, *_in_turn(facts, policy)]
    rows = [*_before(facts, policy), *_steps(facts, policy), *_after(policy)]
    total = outlook.lasts(policy, facts.rate) + exchange.lasts(policy)
    total += policy.step_time if policy.shadow else 0.0
    end = f"Together about **{span(total)}**{_at(facts)}, and the time that the start takes."
    if policy.approve_after:
        end += " How long people take to agree comes on top."
    surge = [f"{line[:1].upper()}{line[1:]}." for line in exchange.lines(policy, "the old release")]
    parts = table(("phase", "what happens", "takes"), rows)
    return [*said, *parts, end, "", *(bullets(*surge) if surge else [])]


def _before(facts: Facts, policy: Policy) -> list[tuple[str, str, str]]:
    slot = policy.slot
    hook = "; then the hook `before_start`" if "before_start" in policy.hooks else ""
    checks = facts.config.smoke
    names = ", ".join(plain(check.name) for check in checks)
    proves = (
        f"smoke checks ({names}) pass at the new ports" if checks else "there are no smoke checks"
    )
    beside = "beside the old" if not policy.surge else "beside the old, a few at a time"
    start = f"{slot.instances} × {RELEASE} {beside}; no user sees it"
    return [
        ("preparing", f"checks: directory, ports, memory for both{hook}", "a moment"),
        ("starting", start, f"until ready, at most {span(slot.ready_deadline)}"),
        ("proving", proves, f"at most {span(policy.smoke_deadline)}" if checks else "a moment"),
        ("admitting", "the gate knows both, all traffic stays where it is", "a moment"),
    ]


def _steps(facts: Facts, policy: Policy) -> list[tuple[str, str, str]]:
    rows = []
    if policy.shadow:
        copies = f"{100 * policy.shadow:g} % of the GETs are asked of {RELEASE} too; no user gets its answers"
        rows.append(("shadow", copies, f"at least {span(policy.step_time)}"))
    skipped = outlook.skipped(policy, facts.rate)
    length = span(outlook.step_length(policy, facts.rate))
    for step in agreement.joined(policy):
        if isinstance(step, str):
            who = "an approver" if facts.config.access.approvers else "a person"
            rows.append(
                ("waiting", f"**{who} has to agree**: {code(facts.type('promote'))}", "no limit")
            )
        elif step in skipped:
            rows.append((f"{step} %", "left out: too few requests to show anything", "–"))
        elif step != 100:
            rows.append((f"{step} %", f"of the requests go to {RELEASE} and are compared", length))
    return rows


def _after(policy: Policy) -> list[tuple[str, str, str]]:
    warm = "the old release stays warm" + ("" if policy.surge else ": going back is instant")
    hook = "; hook `after_switch`" if "after_switch" in policy.hooks else ""
    retire = "; then the hook `after_retire`" if "after_retire" in policy.hooks else ""
    longest = f"{span(policy.drain)} to {span(policy.drain_max)}"
    stop = policy.slot
    return [
        ("baking", f"100 % on {RELEASE}, {warm}{hook}", span(policy.bake)),
        ("committing", f"{RELEASE} is live, the old one gets nothing any more", "a moment"),
        ("draining", "the old release ends what it has begun", longest),
        (
            "stopping",
            f"the old release gets {stop.stop_signal}{retire}",
            f"at most {span(stop.stop_timeout)}",
        ),
    ]


def _in_turn(facts: Facts, policy: Policy) -> list[str]:
    known = f", last time for {span(facts.state.away)}" if facts.state.away else ""
    slot = policy.slot
    rows = [
        ("preparing", "checks; the old release serves on", "a moment"),
        (
            "draining",
            "users get 503; the old release ends what it has begun",
            f"at most {span(policy.drain_max)}",
        ),
        (
            "stopping",
            f"the old release gets {slot.stop_signal}",
            f"at most {span(slot.stop_timeout)}",
        ),
        (
            "starting",
            f"{slot.instances} × {RELEASE}",
            f"until ready, at most {span(slot.ready_deadline)}",
        ),
        ("proving", "the smoke checks pass", f"at most {span(policy.smoke_deadline)}"),
        ("committing", f"{RELEASE} serves", "a moment"),
    ]
    return [
        (
            'Two copies do not fit on this machine (`strategy = "stop-first"`), so **users get 503** from'
            f" draining to committing{known}. There are no steps and no comparison: choose a quiet hour."
        ),
        "",
        *table(("phase", "what happens", "takes"), rows),
        "If the new release does not get ready, the old one is started again by itself.",
        "",
    ]


def _approval(facts: Facts) -> list[str]:
    if not facts.config.access.approvers:
        return []
    return [
        "4. It is started and proven, and then waits for another person, who is an approver:",
        "",
        *_indented(typed(facts.type("approve"))),
    ]


def _gates(facts: Facts) -> list[str]:
    gates = facts.policy.approve_after
    if not gates or facts.stop_first:
        return []
    places = " and ".join(agreement.place(after) for after in gates)
    who = "an approver who did not begin it" if facts.config.access.approvers else "somebody"
    return [
        "",
        f"It stops and waits until {who} agrees **{places}**: {code(facts.type('promote'))}. The watch goes on",
        "meanwhile, and goes back by itself if it has to.",
    ]


def _link(facts: Facts) -> list[str]:
    link = facts.config.releases.follow
    if link is None:
        return []
    return [
        f"Or let the link do it: when {code(plain(link))} is changed to another release, that switch begins by",
        "itself. A release that went back is not tried again until the link changes; after a rollback by hand",
        f"link and app differ, and {code(facts.type('status'))} says so.",
        "",
    ]


def _place(facts: Facts) -> str:
    return plain(fill(facts.config.app.directory, {"release": RELEASE}))


def _at(facts: Facts) -> str:
    if facts.rate is None:
        return ""
    return (
        f" at {facts.rate:.0f} requests a second"
        if facts.rate >= 10
        else f" at {facts.rate:.2g} requests a second"
    )


def _indented(lines: list[str]) -> list[str]:
    return [f"   {line}" if line else "" for line in lines]
