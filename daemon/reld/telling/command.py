"""A command that tells: JSON on its standard input, as a user who may do nothing else.

Not the app's user: the app could signal it and read what it knows. Not root: what happened has texts of
other people in it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
from pathlib import Path

from reld.config import Notify
from reld.errors import LaunchError
from reld.processes.environment import DEFAULT_PATH, MARKER
from reld.processes.session import attended
from reld.processes.spec import Launcher, LaunchSpec
from reld.telling.message import Message
from reld.telling.target import NotTold

PATIENCE = 30.0
"""Seconds; then it is killed."""
USERS = ("relctl-notify", "nobody")
"""Who it is where reld is root: the first of them that there is."""
_numbers = itertools.count(1)


class Command:
    """See `Target`. `mark`: begins the marker of its processes."""

    def __init__(
        self, notify: Notify, launcher: Launcher, mark: str, patience: float = PATIENCE
    ) -> None:
        self._notify = notify
        self._launcher = launcher
        self._mark = mark
        self._patience = patience

    async def tell(self, message: Message) -> str:
        env = {**_said(message), MARKER: f"{self._mark}.notify.{os.getpid()}.{next(_numbers)}"}
        user = self._notify.user or unprivileged()
        spec = LaunchSpec(self._notify.command, Path("/"), env, user, Path(os.devnull))
        with contextlib.ExitStack() as open_:
            body = os.memfd_create("relctl-notify")
            open_.callback(os.close, body)
            os.write(body, message.body("json") + b"\n")
            os.lseek(body, 0, os.SEEK_SET)
            nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            open_.callback(os.close, nothing)
            try:
                ended = await attended(
                    spec,
                    (body, nothing, nothing),
                    self._launcher,
                    _never,
                    within=self._patience,
                )
            except (LaunchError, OSError) as error:
                raise NotTold(_why(error)) from None
        if ended.late:
            raise NotTold(f"it did not end within {self._patience:g} s")
        if ended.exit.code != 0:
            raise NotTold(f"it ended with {ended.exit}")
        return str(ended.exit)


def unprivileged() -> str | None:
    """None: reld is not root, and the command is whoever reld is. Raises NotTold."""
    if os.geteuid() != 0:
        return None
    for name in USERS:
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            return name
    raise NotTold("there is no user nobody: name one in user")


def _said(message: Message) -> dict[str, str]:
    rollout = message.rollout or {}
    receipt = message.receipt or {}
    found = {
        "PATH": DEFAULT_PATH,
        "LANG": "C.UTF-8",
        "RELCTL_EVENT": message.event,
        "RELCTL_WHAT": message.what,
        "RELCTL_LEVEL": message.level,
        "RELCTL_TEXT": message.text.replace("\0", ""),
        "RELCTL_APP": message.app,
        "RELCTL_ROLLOUT": rollout.get("id"),
        "RELCTL_KIND": rollout.get("kind"),
        "RELCTL_FROM": rollout.get("from"),
        "RELCTL_TO": rollout.get("to"),
        "RELCTL_OUTCOME": receipt.get("outcome"),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _why(error: LaunchError | OSError) -> str:
    if isinstance(error, LaunchError):
        return error.message.partition("\n")[0]
    return f"cannot start it: {error.strerror}"


def _never() -> bool:
    return False
