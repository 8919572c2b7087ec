"""How to go back, in each phase; and the nights on which something else is broken, too."""

from __future__ import annotations

from reld.config import fill
from reld.runbook.facts import RELEASE, Facts
from reld.runbook.words import bullets, code, plain, span, table, typed


def back(facts: Facts) -> list[str]:
    """What to type, and how long it takes."""
    policy = facts.policy
    rollback = facts.type("rollback")
    reason = "It needs nobody's approval. Say why with `--reason TEXT`: it is in the receipt."
    said = ["## Go back", "", *typed(rollback), reason, ""]
    boots = (
        f"the last good release is started again and proven ready, at most {span(policy.slot.ready_deadline)},"
        " then gets all traffic at once"
    )
    if facts.stop_first:
        rows = [
            ("before the new release serves", "the old one is started again", _starts(facts)),
            ("later", boots + "; **users get 503 meanwhile**", _starts(facts)),
        ]
        return [*said, *table(("when", "what happens", "takes"), rows), *_sealed(facts)]
    instant = (
        "less than a second"
        if not policy.surge
        else "its share at once, the rest as instances come back"
    )
    again = "the old release is put back into the gate"
    rows = [
        (
            "preparing, starting, proving, admitting",
            f"{RELEASE} is stopped; no user saw it",
            "at once",
        ),
        ("shifting, baking", "all traffic goes to the old release, which is warm", instant),
        (
            f"draining (the {span(policy.drain)} or more after the bake)",
            again,
            "as while shifting" if policy.surge else "about a second",
        ),
        ("later", boots, _starts(facts)),
    ]
    return [*said, *table(("while it is", "what happens", "takes"), rows), *_sealed(facts)]


def worst(facts: Facts) -> list[str]:
    """The worst night: what still works, and what to type."""
    app = facts.config.name
    listen = facts.config.gate.listen
    lanes = not facts.stop_first
    offline = f"sudo {facts.type('rollback --offline')}"
    return [
        "## The worst night",
        "",
        "First look: "
        + code(facts.type("status"))
        + ". *degraded* and *next* say what is wrong and what to type.",
        "",
        *bullets(
            f"**A bad release, and reld does not answer**: {code(offline)} moves all"
            " traffic back to the live slot by one rename, without reld and without its database."
            if lanes
            else "",
            f"**reld is dead.** The app and its gate serve on without it, and it goes on where it was: {_started(facts)}",
            f"**The gate is dead** (nobody answers at {listen}): reld starts it again by itself, within seconds."
            + (
                f" Without reld: {code(f'sudo systemctl restart {facts.gate_unit}')}."
                if facts.gate_unit
                else ""
            ),
            "**The database is damaged**: reld puts it aside, goes on and says so. Look at the disk, then"
            f" {code(facts.type('mend'))} takes over what could be saved.",
            "**The app crashes again and again**: it is started again, ever more slowly. "
            f"{code(facts.type('logs'))} has its last words; {code(facts.type('rollback'))} is the way out.",
            f"**Nobody is to see it**: {code(facts.type('maintenance on'))} answers everybody with 503, "
            f"{code(facts.type('maintenance off'))} ends it.",
            f"**The disk is full**: what serves goes on, nothing new begins. Free some: {code(_releases(facts))} and"
            f" {code(plain(facts.state_directory))} are where it goes.",
            f"**relctl has to go**: {code(facts.type('eject --dry-run'))} shows how {app} runs on as a plain unit.",
        ),
    ]


def _started(facts: Facts) -> str:
    if facts.gate_unit is None:
        return "start it again as it was started (here it is no unit of systemd's)."
    restart, why = f"sudo systemctl restart {facts.unit}", f"sudo journalctl -u {facts.unit}"
    return f"{code(restart)} loses no request. Why it died: {code(why)}."


def hooks(facts: Facts) -> list[str]:
    """What runs around a release, and what cannot be undone."""
    configured = facts.config.hooks
    told = {
        "before_start": "before the new release starts, while the old one serves: only what both can live with",
        "after_switch": "once all traffic is on the new release",
        "after_retire": "once the old release has stopped",
        "on_rollback": "after going back",
        "contract": f"only by {code(facts.type('contract'))}",
    }
    rows = [
        (code(name), code(plain(" ".join(getattr(configured, name)))), told[name])
        for name in configured.configured
    ]
    said = ["## Data: hooks and migrations", ""]
    declared = {
        True: "Declared: two releases can run side by side with the same data.",
        False: "Declared: two releases can **not** run side by side with the same data.",
        None: "It is not declared whether two releases can run side by side with the same data"
        " (`[rollout] side_by_side`).",
    }[facts.config.rollout.side_by_side]
    if not rows:
        none = "No hooks are configured: reld touches no data, migrations are yours to run."
        return [*said, none, "", declared, ""]
    contract = (
        f"A migration has two halves. *Expand* comes with the release, *contract* when nobody wants to go back:"
        f" after {code(facts.type('contract'))} older releases are no way back any more."
    )
    return [
        *said,
        *table(("hook", "runs", "when"), rows),
        f"Each may take {span(configured.timeout)}. {declared}",
        "",
        *([contract, ""] if configured.contract else []),
    ]


def places(facts: Facts) -> list[str]:
    """Where logs, receipts and numbers are."""
    name = facts.config.name
    rows = [
        ("what goes on", code(facts.type("status")) + ", " + code(facts.type("watch"))),
        ("what the app says", code(facts.type("logs -f"))),
        ("what was, and why", code(facts.type("history")) + ", " + code(facts.type("show ID"))),
        ("releases to go to", code(facts.type("releases"))),
        (
            "reld itself",
            code(f"sudo journalctl -u {facts.unit}") if facts.gate_unit else "its stderr",
        ),
        (
            "the config",
            code(plain(str(facts.config.path)))
            + f"; {code(facts.type('check'))} looks at all of it",
        ),
        ("state and logs", code(plain(facts.state_directory))),
        ("metrics", code(f"curl --unix-socket {plain(facts.socket)} http://{name}/metrics")),
    ]
    return ["## Where things are", "", *table(("what", "where"), rows)]


def _sealed(facts: Facts) -> list[str]:
    good = [one.release for one in facts.state.good if not one.sealed]
    live = facts.serving
    ways = [release for release in reversed(good) if release != live][:5]
    seen = ", ".join(code(release) for release in ways)
    return [
        f"Known as good: {seen}. {code(facts.type(f'rollback {ways[0]}'))} goes to one of them."
        if ways
        else "No earlier release is known as good so far: there is no way back to one yet.",
        "",
    ]


def _starts(facts: Facts) -> str:
    last = facts.rehearsal or {}
    known = last.get("seconds_to_ready")
    return (
        f"about {span(float(known))}" if isinstance(known, int | float) else "as long as it starts"
    )


def _releases(facts: Facts) -> str:
    path = fill(facts.config.app.directory, {"release": "\0"}).partition("\0")[0]
    return plain(path.rpartition("/")[0] or "/")
