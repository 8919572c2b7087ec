"""`relctl init`: from what runs today to a first config. It edits nothing, and never overwrites."""

from __future__ import annotations

import click

from relctl.cli import Call, calling, command

_DIRECTORY = click.Path(exists=True, file_okay=False)


@command("init")
@click.argument("name", metavar="[APP]", required=False)
@click.option(
    "--directory", metavar="DIR", type=_DIRECTORY, help="the project [where the app runs]"
)
@click.option(
    "--site", metavar="NAME", help="which site, where nginx has several: its name, or a port"
)
@click.option(
    "--nginx", "config", metavar="FILE", help="nginx's main config [of the nginx that runs]"
)
@click.option("--write", is_flag=True, help="into /etc/relctl/APP.toml, if that is not there")
@calling
def init(
    call: Call,
    name: str | None,
    directory: str | None,
    site: str | None,
    config: str | None,
    write: bool,
) -> int:
    """Print a first config for what runs today."""
    from relctl.setup import begin  # nobody else pays for it

    return begin.run(name, directory, site, config, write=write, as_json=call.as_json)
