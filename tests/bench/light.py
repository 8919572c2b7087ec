"""What reld costs while nothing happens, and what `relctl status` costs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.verdicts import Line
from tests.rig import Rig, environment

TIMES = 20
IDLE = 30.0
STATUS_RATIO = 5.0
MOST_MEGABYTES = 50.0
MOST_CPU = 0.5  # per cent of a core


def measure() -> tuple[Line, ...]:
    with Rig(instances=2) as rig:
        rig.release("v1")
        assert rig.relctl("switch", "v1").code == 0, rig.reld_log()
        return (*idle(rig), status(rig))


def idle(rig: Rig) -> tuple[Line, Line]:
    assert rig.reld is not None
    pid = rig.reld.pid
    time.sleep(2.0)
    before = cpu(pid)
    time.sleep(IDLE)
    used = 100 * (cpu(pid) - before) / IDLE
    megabytes = rss(pid)
    return (
        Line(
            "reld idle, one app of 2 instances: memory",
            f"{megabytes:.1f} MB",
            f"≤ {MOST_MEGABYTES:.0f} MB",
            met=megabytes <= MOST_MEGABYTES,
        ),
        Line(
            f"… CPU over {IDLE:.0f} s",
            f"{used:.2f} % of a core",
            f"≤ {MOST_CPU} %",
            met=used <= MOST_CPU,
        ),
    )


def cpu(pid: int) -> float:
    """Seconds that it ran, in user and kernel mode, to the nanosecond (schedstat, not ticks)."""
    return sum(
        int(Path(task, "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    )


def rss(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def status(rig: Rig) -> Line:
    """The same interpreter, taking turns."""
    around = environment() | {"RELCTL_SOCKET": str(rig.socket)}
    commands = {
        "relctl": [sys.executable, "-m", "relctl", "status"],
        "pass": [sys.executable, "-c", "pass"],
    }
    took: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(TIMES):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, env=around, stdout=subprocess.DEVNULL, check=True)
            took[name].append(time.perf_counter() - began)
    ours, bare = (statistics.median(took[name]) for name in ("relctl", "pass"))
    return Line(
        f"`relctl status` ÷ `python3 -c pass` ({ours * 1000:.0f} ms, {bare * 1000:.0f} ms, "
        f"median of {TIMES})",
        f"{ours / bare:.1f}",
        f"≤ {STATUS_RATIO:.0f}",
        met=ours / bare <= STATUS_RATIO,
    )
