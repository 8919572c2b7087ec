"""What is measured of a slot, as the "traffic" and "resources" of a status. Pure."""

from __future__ import annotations

from typing import Any

from reld.api.service import SlotVitals


def measured(vitals: SlotVitals) -> dict[str, dict[str, Any]]:
    """Units as in SlotVitals; None: not known."""
    return {
        "traffic": {
            "rate": _rounded(vitals.rate, 3),
            "errors": _rounded(vitals.errors, 6),
            "p50": _rounded(vitals.p50, 1),
            "p95": _rounded(vitals.p95, 1),
            "p99": _rounded(vitals.p99, 1),
        },
        "resources": {
            "rss_bytes": vitals.rss_bytes,
            "cpu_percent": _rounded(vitals.cpu_percent, 1),
            "open_files": vitals.open_files,
            "processes": vitals.processes,
            "peers": None if vitals.peers is None else dict(vitals.peers),
            "trend_bytes_per_minute": _rounded(vitals.trend_bytes_per_minute, 0),
            "warning": vitals.warning or None,
        },
    }


def _rounded(value: float | None, places: int) -> float | None:
    return None if value is None else round(value, places)
