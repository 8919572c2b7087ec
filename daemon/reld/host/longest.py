"""How long the longest request took, by the lines of the request log."""

from __future__ import annotations

from collections.abc import Iterable

_FIELDS = 9
_PLAIN = 8


def longest(lines: Iterable[str]) -> float:
    """Seconds, of those that an app answered; long connections (websockets, event streams) are none."""
    most = 0.0
    for line in lines:
        fields = line.split("|", _FIELDS)
        if len(fields) > _PLAIN and fields[_PLAIN] == "plain" and ":" in fields[4]:
            most = max(most, _seconds(fields[1]))
    return most


def _seconds(text: str) -> float:
    whole, dot, part = text.partition(".")
    sensible = dot and whole.isascii() and part.isascii() and (whole + part).isdecimal()
    return float(text) if sensible and len(text) <= 12 else 0.0
