"""What the doctor wants to know of the machine. All of it may block."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from reld.clock import offset
from reld.doctor.facts import Room
from reld.processes import pid1, resources

PATIENCE = 2.0


def rooms(places: Iterable[tuple[str, str]]) -> tuple[Room, ...]:
    """One per file system, of (what, path); what is not there is left out."""
    found: dict[int, Room] = {}
    for what, path in places:
        with suppress(OSError):
            device = os.stat(path).st_dev
            told = os.statvfs(path)
            inodes = told.f_favail / told.f_files if told.f_files else None
            room = Room(
                what, path, told.f_bavail * told.f_frsize, told.f_blocks * told.f_frsize, inodes
            )
            known = found.get(device)
            if known is not None:
                room = Room(f"{known.what} and {what}", known.path, room.free, room.size, inodes)
            found[device] = room
    return tuple(found.values())


def synced() -> bool | None:
    """Whether NTP keeps the clock; None: nobody here says."""
    if shutil.which("timedatectl") is None or not booted():
        return None
    said = pid1.run(["timedatectl", "show", "--property=NTPSynchronized", "--value"], PATIENCE)
    return {"yes": True, "no": False}.get(said.stdout.strip())


def moved(before: float) -> float:
    """Seconds that somebody moved the wall clock by since `offset()` was `before`."""
    return offset() - before


def descriptors() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] & 0x7FFFFFFF


def machine_files() -> float | None:
    with suppress(OSError, ValueError, IndexError):
        used, _, most = Path("/proc/sys/fs/file-nr").read_text().split()[:3]
        return int(used) / int(most)
    return None


def memory_available() -> int:
    return resources.memory_available()


def booted() -> bool:
    """As sd_booted(3) tells it."""
    return Path("/run/systemd/system").is_dir()


def enabled(unit: str) -> str:
    """What systemd says of the unit at boot; "" = it does not know it."""
    said = pid1.run(["systemctl", "is-enabled", unit], PATIENCE).stdout.strip()
    return said if said not in ("", "not-found") else ""


def nginx_version(binary: Path) -> str:
    """As in 1.22.1; empty: it cannot be run."""
    said = pid1.run([str(binary), "-v"], PATIENCE).stderr
    return said.partition("nginx/")[2].split()[0] if "nginx/" in said else ""
