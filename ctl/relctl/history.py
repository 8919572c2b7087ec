"""The table of the rollouts so far: as it is for a program, and fitted to a terminal for a person."""

from __future__ import annotations

import time
from typing import Any

from relctl.look import Look
from relctl.receipt import turned_away
from relctl.text import NONE, clean, duration, epoch, local, table, took, way

_HEAD = ("ID", "KIND", "FROM → TO", "OUTCOME", "STARTED", "TOOK", "BY", "REASON")
_LEAST = 40
"""Columns that a reason gets beside the others; with less it has a line of its own."""
_INDENT = 4
_GAP = 2


def plain(rollouts: list[dict[str, Any]]) -> list[str]:
    """All of everything, however wide."""
    return table(_HEAD, [_cells(rollout, brief=False) for rollout in rollouts])


def fitted(rollouts: list[dict[str, Any]], width: int, look: Look) -> list[str]:
    """Lines of at most `width` characters: shorter times first, then reasons that are cut."""
    for brief in (False, True):
        rows = [[look.text(clean(cell)) for cell in _cells(one, brief=brief)] for one in rollouts]
        heads = [look.text(name) for name in _HEAD]
        columns = list(zip(heads, *rows, strict=True))[:-1]
        room = width - sum(max(map(len, column)) + _GAP for column in columns)
        if room >= min(_LEAST, max(len(row[-1]) for row in rows)):
            return [_cut(line, width, look) for line in table(heads, rows)]
    lines = table(heads[:-1], [row[:-1] for row in rows])
    shown = [_cut(lines[0], width, look)]
    for line, row in zip(lines[1:], rows, strict=True):
        shown.append(_cut(line, width, look))
        if row[-1]:
            shown.append(_cut(" " * _INDENT + row[-1], width, look))
    return shown


def _cells(rollout: dict[str, Any], *, brief: bool) -> tuple[str, ...]:
    started, ended = rollout.get("started"), rollout.get("ended")
    return (
        str(rollout.get("id")),
        rollout.get("kind") or NONE,
        way(rollout.get("from"), rollout.get("to")),
        (rollout.get("outcome") or "running").replace("_", " "),
        _day(started) if brief else local(started),
        _about(started, ended) if brief else took(started, ended),
        rollout.get("actor") or NONE,
        _why(rollout),
    )


def _why(rollout: dict[str, Any]) -> str:
    reason = str(rollout.get("reason") or "").partition("\n")[0]
    return "; ".join(part for part in (reason, turned_away(rollout)) if part)


def _day(value: Any) -> str:
    seconds = epoch(value)
    return NONE if seconds is None else time.strftime("%m-%d %H:%M", time.localtime(seconds))


def _about(started: Any, ended: Any) -> str:
    """The larger one of its two units."""
    first, last = epoch(started), epoch(ended)
    if first is None or last is None:
        return NONE
    return " ".join(duration(last - first).split(" ")[:2])


def _cut(line: str, width: int, look: Look) -> str:
    if len(line) <= width:
        return line
    more = look.text("…")
    return line[: max(0, width - len(more))].rstrip() + more
