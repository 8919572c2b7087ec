"""`relctl apps`: every app of this machine, one line each."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from relctl import find
from relctl.cli import Call, calling, command
from relctl.errors import DONE, WENT_BACK, CtlError
from relctl.http import Client
from relctl.status import running, trouble
from relctl.text import NONE, clean, table, way


@command("apps")
@click.option("--check", is_flag=True, help="exit 3 where something is wrong with one of them")
@calling
def apps(call: Call, check: bool) -> int:
    """All apps of this machine."""
    answers = {app: _asked(app) for app in find.apps()}
    if call.as_json:
        click.echo(json.dumps({"apps": [{**said, "app": app} for app, said in answers.items()]}))
    elif answers:
        rows = [(app, *_row(said)) for app, said in answers.items()]
        click.echo("\n".join(table(("APP", "LIVE", "SLOT", "ROLLOUT", "STATE"), rows)))
    else:
        click.echo(
            "no app on this machine\n  next: relctl init, which says how one is set up", err=True
        )
    wrong = any("error" in said or trouble(said) for said in answers.values())
    return WENT_BACK if check and wrong else DONE


def _asked(app: str) -> dict[str, Any]:
    """Its status, or the error of the attempt: one app's trouble hides no other app."""
    try:
        return Client(os.path.join(find.RUN, app, find.SOCKET)).get("/v1/status")
    except CtlError as error:
        return dict(error.as_json())


def _row(said: dict[str, Any]) -> tuple[str, str, str, str]:
    if "error" in said:
        return NONE, NONE, NONE, clean(said["error"].get("message"))
    rollout = running(said)
    moving = NONE
    if rollout is not None:
        percent = f" {rollout['percent']} %" if rollout.get("percent") else ""
        moving = f"{way(rollout.get('from'), rollout.get('to'))} {rollout.get('phase')}{percent}"
    return (
        clean(said.get("release") or NONE),
        clean(said.get("live") or NONE),
        clean(moving),
        trouble(said) or "fine",
    )
