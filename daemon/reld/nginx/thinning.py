"""When there are too many lines, the gate leaves most of the dull ones out (see `request_log`)."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger("reld.sensor")

ON_ABOVE = 10_000
OFF_BELOW = 5_000
"""Requests a second, those included that were left out of the log."""


def wanted(thinning: bool, requests: float) -> bool:
    """`requests`: per second, over a second or more. Far apart, so that it does not flap."""
    return requests > (OFF_BELOW if thinning else ON_ABOVE)


def on(flag: Path) -> None:
    """The next request obeys. Raises OSError."""
    flag.touch(mode=0o644)


def off(flag: Path) -> None:
    """Raises OSError."""
    flag.unlink(missing_ok=True)


def is_on(flag: Path) -> bool:
    return flag.exists()


class Thinner:
    """Counts what is read, and decides once a second. `now` is CLOCK_BOOTTIME."""

    def __init__(self, flag: Path, now: float) -> None:
        self._flag = flag
        self._since = now
        self._requests = 0
        self.thins = is_on(flag)

    def saw(self, requests: int) -> None:
        self._requests += requests

    def decide(self, now: float) -> None:
        """Raises OSError."""
        if now < self._since + 1.0:
            return
        rate = self._requests / (now - self._since)
        self._requests, self._since = 0, now
        if wanted(self.thins, rate) is not self.thins:
            self.thins = not self.thins
            log.info("%.0f requests a second: thinning the log is %s", rate, self.thins)
            (on if self.thins else off)(self._flag)
