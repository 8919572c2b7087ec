"""`relctl rehearse`: the live release through the other slot and back, to know before the day."""

from __future__ import annotations

from typing import Any

import click

from relctl import asking
from relctl.cli import Call, begin, calling, command, staying


@command("rehearse")
@click.option(
    "--fail",
    is_flag=True,
    help="let requests of reld's own fail in the copy, to see the verdict find it",
)
@click.option(
    "--share",
    metavar="PERCENT",
    type=click.IntRange(1, 50),
    help="how much of the traffic the copy gets [5]",
)
@click.option(
    "--time",
    metavar="DURATION",
    type=asking.seconds,
    help="how long [step_time, at most 30s]; with --fail until the verdict, at most 60s",
)
@click.option("--dry-run", is_flag=True, help="print the plan, do nothing")
@click.option("--force", is_flag=True, help="also where two copies may not fit into the memory")
@click.option("--supersede", is_flag=True, help="end a rollout that is active first")
@staying
@calling
def rehearse(call: Call, share: int | None, fail: bool, **rest: Any) -> int:
    """Rehearse a release and its rollback with what is live."""
    return begin(call, "rehearsal", None, share=share, fail=fail or None, **rest)
