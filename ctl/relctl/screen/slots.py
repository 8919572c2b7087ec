"""Both slots side by side, a row for each thing that is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from relctl.look import Look
from relctl.measured import size
from relctl.screen.pieces import Line, padded
from relctl.text import NONE, clean

LABEL = 11
WIDEST_COLUMN = 34
_BAR = 8
"""Cells for the words beside a bar, such as `100 % `."""

_BESIDE = 19
"""Cells in which restarts fit beside the instances."""

Ranked = tuple[int, Line]
"""What it would be the sooner left out for, the larger the number; and the line."""


def table(status: dict[str, Any], columns: int, look: Look) -> list[Ranked]:
    """Rows that fit into `columns`; a slot that is empty has only its head."""
    wide = min(WIDEST_COLUMN, (columns - LABEL) // 2)
    slots = [(color, slot or {}) for color, slot in _slots(status).items()]
    live = status.get("live")
    head: list[tuple[str, str]] = [(" " * LABEL, "")]
    for color, slot in slots:
        words = look.text(f"{clean(color)}  {clean(slot.get('state') or 'empty')}")
        head.append((padded(words, wide, look), "bold" if color == live else ""))
    rows: list[Ranked] = [(3, tuple(head))]
    for rank, label, cell in _ROWS:
        shown = [cell(slot, wide - 1, look) if slot.get("release") else "" for _, slot in slots]
        if not any(shown):
            continue
        values = "".join(padded(look.text(text), wide, look) for text in shown)
        rows.append((rank, ((padded(label, LABEL, look), "dim"), (values, ""))))
    return rows


def milliseconds(value: Any) -> str:
    if not isinstance(value, int | float):
        return NONE
    return f"{value:.0f}" if value >= 9.95 or value == 0 else f"{value:.1f}"


def _slots(status: dict[str, Any]) -> dict[str, Any]:
    found = status.get("slots")
    return found if isinstance(found, dict) else {}


def _release(slot: dict[str, Any], _: int, __: Look) -> str:
    return clean(slot.get("release") or "")


def _share(slot: dict[str, Any], wide: int, look: Look) -> str:
    percent = slot.get("percent")
    if percent is None:
        return NONE
    words = f"{percent} %"
    if wide < 2 * _BAR:
        return words
    return f"{words:<6} {look.bar(percent / 100, min(20, wide - _BAR))}"


def _rate(slot: dict[str, Any], _: int, __: Look) -> str:
    rate = _part(slot, "traffic").get("rate")
    if rate is None:
        return NONE
    return f"{rate:.0f}" if rate >= 99.95 else f"{rate:.1f}"


def _errors(slot: dict[str, Any], _: int, __: Look) -> str:
    errors = _part(slot, "traffic").get("errors")
    if errors is None:
        return NONE
    percent = errors * 100
    return f"{percent:.0f} %" if percent >= 9.95 or percent == 0 else f"{percent:.2f} %"


def _times(slot: dict[str, Any], wide: int, _: Look) -> str:
    traffic = _part(slot, "traffic")
    found = [traffic.get(name) for name in ("p50", "p95", "p99")]
    if all(value is None for value in found):
        return NONE
    said = "/".join(milliseconds(value) for value in found)
    spaced = said.replace("/", " / ") + " ms"
    return spaced if len(spaced) <= wide else said


def _ready(slot: dict[str, Any], wide: int, _: Look) -> str:
    instances = _instances(slot)
    if not instances:
        return NONE
    parked = sum(instance.get("state") == "parked" for instance in instances)
    ready = sum(instance.get("state") == "ready" for instance in instances)
    said = f"{ready} of {len(instances) - parked}" + (f", {parked} parked" if parked else "")
    restarts = _restarted(slot)
    if wide < _BESIDE or restarts == NONE:
        return said
    return f"{said}, {restarts} restart{'' if restarts == '1' else 's'}"


def _restarts(slot: dict[str, Any], wide: int, _: Look) -> str:
    return _restarted(slot) if wide < _BESIDE else ""


def _restarted(slot: dict[str, Any]) -> str:
    counted = [instance.get("restarts") for instance in _instances(slot)]
    known = [int(count) for count in counted if isinstance(count, int)]
    return str(sum(known)) if known else NONE


def _memory(slot: dict[str, Any], wide: int, _: Look) -> str:
    resources = _part(slot, "resources")
    cpu, used = resources.get("cpu_percent"), size(resources.get("rss_bytes"))
    beside = f"{used}, {cpu:.0f} % CPU" if isinstance(cpu, int | float) else used
    return beside if len(beside) <= wide else used


def _instances(slot: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in slot.get("instances") or [] if isinstance(one, dict)]


def _part(slot: dict[str, Any], name: str) -> dict[str, Any]:
    part = slot.get(name)
    return part if isinstance(part, dict) else {}


_ROWS: tuple[tuple[int, str, Callable[[dict[str, Any], int, Look], str]], ...] = (
    (4, "release", _release),
    (4, "share", _share),
    (6, "req/s", _rate),
    (5, "errors", _errors),
    (6, "p50/95/99", _times),
    (8, "ready", _ready),
    (9, "restarts", _restarts),
    (10, "memory", _memory),
)
