"""The whole page, in the order in which a tired person needs it."""

from __future__ import annotations

from reld.runbook.back import back, hooks, places, worst
from reld.runbook.facts import RELEASE, Facts
from reld.runbook.forth import happens, release
from reld.runbook.people import people, rehearsal, watched
from reld.runbook.words import code, plain, table

_PARTS = (release, happens, back, worst, watched, people, hooks, rehearsal, places)


def page(facts: Facts) -> str:
    """Markdown."""
    lines = [*_head(facts)]
    for part in _PARTS:
        lines += part(facts)
    once = [line for n, line in enumerate(lines) if line or (n and lines[n - 1])]
    return "\n".join(once).rstrip() + "\n"


def _head(facts: Facts) -> list[str]:
    name = facts.config.name
    rows = [
        ("what goes on?", code(facts.type("status"))),
        ("look on", code(facts.type("watch"))),
        ("release", code(facts.type(f"switch {RELEASE}"))),
        ("**go back**", code(facts.type("rollback"))),
        (
            "hold it where it is, and go on",
            f"{code(facts.type('pause'))}, {code(facts.type('resume'))}",
        ),
    ]
    wrong = [f"**The config has an error, no switch will begin:** {plain(facts.wrong)}", ""]
    return [
        f"# Releases of {name}",
        "",
        (
            f"Made by {code(facts.type('runbook'))} from {code(plain(str(facts.config.path)))} and from what runs."
            " Nothing here is written by hand: print it again after a change."
        ),
        "",
        _now(facts),
        "",
        *(wrong if facts.wrong else []),
        *table(("at 2 a.m.", "type"), rows),
    ]


def _now(facts: Facts) -> str:
    live, running = facts.live, facts.state.rollout
    serves = f"**{live.release}** is live" if live is not None else "**Nothing is live**"
    instances = f" with {len(live.instances)} × {code(_command(facts))}" if live is not None else ""
    if live is not None and live.external:
        instances = f" at {live.instances[0].address}: reld did not start it, and never stops it"
    gate = f", behind the gate at {facts.config.gate.listen}"
    now = (
        f" Rollout {running.id} to {running.to} is {running.phase}." if running is not None else ""
    )
    return f"{serves}{instances}{gate}.{now}"


def _command(facts: Facts) -> str:
    return plain(" ".join(facts.config.app.command))
