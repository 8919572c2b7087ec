"""Which unit of systemd a process belongs to, and who else does: see cgroups(7), version 2."""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path


def unit_of(pid: int) -> str:
    """Such as "web.service"; "" for a process that is in none, or is gone."""
    name = Path(_path(pid)).name
    return name if name.endswith(".service") else ""


def group_of(pid: int) -> Path | None:
    """The directory of the process's own service; None: it has none."""
    root = _mounted()
    return root / _path(pid).lstrip("/") if root is not None and unit_of(pid) else None


def pids(group: Path) -> frozenset[int]:
    """All processes of a group and of those below it; empty when it is gone."""
    found: set[int] = set()
    for place, _, _ in os.walk(group):  # which passes over what vanishes meanwhile
        with contextlib.suppress(OSError):
            found.update(map(int, Path(place, "cgroup.procs").read_text().split()))
    return frozenset(found)


def _path(pid: int) -> str:
    with contextlib.suppress(OSError):
        return _systemd_s(Path(f"/proc/{pid}/cgroup").read_text())
    return ""


def _systemd_s(memberships: str) -> str:
    """Version 2, or, on a machine with version 1 alone, systemd's own hierarchy."""
    found = {}
    for line in memberships.splitlines():
        _, name, path = line.split(":", 2)
        found[name] = path
    version_2 = found.get("", "/")
    return version_2 if version_2 != "/" else found.get("name=systemd", version_2)


@functools.cache
def _mounted() -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None
