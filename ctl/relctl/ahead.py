"""`relctl plan`: what a switch would do and meet, before anybody begins it."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from typing import Any

import click

from relctl import asking
from relctl.cli import Call, calling, command, relctl
from relctl.errors import DONE, FAILED, UsageError

# Options of `switch` that change what it does; all others are about who watches it, and for how long.
DOING = (
    "now", "steps", "step_time", "step_max", "step_requests", "bake", "drain", "drain_max", "surge", "shadow",
    "observe", "stop_first", "supersede",
)  # fmt: skip
WIDEST = 80


@command("plan")
@click.argument("release")
@click.option("--diff", "whole", is_flag=True, help="the gate's config line by line, too")
@calling
def plan(call: Call, release: str, whole: bool, **rest: Any) -> int:
    """What switching to RELEASE would do and meet now."""
    from relctl.look import look_of
    from relctl.plan_page import lines

    asking.release_name(release)
    given = {n: v for n in DOING if (v := rest.get(n)) is not None and v is not False}
    if "steps" in given:
        if "now" in given:
            raise UsageError("cannot use --now together with --steps: it means --steps 100")
        given["steps"] = asking.steps(given["steps"])
    answer = call.client().post("/v1/plan", {"release": release, "options": given})
    if call.as_json:
        click.echo(json.dumps(answer))
    else:
        width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
        click.echo("\n".join(lines(answer, look_of(sys.stdout), width, whole=whole)))
    return DONE if answer.get("ok") else FAILED


def _as_switch() -> None:
    """The options of `switch`, so that a line that was typed for one is good for the other."""
    mine = relctl.commands["plan"].params
    taken = {option for parameter in mine for option in parameter.opts} | {"--dry-run"}
    for parameter in relctl.commands["switch"].params:
        if isinstance(parameter, click.Option) and not taken.intersection(parameter.opts):
            same = copy.copy(parameter)
            same.hidden = parameter.name not in DOING
            mine.append(same)


_as_switch()
