"""The file that says to the processes of a slot that theirs is the live one.

    RUNTIME/active/blue     there while blue is live; its path is RELCTL_ACTIVE_FILE for blue's processes
    RUNTIME/active/green    never there at the same time

For schedulers inside an app, which must not run twice while two releases do. Looking at it is one stat(2)
on tmpfs. It is moved without an await in between, so whoever cancels this has an old or a new answer.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from reld.core.events import ActiveTold
from reld.core.model import Color
from reld.engine import Post

LOOK_EVERY = 1.0
"""Seconds until a file is there again that somebody's cleaning job took."""


class ActiveFiles:
    """Two paths in a directory that everybody may look into and only reld's user may write."""

    def __init__(self, runtime: Path) -> None:
        self._at = runtime.absolute() / "active"

    def path(self, color: Color) -> Path:
        return self._at / color

    def show(self, live: Color | None) -> None:
        """Away with every other one first. Raises OSError: then the new one is not there either."""
        for color in Color:
            if color is not live:
                self.path(color).unlink(missing_ok=True)
        if live is None or self.path(live).is_file():
            return
        self._at.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._at.chmod(0o755)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self.path(live), flags, 0o644)
        os.fchmod(file, 0o644)
        os.close(file)


async def keep_active(files: ActiveFiles | None, live: Color | None, post: Post) -> None:
    """For as long as this slot is live. A machine without such files has nothing to keep."""
    said: str | None = None
    while True:
        try:
            if files is not None:
                files.show(live)
            trouble = ""
        except OSError as error:
            trouble = f"cannot say which slot is live: {error}"
        if trouble != said:
            said = trouble
            post(ActiveTold(trouble))
        await asyncio.sleep(LOOK_EVERY)
