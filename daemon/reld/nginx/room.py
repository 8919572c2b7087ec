"""Room for a reload: without descriptors to spare it ends with exit status 0 and no worker at all."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

from reld.nginx import command, master, owner
from reld.nginx.settings import GateSettings

_SPARE = 10
_LIMITS = re.compile(r"^Max open files\s+(\d+)\s+(\d+)", re.MULTILINE)


def make(settings: GateSettings, found: master.Process) -> str:
    """Sees to it that a reload finds descriptors in the master; "" or why it would not."""
    try:
        used = len(os.listdir(f"/proc/{found.pid}/fd"))
        soft, hard = _limits(found.pid)
    except (OSError, ValueError) as error:
        return f"cannot see the gate's descriptors: {error}"
    need = used + 2 * (settings.workers + len(master.workers(found))) + 2 + _SPARE
    if need < soft or _raised(settings, found, max(2 * need, 1024), need, hard):
        return ""
    return (
        f"the gate's master has {used} of {soft} descriptors open, a reload needs {need} "
        f"and would leave no worker: prlimit --pid {found.pid} --nofile={max(2 * need, 1024)}"
    )


def _raised(
    settings: GateSettings, found: master.Process, wanted: int, need: int, hard: int
) -> bool:
    if need < hard:
        # Up to the hard limit its own user may.
        to = f"--nofile={min(wanted, hard)}:{hard}"
        argv = ["prlimit", "--pid", str(found.pid), to]
        return command.run(argv, owner.of(settings.user))[0] == 0
    try:  # above it takes CAP_SYS_RESOURCE
        resource.prlimit(found.pid, resource.RLIMIT_NOFILE, (wanted, wanted))
    except (OSError, ValueError):
        return False
    return True


def _limits(pid: int) -> tuple[int, int]:
    """prlimit(2) tells it only to the same user, or with CAP_SYS_RESOURCE."""
    found = _LIMITS.search(Path(f"/proc/{pid}/limits").read_text())
    if found is None:
        raise ValueError("no limit of open files")
    return int(found.group(1)), int(found.group(2))
