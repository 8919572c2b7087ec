"""What the doctor says: one finding, and what to type where it is not fine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Area(StrEnum):
    """In the order in which people read them."""

    HOST = "host"
    RELD = "reld"
    NGINX = "nginx"
    CONFIG = "config"
    PERMISSIONS = "permissions"
    APP = "app"


@dataclass(frozen=True, slots=True)
class Finding:
    """`mend`: the command, or the line of the config; empty where all is fine."""

    area: Area
    level: Level
    text: str
    mend: str = ""

    def shown(self) -> dict[str, Any]:
        return {
            "area": str(self.area),
            "level": str(self.level),
            "text": self.text,
            "mend": self.mend,
        }


@dataclass(frozen=True, slots=True)
class Desk:
    """Writes the findings of one area."""

    area: Area

    def ok(self, text: str) -> Finding:
        return Finding(self.area, Level.OK, text)

    def warning(self, text: str, mend: str) -> Finding:
        return Finding(self.area, Level.WARNING, text, mend)

    def error(self, text: str, mend: str) -> Finding:
        return Finding(self.area, Level.ERROR, text, mend)


def by_area(findings: Iterable[Finding]) -> list[Finding]:
    order = list(Area)
    return sorted(findings, key=lambda finding: order.index(finding.area))


def size(number: float) -> str:
    """Bytes for people: "512 MiB", "1.4 GiB"."""
    mib = number / (1 << 20)
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.0f} MiB"


def span(seconds: float) -> str:
    """A duration for people: "0.4 ms", "40 ms", "12 s", "1 min 5 s"."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{round(seconds, 1):g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min" + (f" {rest} s" if rest else "")


def toml_span(seconds: float) -> str:
    """A duration as the config says it, in whole seconds at least as long."""
    whole = max(1, -int(-seconds // 1))
    return f"{whole // 60}m" if whole % 60 == 0 else f"{whole}s"
