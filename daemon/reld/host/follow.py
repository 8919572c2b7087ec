"""Follows the link of [releases] follow: what it says, once it has said so for a moment, is begun.

What a change means is decided in `core.following`; a switch goes the same way as one that a person asks
for. Nothing here is tried again by a clock: a refused wish waits for the link or the config to change,
or for what refused it to be over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Protocol

from reld.aside import HangsError, aside
from reld.config import App, Config, fill
from reld.core import following
from reld.core.following import Do, Link
from reld.core.model import Followed, State
from reld.errors import Busy, RelctlError
from reld.host.file_watch import Changes, link_changes

log = logging.getLogger("reld.follow")

SETTLED_AFTER = 1.0
"""Seconds that the link has to stay as it is: `ln -sfn` removes it first."""
PATIENCE = 5.0
"""Seconds that a look at it may take."""
LOOK_AT_LEAST_EVERY = 30.0
"""Seconds: whatever a watch may have missed."""

_LEVELS = {"pending": logging.INFO, "refused": logging.WARNING}

Begin = Callable[[Link, Followed], Awaitable[int | None]]
"""Begins a switch for the link. The number of a rollout that ran for it already, else None.

Raises RelctlError."""


class Configs(Protocol):
    """`today`: the newest one that has no error."""

    @property
    def today(self) -> Config: ...

    def after_looks(self, looker: Callable[[], None]) -> None: ...


class Follow:
    """`note`: remembers what the link said. `say`: tells people."""

    def __init__(
        self,
        state: Callable[[], State],
        config: Configs,
        begin: Begin,
        note: Callable[[Followed | None], None],
        say: Callable[[str], object],
        seen: Changes = link_changes,
    ) -> None:
        self._state = state
        self._config = config
        self._begin = begin
        self._note = note
        self._say = say
        self._seen = seen
        self._link: Link | None = None
        self._refused = ""
        self._told = ""
        self._again = asyncio.Event()
        config.after_looks(self.look_again)

    def shown(self) -> dict[str, Any] | None:
        """The "follow" of a status; None: no link is followed."""
        link = self._link
        if link is None:
            return None
        state, why = following.told(self._state(), link, self._refused)
        return {
            "link": link.path,
            "target": link.target or None,
            "state": state,
            "why": why or None,
        }

    def look_again(self) -> None:
        """Something may have changed that a refused or a waiting wish was refused or waited for."""
        self._refused = ""
        self._again.set()

    def moved(self, before: State, after: State) -> None:
        """An engine.Watcher."""
        over = before.rollout is not None and after.rollout is None
        mended = before.store_trouble and not after.store_trouble
        if over or mended or before.maintenance != after.maintenance:
            self.look_again()

    async def keep(self) -> None:
        """Until cancelled."""
        watching: asyncio.Task[None] | None = None
        watched: str | None = None
        try:
            while True:
                self._again.clear()
                path = self._config.today.releases.follow
                if path != watched:
                    await _ended(watching)
                    watching, watched = None, path
                    self._link, self._refused = None, ""
                if path is None:
                    if self._state().follow is not None:
                        self._note(None)
                    await self._again.wait()
                    continue
                if watching is None or watching.done():
                    await _ended(watching)
                    watching = asyncio.create_task(self._watch(Path(path)))
                try:
                    link = await self._settled(path)
                    if link is None:
                        continue
                    await self._act(link)
                except HangsError:  # nothing is known of it, so nothing is remembered
                    self._link = Link(path, trouble=f"{path} cannot be looked at: its disk hangs")
                    self._tell(self._link)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AT_LEAST_EVERY):
                        await self._again.wait()
        finally:
            await _ended(watching)

    async def _watch(self, path: Path) -> None:
        async with aclosing(self._seen(path)) as changes:
            async for _ in changes:
                self._again.set()

    async def _settled(self, path: str) -> Link | None:
        """What the link says, once it has said so for a moment; at once what is no news.

        None: it is not followed any more. Raises HangsError.
        """
        app = self._config.today.app
        link = await self._read(path, app)
        while link != self._link:
            self._link, self._refused = link, ""
            await asyncio.sleep(SETTLED_AFTER)
            if self._config.today.releases.follow != path:  # it may never settle
                return None
            link = await self._read(path, app)
        return link

    async def _read(self, path: str, app: App) -> Link:
        return await aside(f"follow {path}", lambda: read(path, app), PATIENCE)

    async def _act(self, link: Link) -> None:
        match following.decide(self._state(), link):
            case Do.NOTE:
                self._note(following.noted(link))
            case Do.SWITCH if not self._refused:
                await self._switch(link)
            case _:
                pass
        self._tell(link)

    async def _switch(self, link: Link) -> None:
        try:
            ran = await self._begin(link, following.noted(link))
        except Busy:
            return  # it waits until that one is over
        except RelctlError as error:
            self._refused = f"{error.message}; {error.hint}" if error.hint else error.message
            return
        known = self._state().follow
        if ran is not None or known is None or known.target != link.target:
            self._note(following.noted(link, ran))

    def _tell(self, link: Link) -> None:
        """What keeps it from being followed, once."""
        state, why = following.told(self._state(), link, self._refused)
        soon = following.decide(self._state(), link) in (Do.SWITCH, Do.NOTE)
        if state == "followed" or (state == "pending" and soon):
            why = ""
        if why and why != self._told:
            log.log(_LEVELS[state], "%s: %s", link.path, why)
            self._say(f"{link.path}: {why}")
        self._told = why


def read(path: str, app: App) -> Link:
    """What the link says now; blocks."""
    try:
        owner = os.lstat(path).st_uid
        os.readlink(path)  # raises for what is there and no link
        target = os.path.realpath(path)
    except OSError as error:
        there = os.path.lexists(path)
        what = "is no symlink" if there else f"cannot be read: {error.strerror}"
        return Link(path, trouble=f"{path} {what}")
    shown = target if target.isprintable() else ascii(target)
    if not os.path.isdir(target):
        trouble = f"{path} leads nowhere: there is no directory {shown}"
        return Link(path, target, trouble=trouble, owner=owner)
    release = release_at(app.directory, target)
    if not release:
        trouble = f"{path} leads to {shown}, which is none of the releases in {app.directory}"
        return Link(path, target, trouble=trouble, owner=owner)
    return Link(path, target, release, owner=owner)


def release_at(template: str, target: str) -> str:
    """The release that is at this real path, as app.directory has it, or at its top; empty: none."""
    parts = template.rstrip("/").split("/")
    first = next(n for n, part in enumerate(parts) if "{release}" in part.replace("{{", ""))
    real = os.path.realpath(fill("/".join(parts[:first]), {}) or "/").rstrip("/")
    pattern, end = re.escape(real), len(parts)
    for number, part in enumerate(parts[first:], first):
        literal = re.escape(fill(part, {"release": "\0"}))
        name = r"(?P<release>(?!\.)[A-Za-z0-9._-]{1,64})" if number == first else r"(?P=release)"
        once = literal.replace(re.escape("\0"), name, 1)
        piece = "/" + once.replace(re.escape("\0"), r"(?P=release)")
        pattern += piece if number == first else f"(?:{piece}"
        end = number
    found = re.fullmatch(pattern + ")?" * (end - first), target)
    return found["release"] if found is not None else ""


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
