"""The way out: `relctl eject` hands the live release to a plain systemd unit."""

from __future__ import annotations

from typing import Any

import click

from relctl.cli import Call, begin, calling, command, staying


@command("eject")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="where it goes [external.address, else 8000]"
)
@click.option("--unit", metavar="NAME", help="what its unit is called: APP, or APP-NAME [APP]")
@click.option("--dry-run", is_flag=True, help="print the units and what is left to do, do nothing")
@click.option("--force", is_flag=True, help="also where two copies may not fit into the memory")
@staying
@calling
def eject(call: Call, **rest: Any) -> int:
    """Hand the live release to a plain systemd unit. Without loss; the unit needs no relctl."""
    return begin(call, "eject", None, **rest)
