"""Starting a gate whose master was killed, without refusing anybody.

The workers of a killed nginx master live on and hold its listening sockets. Those are copied with
pidfd_getfd(2) and given to the new master in the way that nginx's own binary upgrade does it: numbers
in the environment variable NGINX.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reld.nginx import command, connections, master, owner
from reld.nginx.master import Process, Worker

_PIDFD_GETFD = 438  # the same number on every architecture
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Taken:
    """Our copies of the orphans' listening sockets, and the orphans."""

    sockets: tuple[int, ...] = ()
    orphans: tuple[Worker, ...] = ()


@contextlib.contextmanager
def take(addresses: Iterable[str], gate: owner.Owner) -> Iterator[Taken]:
    """Copies the listening sockets of orphaned nginx workers, for as long as the block runs."""
    sockets: list[int] = []
    found: dict[int, Worker] = {}
    try:
        for inode, orphans in _held(addresses, gate):
            found.update((orphan.pid, orphan) for orphan in orphans)
            copy = next((c for o in orphans if (c := _copy(o.pid, inode)) >= 0), -1)
            if copy >= 0:
                sockets.append(copy)
        yield Taken(tuple(sockets), tuple(found.values()))
    finally:
        for number in sockets:
            os.close(number)


def orphans(addresses: Iterable[str], gate: owner.Owner) -> tuple[Worker, ...]:
    """Workers that serve these addresses, and whose master was killed."""
    found = {orphan.pid: orphan for _, held in _held(addresses, gate) for orphan in held}
    return tuple(found.values())


def strays(gate: owner.Owner, found: Process) -> tuple[Worker, ...]:
    """Workers of earlier masters of the unit that this master is of: they hold no listener any more,
    but their last connections.
    """
    group = _cgroup(found.pid)
    pids = (int(name) for name in os.listdir("/proc") if name.isdecimal())
    of_unit = (pid for pid in pids if owner.has(gate, pid) and group and _cgroup(pid) == group)
    return tuple(worker for pid in of_unit if (worker := _orphan(pid, gate)) is not None)


def start(argv: Sequence[str], sockets: Sequence[int], gate: owner.Owner) -> tuple[int, str]:
    """Starts a master on sockets that are open already; it does not daemonise then by itself."""
    inherited = "".join(f"{number};" for number in sockets)
    # The shell goes at once, so that the master is nobody's child of ours.
    try:
        result = subprocess.run(
            ["/bin/sh", "-c", '"$@" >/dev/null 2>&1 &', "sh", *argv],
            stdin=subprocess.DEVNULL,
            env={**command.ENVIRONMENT, "NGINX": inherited},
            cwd="/",
            pass_fds=sockets,
            start_new_session=True,
            restore_signals=False,
            timeout=command.PATIENCE,
            check=False,
            **command.credentials(gate),
        )
    except (OSError, subprocess.SubprocessError) as error:
        return 127, f"cannot run {argv[0]}: {error}"
    return result.returncode, ""


def _held(addresses: Iterable[str], gate: owner.Owner) -> Iterator[tuple[int, tuple[Worker, ...]]]:
    """Inodes of listening sockets, and the orphans that have them open."""
    for address in addresses:
        for listener in connections.listeners(address):
            pids = connections.holders([listener.inode])
            found = tuple(o for pid in pids if (o := _orphan(pid, gate)) is not None)
            if found:
                yield listener.inode, found


def _orphan(pid: int, gate: owner.Owner) -> Worker | None:
    ticks = master.start_ticks(pid)
    above = master.parent(pid)
    if ticks is None or above is None or not owner.has(gate, pid):
        return None
    if not master.command_line(pid).startswith("nginx: worker process"):
        return None
    if master.command_line(above).startswith("nginx: master"):
        return None
    return Worker(pid, ticks, leaving=True)


def _cgroup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""


def _copy(pid: int, inode: int) -> int:
    with contextlib.suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            for number in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{number}") == f"socket:[{inode}]":
                    return int(_libc.syscall(_PIDFD_GETFD, handle, int(number), 0))
        finally:
            os.close(handle)
    return -1
