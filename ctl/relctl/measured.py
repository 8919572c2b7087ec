"""What reld measures of the slots: a row each, and a line for what does not fit into it."""

from __future__ import annotations

from relctl.text import NONE, clean, labelled, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEAD = ("SLOT", "REQ/S", "FAILED", "P50", "P95", "P99", "MEMORY", "PER MIN", "CPU", "FILES")
MANY = 4  # peers that are named; the rest is counted


def lines(slots: dict[str, Any]) -> list[str]:
    """Empty where nothing is known."""
    rows, more = [], []
    for color, found in slots.items():
        traffic, resources = _part(found, "traffic"), _part(found, "resources")
        values = (*traffic.values(), *resources.values())
        if all(value is None for value in values):
            continue
        rows.append((color, *_traffic(traffic), *_resources(resources)))
        more += [
            (f"{clean(color)} peers", _peers(_part(resources, "peers"))),
            (f"{clean(color)} warning", clean(resources.get("warning") or "")),
        ]
    return [*table(HEAD, rows), *labelled(more)] if rows else []


def _traffic(traffic: dict[str, Any]) -> tuple[str, ...]:
    rate, errors = traffic.get("rate"), traffic.get("errors")
    times = [_milliseconds(traffic.get(name)) for name in ("p50", "p95", "p99")]
    shown = NONE if rate is None else f"{rate:.3g}" if rate < 100 else f"{rate:.0f}"
    return (shown, NONE if errors is None else _percent(errors * 100), *times)


def _resources(resources: dict[str, Any]) -> tuple[str, ...]:
    cpu, trend = resources.get("cpu_percent"), resources.get("trend_bytes_per_minute")
    return (
        size(resources.get("rss_bytes")),
        NONE if trend is None else f"{'+' if trend > 0 else ''}{size(trend)}",
        NONE if cpu is None else f"{cpu:.0f} %",
        NONE if resources.get("open_files") is None else str(resources["open_files"]),
    )


def _peers(peers: dict[str, Any]) -> str:
    most = sorted(peers.items(), key=lambda item: -int(item[1]))
    named = [f"{clean(address)} × {int(count)}" for address, count in most[:MANY]]
    if len(most) > MANY:
        named.append(f"{len(most) - MANY} more")
    return ", ".join(named)


def _percent(value: float) -> str:
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.2g} %"


def _milliseconds(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value / 1000:.1f} s" if value >= 9999.5 else f"{value:.0f} ms"


def size(value: float | None) -> str:
    """`812 kB`, `1.4 GB`: powers of 1000, as the disk and the network are told in."""
    if value is None:
        return NONE
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= 0.9995 * bytes_:
            scaled = value / bytes_
            return f"{scaled:.1f} {unit}" if abs(scaled) < 9.95 else f"{scaled:.0f} {unit}"
    return f"{value:.0f} B"


def _part(found: Any, name: str) -> dict[str, Any]:
    part = found.get(name) if isinstance(found, dict) else None
    return part if isinstance(part, dict) else {}
