"""Gathers what the metrics need from where it is counted and measured."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from reld.api.service import Vitals
from reld.aside import HangsError, aside
from reld.core.model import State
from reld.errors import StoreError
from reld.metrics.facts import Addressee, Answered, Disk, Facts, Feed
from reld.metrics.page import page

PATIENCE = 1.0
"""Seconds that a scrape waits for the store, and for a disk; then it says what the store said last."""


class Scrape:
    """Callables, each for one part of `Facts`; `outcomes` raises StoreError.

    `places`: directories by what is kept there.
    """

    def __init__(
        self,
        state: Callable[[], State],
        vitals: Callable[[], Vitals],
        *,
        answered: Callable[[], tuple[Answered, ...]],
        feed: Callable[[], Feed],
        outcomes: Callable[[], Awaitable[Mapping[tuple[str, str], int]]],
        probes: Callable[[], Mapping[int, float]],
        places: Callable[[], Mapping[str, Path]],
        addressees: Callable[[], tuple[Addressee, ...]],
    ) -> None:
        self._state = state
        self._vitals = vitals
        self._answered = answered
        self._feed = feed
        self._outcomes = outcomes
        self._probes = probes
        self._places = places
        self._addressees = addressees
        self._started = time.time()
        self._ended: Mapping[tuple[str, str], int] = {}

    async def page(self) -> bytes:
        """Never raises for a disk: what is known is told."""
        try:
            async with asyncio.timeout(PATIENCE):
                self._ended = await self._outcomes()
        except (TimeoutError, StoreError):
            pass
        facts = Facts(
            started=self._started,
            answered=self._answered(),
            feed=self._feed(),
            outcomes=self._ended,
            probes=self._probes(),
            disks=tuple(await disks(self._places())),
            addressees=self._addressees(),
        )
        return await asyncio.to_thread(page, self._state(), self._vitals(), facts)


async def disks(places: Mapping[str, Path]) -> list[Disk]:
    """Those that can be asked: a dead NFS takes no thread of anybody else's."""
    found = await asyncio.gather(*(_disk(*place) for place in places.items()))
    return [disk for disk in found if disk is not None]


async def _disk(place: str, path: Path) -> Disk | None:
    try:
        told = await aside(f"the disk of {path}", lambda: os.statvfs(path), PATIENCE)
    except (OSError, HangsError):
        return None
    return Disk(place, told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize)
