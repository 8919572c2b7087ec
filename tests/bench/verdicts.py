"""One measured number against its target, and how a person reads it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HEAD = ("what", "measured", "target", "")
NOISY = "MISS (timings are noisy on a shared machine: run it again alone)"


@dataclass(frozen=True, slots=True)
class Line:
    """`met` None: for comparison only. `binding`: a miss is a bug, however busy the machine is."""

    what: str
    measured: str
    target: str = ""
    met: bool | None = None
    binding: bool = False

    @property
    def verdict(self) -> str:
        if self.met is None:
            return ""
        if self.met:
            return "OK"
        return "MISS" if self.binding else NOISY

    @property
    def broken(self) -> bool:
        return self.binding and self.met is False


def table(lines: Iterable[Line]) -> str:
    rows = [HEAD, *((line.what, line.measured, line.target, line.verdict) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(row[column].ljust(widths[column]) for column in range(3)), row[3]]).rstrip()
        for row in rows
    )


def percentile(values: Iterable[float], percent: float) -> float:
    """NaN without any."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
