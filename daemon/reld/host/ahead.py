"""Looks at everything that a plan tells: what a switch would meet, asked now, and nothing is changed.

Only smoke checks are more than a look: they are requests to the app, so operators alone get them run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reld.api.requests import RolloutRequest
from reld.api.service import Vitals
from reld.config import Config
from reld.core.model import State
from reld.host.instances import Instances
from reld.host.releases import Releases
from reld.host.snapshots import Snapshots
from reld.host.static_files import StaticFiles
from reld.nginx.gate import Gate
from reld.nginx.settings import GateSettings
from reld.store.database import Store

Page = dict[str, Any]
"""The answer to POST /v1/plan, see planning.page."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What it looks at. `todays`: the config as the file says it now; raises ConfigError.

    `settings_of`: what a gate would be told if reld started with that config.
    """

    state: Callable[[], State]
    snapshots: Snapshots
    store: Store
    rate: Callable[[], float | None]
    instances: Instances
    releases: Releases
    files: StaticFiles
    gate: Gate
    todays: Callable[[], Config]
    settings_of: Callable[[Config], GateSettings]


class Ahead:
    """Makes plans. One at a time asks the app."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._asking = asyncio.Lock()

    async def page(
        self,
        request: RolloutRequest,
        vitals: Vitals,
        rehearsal: Mapping[str, Any] | None,
        *,
        operates: bool,
    ) -> Page:
        """Raises BadRequest for options that make no sense together."""
        from reld.host.planner import Planner  # only here: hardly any reld ever plans

        planner = Planner(self._parts, self._asking, vitals, operates=operates)
        return await planner.page(request.release or "", request.options, rehearsal)
