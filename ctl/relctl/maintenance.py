"""`relctl maintenance`: the gate answers 503 with a page, for everybody or for all but some."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from relctl.asking import seconds
from relctl.cli import Call, calling, command, noted
from relctl.errors import DONE, NEEDS_OPERATOR, UsageError
from relctl.status import closed
from relctl.text import clean

LARGEST_PAGE = 256 << 10  # bytes
LONGEST_HOLD = 30.0  # seconds


@command("maintenance")
@click.argument("wanted", required=False, type=click.Choice(["on", "off"]))
@click.option("--page", metavar="FILE", help="the HTML page that people get [a plain one]")
@click.option(
    "--allow",
    metavar="CIDR",
    multiple=True,
    help="clients that are let through, such as 192.0.2.0/24; may be repeated",
)
@click.option(
    "--hold",
    metavar="TIME",
    help="no 503: requests wait, for 30s at most, then go on, and the maintenance is over",
)
@click.option("--reason", metavar="TEXT", help="shown in the status: one line")
@noted
@calling
def maintenance(
    call: Call,
    wanted: str | None,
    page: str | None,
    allow: tuple[str, ...],
    hold: str | None,
    reason: str | None,
    note: str | None,
) -> int:
    """Have the gate answer 503, or the app again. Without on or off: say what is."""
    if wanted != "on" and (page or allow or hold):
        what = "cannot use --page, --allow and --hold without on"
        raise UsageError(what, "relctl maintenance on")
    if page and hold:
        raise UsageError("cannot use --page with --hold: nobody gets a page then")
    if wanted is None:
        if reason or note:
            raise UsageError("cannot use --reason and --note without on or off")
        found = call.client().get("/v1/status").get("maintenance")
        click.echo(json.dumps({"maintenance": found}) if call.as_json else closed(found) or "off")
        return DONE
    body: dict[str, Any] = {"on": wanted == "on"}
    if page:
        body["page"] = _read(page)
    if allow:
        body["allow"] = list(allow)
    if hold is not None:
        body["hold"] = _hold(hold)
    body |= {name: said for name, said in (("reason", reason), ("note", note)) if said}
    answer = call.client().post("/v1/maintenance", body)
    if call.as_json:
        click.echo(json.dumps(answer))
    else:
        click.echo(clean(answer.get("message") or f"maintenance is {wanted}"))
    return DONE if answer.get("in_effect") else NEEDS_OPERATOR


def _hold(text: str) -> float:
    found = seconds(text)
    if not 1 <= found <= LONGEST_HOLD:
        raise UsageError(f"cannot hold requests for {text}: it is 1s to {LONGEST_HOLD:g}s")
    return found


def _read(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            content = file.read(LARGEST_PAGE + 1)
        text = content.decode() if len(content) <= LARGEST_PAGE else None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read the page {name}: {why}") from None
    if text is None:
        limit = f"it is larger than {LARGEST_PAGE >> 10} KiB"
        raise UsageError(f"cannot read the page {name}: {limit}")
    if not text.strip():
        raise UsageError(f"cannot use the page {name}: it is empty")
    return text
