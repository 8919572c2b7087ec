"""Markdown out of lists; durations as people say them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_UNITS = ((86400.0, "d", 3600.0, "h"), (3600.0, "h", 60.0, "min"), (60.0, "min", 1.0, "s"))


def span(seconds: float) -> str:
    """`0.5 s`, `30 s`, `1 min 30 s`, `2 h`."""
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = float(round(seconds))
    for size, unit, small, small_unit in _UNITS:
        if whole >= size:
            rest = int(whole % size // small)
            return f"{int(whole // size)} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole:.0f} s"


def code(text: str) -> str:
    return f"`{text}`"


def typed(*commands: str) -> list[str]:
    """Commands to be copied as they are."""
    return ["```sh", *commands, "```", ""]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    if not cells:
        return []
    return [_row(head), _row(["---"] * len(head)), *map(_row, cells), ""]


def bullets(*items: str) -> list[str]:
    """Without those that say nothing."""
    return [*(f"- {item}" for item in items if item), ""]


def plain(text: str) -> str:
    """A value of the config, inside code: it cannot end it."""
    return text.replace("`", "'").replace("\n", " ")


def joined(names: Sequence[str], last: str = "and") -> str:
    """`anna, ben and eva`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
