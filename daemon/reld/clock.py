"""The clocks: CLOCK_BOOTTIME for every decision, the wall clock for people only."""

from __future__ import annotations

import time


def boottime() -> float:
    """Seconds since boot, suspended time included; nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def offset() -> float:
    """What makes wall-clock time (seconds since 1970) of a `boottime()`, as the clock is set now."""
    return time.time() - boottime()
