"""Has the config been edited since it was used? Said in `status` before somebody relies on it.

An edit reaches the app with the next rollout only, so until then file and app may differ, and a mistake
in it would be found when a switch is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from reld.config import Config
from reld.core.model import State
from reld.errors import ConfigError
from reld.host.file_watch import Changes, changes
from reld.host.snapshots import Snapshots


class ConfigWatch:
    """`load` reads the config as a rollout would, now; raises ConfigError."""

    def __init__(
        self,
        state: Callable[[], State],
        snapshots: Snapshots,
        load: Callable[[], Config],
        seen: Changes = changes,
    ) -> None:
        self._state = state
        self._snapshots = snapshots
        self._load = load
        self._seen = seen
        self._path = snapshots.config.path
        self._today = self._started = snapshots.config
        self._wrong: tuple[str, ...] = ()
        self._lookers: list[Callable[[], None]] = []

    @property
    def today(self) -> Config:
        """The newest one that has no error."""
        return self._today

    def after_looks(self, looker: Callable[[], None]) -> None:
        """Call it after each look: the file has changed, for better or worse."""
        self._lookers.append(looker)

    async def keep(self) -> None:
        """Until cancelled."""
        await self._look()
        async with aclosing(self._seen(self._path)) as changes_:
            async for _ in changes_:
                await self._look()

    def said(self) -> str:
        """For people, one line; "" = what runs is what the file says."""
        if self._wrong:
            more = f", and {len(self._wrong) - 1} more" if len(self._wrong) > 1 else ""
            return f"has an error, no switch will begin: {self._wrong[0]}{more}"
        said = []
        if restarting := self._needs_restart():
            said.append(
                f"{restarting} changed since reld began: sudo systemctl restart reld@{self._today.name}"
                f" applies it, {self._price()}"
            )
        if self._differs():
            said.append("was changed since: takes effect with the next rollout")
        return "; ".join(said)

    def _price(self) -> str:
        moved = self._today.gate.listen
        if moved == self._started.gate.listen:
            return "and loses no request"
        return f"and requests are lost until the site's proxy_pass says {moved}, too"

    def _needs_restart(self) -> str:
        """The tables that the gate is made of, if they are not as they were when it was made."""
        was, now = self._started, self._today
        tables = {
            "[gate]": was.gate != now.gate,
            "[[route]]": was.route != now.route,
            "[verdict] shield": was.verdict.shield is not now.verdict.shield,
        }
        return ", ".join(name for name, differs in tables.items() if differs)

    def _differs(self) -> bool:
        newest = self._snapshots.config
        if replace(self._today, releases=newest.releases) != newest:  # those hold at once
            return True
        state = self._state()
        live = state.slot(state.live)
        used = self._snapshots.known(live.snapshot) if live is not None else None
        if used is None:
            return False
        today = self._today
        return (used.app, used.readiness, used.liveness) != (
            today.app,
            today.readiness,
            today.liveness,
        )

    async def _look(self) -> None:
        try:
            self._today = await asyncio.to_thread(self._load)
            self._wrong = ()
        except ConfigError as error:
            self._wrong = error.findings
        for looker in self._lookers:
            looker()
