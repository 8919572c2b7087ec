"""Looks now and then for trouble that no state shows: a silent log, a disk that gets full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from reld.alerts import Alert, Raised
from reld.metrics.facts import Disk
from reld.metrics.scrape import disks

EVERY = 10.0
"""Seconds."""
_FULL_PART = 0.05
_FULL_BYTES = 2 << 30
_AGAIN = 1.2
"""Free again is a fifth more than nearly full: nobody is told twice a minute."""


def nearly_full(disk: Disk) -> bool:
    """Less than a twentieth is free, and less than 2 GiB."""
    return disk.free < _limit(disk)


def _limit(disk: Disk) -> float:
    return min(disk.size * _FULL_PART, _FULL_BYTES)


class Rounds:
    """`silent`: why nothing can be judged, "" = the log arrives. `places`: see `Scrape`."""

    def __init__(
        self,
        silent: Callable[[], str],
        places: Callable[[], Mapping[str, Path]],
        alarm: Callable[[Raised], None],
    ) -> None:
        self._silent = silent
        self._places = places
        self._alarm = alarm
        self._was_silent = False
        self._full: set[str] = set()

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            self.look(self._silent(), await disks(self._places()))
            await asyncio.sleep(EVERY)

    def look(self, silent: str, found: list[Disk]) -> None:
        if silent and not self._was_silent:
            self._alarm(Raised(Alert.FEED_DEAD, silent))
        elif self._was_silent and not silent:
            self._alarm(Raised(Alert.FEED_BACK, "the gate's request log arrives again"))
        self._was_silent = bool(silent)
        for disk in found:
            if disk.place not in self._full and nearly_full(disk):
                self._full.add(disk.place)
                left = f"{disk.free >> 20} MiB of {disk.size >> 20} MiB are left"
                told = f"the disk of the {disk.place} is nearly full: {left}"
                self._alarm(Raised(Alert.DISK_FULL, told))
            elif disk.place in self._full and disk.free > _limit(disk) * _AGAIN:
                self._full.discard(disk.place)
                told = f"the disk of the {disk.place} has room again: {disk.free >> 20} MiB"
                self._alarm(Raised(Alert.DISK_FREE, told))
