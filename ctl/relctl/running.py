"""`relctl run -- COMMAND`: with the live release's environment, directory and user."""

from __future__ import annotations

import os

import click

from relctl import asking
from relctl.cli import Call, calling, noted, relctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.argument("words", nargs=-1, required=True, metavar="[--] COMMAND [WORD]…")
@click.option("--release", metavar="RELEASE", help="of this release, not of the live one")
@noted
@calling
def run(call: Call, words: tuple[str, ...], release: str | None, note: str | None) -> int:
    """Run a command as the live release runs. With its environment, directory and user."""
    if release is not None:
        asking.release_name(release)
    asked: dict[str, Any] = {"argv": list(words), "release": release, "note": note}
    body = {name: value for name, value in asked.items() if value is not None}
    client = call.client()
    from relctl import terminal
    from relctl.lending import Lent

    lent: terminal.Terminal | Lent
    if terminal.is_one():
        lent = terminal.Terminal()
        body |= {"terminal": True, "term": os.environ.get("TERM", "")}
        streams = [lent.slave, lent.slave, lent.slave if os.isatty(2) else 2]
    else:
        lent = Lent(0, 1, 2)
        streams = lent.descriptors
    try:
        with client.hand("/v1/run", body, streams) as connection:
            lent.relay(connection)
            return int(client.handed(connection).get("exit") or 0)
    finally:
        lent.close()


relctl.add_command(run)
