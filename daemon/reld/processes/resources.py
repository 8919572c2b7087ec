"""What a tree of processes uses, and what is left for a second copy. Never used to decide identity."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from reld.core.model import Identity
from reld.processes.identity import alive


@dataclass(frozen=True, slots=True)
class Usage:
    """Sums over a tree. Memory pages that processes share are counted in each of them."""

    processes: int = 0
    rss_bytes: int = 0
    cpu_seconds: float = 0.0
    open_files: int = 0


def usage(members: Iterable[Identity]) -> Usage:
    """What these processes use now; those that are gone, or that we may not look at, count nothing."""
    processes, rss, cpu, files = 0, 0, 0.0, 0
    for member in members:
        if not alive(member):
            continue
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(member.pid)
            with process.oneshot():
                times = process.cpu_times()
                rss += process.memory_info().rss
                cpu += times.user + times.system
                processes += 1
            files += process.num_fds()
    return Usage(processes, rss, cpu, files)


def memory_available() -> int:
    """Bytes that can be given to new processes without swapping."""
    return int(psutil.virtual_memory().available)
