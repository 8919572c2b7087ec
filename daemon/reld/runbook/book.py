"""Looks up what the page is made of, when somebody asks for it."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reld.config import Config
from reld.core.model import State
from reld.errors import ConfigError
from reld.reading import reading


@dataclass(frozen=True, slots=True)
class Book:
    """`used`: the config that rollouts began with last. `todays`: the file's, raises ConfigError.

    `rate`: requests per second lately. `gate_unit`: see runbook.facts.
    """

    state: Callable[[], State]
    used: Callable[[], Config]
    todays: Callable[[], Config]
    rate: Callable[[], float | None]
    state_directory: Path
    socket: Path
    gate_unit: str | None

    async def page(self, rehearsal: Mapping[str, Any] | None) -> str:
        """Markdown. `rehearsal`: as in a status."""
        return await reading(self._page, self.state(), self.rate(), rehearsal)

    def _page(self, state: State, rate: float | None, rehearsal: Mapping[str, Any] | None) -> str:
        # Only here: who never prints it does not carry it about.
        from reld.runbook.facts import Facts
        from reld.runbook.page import page

        wrong = ""
        try:
            config = self.todays()
        except ConfigError as error:
            config, wrong = self.used(), error.findings[0]
        access = config.access
        facts = Facts(
            config=config,
            state=state,
            rate=rate,
            members=_members({*access.operators, *access.viewers, *access.approvers}),
            rehearsal=rehearsal,
            state_directory=str(self.state_directory),
            socket=str(self.socket),
            gate_unit=self.gate_unit,
            wrong=wrong,
        )
        return page(facts)


def _members(names: set[str]) -> dict[str, tuple[str, ...]]:
    """Who is in each of the groups among them, also those who have it as their first one."""
    found = {}
    for name in names:
        if not name.startswith("@"):
            continue
        try:
            group = grp.getgrnam(name[1:])
        except KeyError:
            continue
        first = {user.pw_name for user in pwd.getpwall() if user.pw_gid == group.gr_gid}
        found[name] = tuple(sorted({*group.gr_mem, *first}))
    return found
