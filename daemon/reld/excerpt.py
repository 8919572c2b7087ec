"""The end of a log for people: each line once, and JSON as the words that are in it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

_SAYS = ("message", "msg", "error", "err", "event")
_HOW_BAD = ("level", "severity", "lvl")
_KNOWN = ("time", "timestamp", "ts", "@timestamp", "pid", "hostname", "host", "v")
"""What every line of a log in JSON has, and nobody needs who asks why it died."""


def excerpt(lines: Iterable[str]) -> list[str]:
    """In the order in which they came first; what came more often has a count before it: `3 × text`."""
    counts: dict[str, int] = {}
    for line in lines:
        told = words(line)
        counts[told] = counts.get(told, 0) + 1
    return [line if count == 1 else f"{count} × {line}" for line, count in counts.items()]


def words(line: str) -> str:
    """A line that is a JSON object or text without its quotes and braces; every other one as it is."""
    if line[:1] not in ("{", '"'):
        return line
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if isinstance(value, str):
        return _printable(value) or line
    return _printable(_entry(value)) or line if isinstance(value, dict) else line


def _entry(entry: Mapping[str, Any]) -> str:
    """`level: message (other keys)`, of an object that is no log line all of its keys."""
    says = next((key for key in _SAYS if isinstance(entry.get(key), str) and entry[key]), "")
    if not says:
        return _pairs(entry)
    bad = next((key for key in _HOW_BAD if isinstance(entry.get(key), str)), "")
    left = {k: v for k, v in entry.items() if k not in (says, bad, *_HOW_BAD, *_KNOWN)}
    level = f"{str(entry[bad]).lower()}: " if bad else ""
    more = _pairs(left)
    return f"{level}{entry[says]}" + (f" ({more})" if more else "")


def _pairs(entry: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}: {_shown(value)}" for key, value in entry.items())


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"({_pairs(value)})"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return value if isinstance(value, str) else json.dumps(value)


def _printable(text: str) -> str:
    """What was escaped in JSON may be a line end, or worse: it is one line here."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
