"""What was mirrored to a release before any user saw it, in one line."""

from __future__ import annotations

from relctl.text import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def line(shadow: Any) -> str:
    """Of a "shadow" of a status or of a receipt; empty = there is none."""
    if not isinstance(shadow, dict):
        return ""
    total, failures = int(shadow.get("total") or 0), int(shadow.get("failures") or 0)
    share = f"{float(shadow.get('share') or 0) * 100:g} % of the GETs"
    parts = [f"{share} mirrored: {total} cop{'y' if total == 1 else 'ies'}"]
    parts.append(f"{failures or 'none'} failed" if total else "")
    slow, live = shadow.get("p95"), shadow.get("live_p95")
    if slow is not None and live is not None:
        parts.append(f"95 % within {_span(float(slow))} (live {_span(float(live))})")
    said = ", ".join(part for part in parts if part)
    return f"{said}; {clean(shadow['reason'])}" if shadow.get("reason") else said


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{max(1, round(seconds * 1000))} ms"
