"""Gathers what the metrics need from where it is counted and measured."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from reld.api.service import Vitals
from reld.core.model import State
from reld.errors import StoreError
from reld.metrics.facts import Addressee, Answered, Disk, Facts, Feed
from reld.metrics.page import page

PATIENCE = 1.0
"""Seconds that a scrape waits for the store; then it says what the store said last."""


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
            addressees=self._addressees(),
        )
        return await asyncio.to_thread(
            self._page, self._state(), self._vitals(), facts, self._places()
        )

    def _page(
        self, state: State, vitals: Vitals, facts: Facts, places: Mapping[str, Path]
    ) -> bytes:
        return page(state, vitals, replace(facts, disks=tuple(disks(places.items()))))


def disks(places: Iterable[tuple[str, Path]]) -> list[Disk]:
    """Those that can be asked; blocks."""
    found = []
    for name, path in places:
        try:
            told = os.statvfs(path)
        except OSError:
            continue
        found.append(Disk(name, told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize))
    return found
