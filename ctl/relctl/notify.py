"""`relctl notify`: who is told what happens, and does it arrive?"""

from __future__ import annotations

import json
from typing import Any

import click

from relctl.cli import Call, calling, command, noted
from relctl.errors import DONE, FAILED
from relctl.text import NONE, clean, table

_PENDING = (
    "this is what the config file says now: it is in use from the next rollout on, "
    "or from the next start of reld"
)
PATIENCE = 60.0
"""Seconds: a command may take thirty."""
_NOBODY = "nobody is told: relctl.toml(5) says how, [[notify]]"


@command("notify")
@click.option("--test", is_flag=True, help="send one message to each target, and say how it went")
@noted
@calling
def notify(call: Call, test: bool, note: str | None) -> int:
    """Show who is told what happens; --test: does it arrive?"""
    if not test:
        found = call.client().get("/v1/notify")
        _show(call, found, ("TARGET", "ON", "TOLD", "LOST", "WAITING", "STATE"), _row)
        return DONE
    client = call.client()
    client.patience = PATIENCE
    found = client.post("/v1/notify", {"note": note} if note else {})
    _show(call, found, ("TARGET", "TOLD", "ANSWER", "TOOK"), _answer)
    if found.get("pending") and not call.as_json:
        click.echo(_PENDING, err=True)
    targets = found.get("targets") or []
    return DONE if targets and all(t.get("told") for t in targets) else FAILED


def _show(call: Call, found: dict[str, Any], head: tuple[str, ...], row: Any) -> None:
    if call.as_json:
        click.echo(json.dumps(found))
    elif found.get("targets"):
        click.echo("\n".join(table(head, [row(target) for target in found["targets"]])))
    else:
        click.echo(_NOBODY, err=True)


def _row(target: dict[str, Any]) -> tuple[str, ...]:
    return (
        clean(target.get("target") or NONE),
        clean(",".join(target.get("on") or ())),
        *(str(target.get(key, NONE)) for key in ("told", "lost", "waiting")),
        clean(target.get("trouble") or "fine"),
    )


def _answer(target: dict[str, Any]) -> tuple[str, ...]:
    told = "yes" if target.get("told") else "no"
    took = f"{target.get('seconds', 0):.1f} s"
    return clean(target.get("target") or NONE), told, clean(target.get("answer") or NONE), took
