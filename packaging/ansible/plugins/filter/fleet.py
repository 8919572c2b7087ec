"""The table at the end of a play: what became of each VM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: fleet
short_description: The lines of a table of VMs and what became of them
version_added: "0.1.0"
description:
  - Makes the lines of one table out of what the modules of this collection returned on each VM.
  - Columns are as wide as what stands in them. What is not known is a dash.
positional: _input
options:
  _input:
    description:
      - One dictionary a VM, in the order of the lines, with C(vm), C(release), C(outcome), C(lost) and C(seconds).
      - All but C(vm) may be missing. A VM without C(outcome) was C(not begun).
    type: list
    elements: dict
    required: true
author:
  - relctl authors (@relctl)
"""

EXAMPLES = r"""
- name: Say what became of two
  ansible.builtin.debug:
    msg: "{{ found | relctl.relctl.fleet }}"
  vars:
    found:
      - {vm: web1, release: v2, outcome: done, lost: 0, seconds: 912.4}
      - {vm: web2, release: v1}
"""

RETURN = r"""
_value:
  description: The lines, the first one with the names of the columns.
  type: list
  elements: str
"""

HEAD = ("VM", "RELEASE", "OUTCOME", "LOST", "TIME")
NUMBERS = (3, 4)  # columns that are aligned to the right
NONE = "–"


def fleet(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The lines of the table. Raises AnsibleFilterError where a row is none."""
    if isinstance(rows, str | Mapping) or not isinstance(rows, Iterable):
        raise AnsibleFilterError(
            "cannot make a table: fleet takes a list with a dictionary for each VM"
        )
    table = [HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [_line(cells, widths) for cells in table]


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = [
        cell.rjust(width) if at in NUMBERS else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _cells(row: Any) -> tuple[str, ...]:
    if not isinstance(row, Mapping) or not row.get("vm"):
        raise AnsibleFilterError(
            f"cannot make a table: a line needs at least vm, and {row!r} has none"
        )
    outcome = str(row.get("outcome") or "not begun").replace("_", " ")
    lost = row.get("lost")
    return (
        _plain(row["vm"]),
        _plain(row.get("release") or NONE),
        _plain(outcome),
        NONE if lost is None else f"{int(lost):,}",
        _time(row.get("seconds")),
    )


def _time(seconds: Any) -> str:
    """`9.2 s`, `45 s`, `15 min 12 s`, `2 h 5 min`, as relctl says it."""
    if seconds is None:
        return NONE
    value = max(0.0, float(seconds))
    if value < 9.95 and value != int(value):
        return f"{value:.1f} s"
    whole = round(value)
    for size, unit, small, small_unit in ((3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def _plain(value: Any) -> str:
    """One line, without what would steer a terminal."""
    return "".join(character if character.isprintable() else " " for character in str(value))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Any]:
        return {"fleet": fleet}
