"""`tar cz . | ssh HOST relctl unpack RELEASE`: puts a release in place, as the app's user."""

from __future__ import annotations

import json
import os
import sys

import click

from relctl import asking
from relctl.cli import Call, calling, command, noted
from relctl.errors import DONE, CtlError, UsageError
from relctl.lending import Lent
from relctl.text import clean

_STDIN, _STDERR = 0, 2


@command("unpack")
@click.argument("name", metavar="RELEASE")
@click.argument("file", required=False, metavar="[FILE]")
@noted
@calling
def unpack(call: Call, name: str, file: str | None, note: str | None) -> int:
    """Put a release in place: a tar archive from stdin, or FILE."""
    release = asking.release_name(name)
    archive = _opened(release, file)
    client = call.client()
    body = {"release": release, **({"note": note} if note else {})}
    lent = Lent(archive, _STDERR)
    try:
        with client.hand("/v1/releases", body, lent.descriptors) as connection:
            lent.relay(connection)
            answer = client.handed(connection)
    finally:
        lent.close()
        if file is not None:
            os.close(archive)
    if call.as_json:
        click.echo(json.dumps(answer))
    else:
        click.echo(f"{clean(answer.get('message') or release)}\nnext: relctl switch {release}")
    return DONE


def _opened(release: str, file: str | None) -> int:
    if file is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(
                "cannot unpack: there is no archive on stdin",
                f"tar cz . | ssh HOST relctl unpack {release}, or relctl unpack {release} FILE",
            )
        return _STDIN
    try:
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CtlError(f"cannot read {file}: {error.strerror}", 1, "unreadable") from None
