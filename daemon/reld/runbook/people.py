"""Who may do what, with names; and what is watched for them."""

from __future__ import annotations

from reld import outlook
from reld.runbook.facts import RELEASE, Facts
from reld.runbook.words import bullets, code, joined, plain, span, table

_THEN = {
    "promote": "goes live all the same, and its receipt says *unproven*",
    "hold": "waits for a person",
    "rollback": "goes back",
}


def watched(facts: Facts) -> list[str]:
    """What is compared, how sure it is, and what happens then."""
    policy, verdict = facts.policy, facts.config.verdict
    if facts.stop_first:
        said = "Nothing is compared: the releases never run side by side. Look at the app yourself."
        return ["## What is watched", "", said, ""]
    limits = [
        f"more than {100 * verdict.max_error_rate:g} % errors" if verdict.max_error_rate else "",
        f"a p95 above {1000 * verdict.max_p95:g} ms" if verdict.max_p95 else "",
    ]
    absolute = joined([limit for limit in limits if limit], "or")
    routes = joined([plain(route.name) for route in facts.config.route])
    shield = (
        "Idempotent requests that fail on the new release are answered by the old one meanwhile."
    )
    return [
        "## What is watched",
        "",
        (
            f"Errors, slowness and hanging requests of {RELEASE} against {facts.serving} **at the same time**, and"
            " whether its processes live and stay ready. What is clearly worse goes back by itself, at once."
        ),
        "",
        *bullets(
            *(
                f"{line[:1].upper()}{line[1:]}."
                for line in outlook.lines(policy, facts.serving, RELEASE, facts.rate)
            ),
            f"A healthy release is rolled back by mistake once in {1 / verdict.false_alarm:.0f} releases.",
            f"Whatever the old release does: {absolute} is too much." if absolute else "",
            f"Judged apart: {routes}." if routes else "",
            shield if verdict.shield else "",
            f"With too few requests to tell, it {_THEN[verdict.on_unproven]}.",
            "When both releases suffer, the share stays as it is: it is not the release, look around it.",
        ),
    ]


def people(facts: Facts) -> list[str]:
    """Who may look, change and approve."""
    access = facts.config.access
    rows = [
        ("change: switch, rollback, pause, promote, abort …", _named(facts, access.operators)),
        ("approve what another person began", _named(facts, access.approvers)),
        ("look", _named(facts, access.viewers)),
    ]
    second = (
        "Approvers are named: a switch, a restart and a contract wait for one of them, who is another person"
        " than the one who began it. Going back never waits for anybody."
        if access.approvers
        else "No approvers are named: who may change anything may do it alone."
    )
    return [
        "## Who",
        "",
        *table(("may", "who"), [row for row in rows if row[1]]),
        f"Root may do all of it. {second}",
        "",
        f"Who did what: {code(facts.type('audit'))}. Who watches a rollout is in its status and its receipt.",
        "",
    ]


def rehearsal(facts: Facts) -> list[str]:
    """When going back was last tried, and what it showed."""
    last = facts.rehearsal
    said = ["## Last rehearsal", ""]
    how = code(facts.type("rehearse"))
    if facts.stop_first:
        return []
    if last is None:
        return [
            *said,
            f"There was none so far. {how} tries the way back with the live release.",
            "",
        ]
    lost = last.get("lost") or 0
    return [
        *said,
        f"{_text(last, 'at')}, with {_text(last, 'release')}: {_text(last, 'outcome').replace('_', ' ')}.",
        "",
        *bullets(
            _seconds(last, "seconds_to_ready", "ready after"),
            _seconds(last, "seconds_to_roll_back", "back after"),
            _seconds(last, "longest_request", "the longest request took"),
            f"{lost} requests lost",
            *(plain(str(line)) for line in last.get("advice") or ()),
        ),
        f"Again: {how}",
        "",
    ]


def _text(last: object, key: str) -> str:
    return plain(str(last.get(key) or "–")) if isinstance(last, dict) else "–"


def _seconds(last: object, key: str, words: str) -> str:
    value = last.get(key) if isinstance(last, dict) else None
    return f"{words} {span(float(value))}" if isinstance(value, int | float) else ""


def _named(facts: Facts, names: tuple[str, ...]) -> str:
    return ", ".join(_who(facts, name) for name in names)


def _who(facts: Facts, name: str) -> str:
    if not name.startswith("@"):
        return plain(name)
    found = facts.members.get(name, ())
    return f"group {name[1:]} ({', '.join(found) if found else 'nobody is in it'})"
