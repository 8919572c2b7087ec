"""`relctl mend`: the database was damaged, somebody has looked at the disk, reld may go on."""

from __future__ import annotations

import json

import click

from relctl.cli import Call, calling, command, noted
from relctl.errors import DONE
from relctl.text import clean


@command("mend")
@noted
@calling
def mend(call: Call, note: str | None) -> int:
    """Acknowledge a damaged database. Its history comes back as far as it can be read."""
    answer = call.client().post("/v1/mend", {"note": note} if note else {})
    click.echo(json.dumps(answer) if call.as_json else clean(answer.get("message") or "mended"))
    return DONE
