"""How values look to a person: durations, times, tables, lines that keep to one line."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

NONE = "–"


def clean(value: object) -> str:
    """Text of others without control characters: it shares our terminal, it does not steer it."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text).strip()


def paragraph(value: object) -> str:
    """The same for text of several lines: they stay, with their indents."""
    return "\n".join(
        "".join(c if c.isprintable() else " " for c in line).rstrip()
        for line in str(value).split("\n")
    ).strip("\n")


def clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `1 min 12 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 0:
        seconds = 0.0
    if seconds < 9.95 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, small, small_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def epoch(value: Any) -> float | None:
    """Seconds since 1970 of a time in an answer (RFC 3339, or a number already); None = unknown."""
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    from datetime import UTC, datetime  # only here: 3 ms that `relctl status` need not pay

    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()


def local(value: Any) -> str:
    """A time of an answer in the reader's own zone, to the second."""
    seconds = epoch(value)
    if seconds is None:
        return NONE
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def took(started: Any, ended: Any) -> str:
    first, last = epoch(started), epoch(ended)
    return NONE if first is None or last is None else duration(last - first)


def way(source: Any, target: Any) -> str:
    """`v1 → v2`; an end that does not exist is nobody's release."""
    return f"{clean(source) if source else 'nothing'} → {clean(target) if target else 'nothing'}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Columns as wide as their widest cell; the last one runs free."""
    cells = [list(head), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def labelled(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Aligned `label  value` lines, also of values with several; without a value: left out."""
    kept = [(label, value) for label, value in pairs if value]
    width = max((len(label) for label, _ in kept), default=0)
    shown = []
    for label, value in kept:
        first, *more = value.split("\n")
        shown.append(f"{label.ljust(width)}  {first}")
        shown += [f"{' ' * width}  {line}" for line in more]
    return shown
