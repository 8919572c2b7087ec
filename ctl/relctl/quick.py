"""`relctl status` without click: people put it into prompts and loops, so it starts like `true`.

Only the plainest spelling is understood here; anything else is click's to read, help and errors too.
"""

from __future__ import annotations

import json
import sys

from relctl.errors import DONE, WENT_BACK
from relctl.find import socket_path
from relctl.http import Client
from relctl.status import lines, trouble

FLAGS = ("--json", "--check")
VALUES = ("--app", "--socket")


class StatusCall:
    """What was asked of `relctl status`."""

    __slots__ = ("app", "check", "json", "socket")

    def __init__(self, socket: str | None, app: str | None, *, json: bool, check: bool) -> None:
        self.socket = socket
        self.app = app
        self.json = json
        self.check = check


def understood(argv: list[str]) -> StatusCall | None:
    """The call, where argv is `status` with nothing but its own options; None = ask click."""
    if argv.count("status") < 1:
        return None
    flags: set[str] = set()
    values: dict[str, str] = {}
    words: list[str] = []
    rest = iter(argv)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument in FLAGS:
            flags.add(argument)
        elif name in VALUES:
            if not equals:
                value = next(rest, "")
            if not value or value.startswith("-"):
                return None
            values[name] = value
        else:
            words.append(argument)
    if words != ["status"] or argv[0] == "--check":
        return None
    return StatusCall(
        values.get("--socket"),
        values.get("--app"),
        json="--json" in flags,
        check="--check" in flags,
    )


def run(call: StatusCall) -> int:
    """Prints the status; 0, or with `--check` 3 where something is wrong."""
    status = Client(socket_path(call.socket, call.app)).get("/v1/status")
    if call.json:
        print(json.dumps(status))
    else:
        print("\n".join(lines(status)))
    why = trouble(status)
    if not call.check or why is None:
        return DONE
    if not call.json:
        print(f"check: {why}", file=sys.stderr)
    return WENT_BACK
