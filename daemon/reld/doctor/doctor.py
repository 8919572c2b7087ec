"""Answers `GET /v1/check`. Everything that it needs is imported when somebody asks for the first time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reld.api.service import SlotVitals
from reld.config import Config
from reld.core.model import Identity, Slot, State
from reld.host.snapshots import Snapshots
from reld.nginx.settings import GateSettings


@dataclass(frozen=True, slots=True)
class Means:
    """What the doctor asks.

    `todays`: the config as a rollout would read it now; raises ConfigError. `news`: see ConfigWatch.
    `slowest`: the slowest request lately (seconds). `history`, `receipt`: as in the API. `started`: what
    `clock.offset()` was when reld started.
    """

    state: Callable[[], State]
    snapshots: Snapshots
    todays: Callable[[], Config]
    news: Callable[[], str]
    damage: Callable[[], str]
    gate: GateSettings
    socket: str
    vitals: Callable[[], Mapping[str, SlotVitals]]
    rate: Callable[[], float | None]
    slowest: Callable[[], float | None]
    members: Callable[[Slot], frozenset[Identity]]
    history: Callable[[int], Awaitable[list[dict[str, Any]]]]
    receipt: Callable[[int], Awaitable[dict[str, Any] | None]]
    systemd: bool
    started: float


class Doctor:
    """Who asks while it looks gets the same answer: ten people who ask are one look."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._looking: asyncio.Task[dict[str, Any]] | None = None

    async def check(self) -> dict[str, Any]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> dict[str, Any]:
        from reld.doctor.examine import examine

        found = await examine(self._means)
        return {"app": self._means.state().app, "findings": [one.shown() for one in found]}
