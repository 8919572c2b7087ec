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
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reld.errors import GateError
from reld.nginx import connections

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_PIDFD_GETFD = 438  # the same number on every architecture
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Taken:
    """Our copies of the orphans' listening sockets, and the orphans."""

    sockets: tuple[int, ...] = ()
    workers: tuple[int, ...] = ()


@contextlib.contextmanager
def take(addresses: Iterable[str]) -> Iterator[Taken]:
    """Copies the listening sockets of orphaned nginx workers, for as long as the block runs."""
    sockets: list[int] = []
    orphans: set[int] = set()
    try:
        for address in addresses:
            for listener in connections.listeners(address):
                pids = [p for p in connections.holders([listener.inode]) if _orphan(p)]
                orphans.update(pids)
                copy = next((c for p in pids if (c := _copy(p, listener.inode)) >= 0), -1)
                if copy >= 0:
                    sockets.append(copy)
        yield Taken(tuple(sockets), tuple(sorted(orphans)))
    finally:
        for number in sockets:
            os.close(number)


def start(argv: Sequence[str], sockets: Sequence[int], log: Path) -> tuple[int, str]:
    """Starts a master on sockets that are open already; it does not daemonise then by itself."""
    inherited = "".join(f"{number};" for number in sockets)
    # The shell goes at once, so that the master is nobody's child of ours.
    result = subprocess.run(
        ["/bin/sh", "-c", '"$@" >/dev/null 2>&1 &', "sh", *argv],
        stdin=subprocess.DEVNULL,
        env={**ENVIRONMENT, "NGINX": inherited},
        cwd="/",
        pass_fds=sockets,
        start_new_session=True,
        restore_signals=False,
        timeout=20.0,
        check=False,
    )
    return result.returncode, f"see {log}"


def await_master(config: Path, pid_file: Path) -> None:
    """Returns when the master named in the pid file is one of this config, and has workers."""
    limit = time.monotonic() + 5.0
    while time.monotonic() < limit:
        with contextlib.suppress(OSError, ValueError):
            pid = int(pid_file.read_text())
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            if title.startswith(b"nginx: master") and str(config).encode() in title and children:
                return
        time.sleep(0.01)
    raise GateError("cannot start the gate: no master within 5 s", hint=f"nginx -t -c {config}")


def _orphan(pid: int) -> bool:
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        parent = int(status.rpartition(")")[2].split()[1])
        above = Path(f"/proc/{parent}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return False
    return title.startswith(b"nginx: worker process") and not above.startswith(b"nginx: master")


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
