"""When there are too many lines, the gate leaves most of the dull ones out (see `request_log`)."""

from __future__ import annotations

from pathlib import Path

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
