"""Why nobody answers behind a socket that is open: systemd holds it for a reld that does not come up.

A reld that is restarted is waited for; one that ends again and again by itself is not.
"""

from __future__ import annotations

import os

from relctl import find, programs
from relctl.errors import UnreachableError

CONFIG_INVALID = "8"
STARTS = 3
"""Starts in vain that are no restart any more; with a broken config the second one says it."""


def why(path: str, app: str) -> UnreachableError | None:
    """None: reld is on its way, or nothing is known against it. `path`: of the control socket."""
    if os.path.dirname(os.path.dirname(path)) != find.RUN:
        return None  # elsewhere the name of a directory is no app's
    unit = f"reld@{app}"
    names = ("ActiveState", "Result", "ExecMainStatus", "NRestarts")
    now = programs.properties(f"{unit}.service", *names)
    restarts, status = now.get("NRestarts", ""), now.get("ExecMainStatus", "")
    down = now.get("ActiveState") in ("activating", "failed") and now.get("Result") == "exit-code"
    again = int(restarts) if restarts.isdecimal() else 0
    if not down or again < (1 if status == CONFIG_INVALID else STARTS):
        return None
    what = f"cannot ask {unit}: it does not come up"
    if status == CONFIG_INVALID:
        return UnreachableError(
            f"{what}, its config is wrong{_told(app)}",
            "correct it, relctl check tells whether it is right; reld comes up by itself then",
        )
    return UnreachableError(
        f"{what} (exit status {status}, {again} starts in vain)",
        f"relctl check; sudo journalctl -u {unit} -n 20",
    )


def _told(app: str) -> str:
    """File and line, where this person may read them."""
    from relctl.unaided import config

    wrong = [one["text"] for one in config(app) if one["level"] == "error"]
    return "".join(f"\n  {line}" for line in wrong)
