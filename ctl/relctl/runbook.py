"""`relctl runbook`: the team's own page about releases, made of the config and of what runs."""

from __future__ import annotations

import json

import click

from relctl.cli import Call, calling, command
from relctl.errors import DONE
from relctl.text import paragraph


@command("runbook")
@calling
def runbook(call: Call) -> int:
    """How this team releases and goes back. Markdown, with its names and numbers."""
    answer = call.client().get("/v1/runbook")
    if call.as_json:
        click.echo(json.dumps(answer))
    else:
        click.echo(paragraph(answer.get("markdown") or ""))
    return DONE
