"""Which process, beyond doubt.

A pid alone is reused; `psutil`'s start time is wall-clock time, which NTP moves. The kernel's own start
ticks together with the boot id name a process for good (proc(5), field 22 of /proc/PID/stat).
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
from dataclasses import dataclass
from pathlib import Path

from reld.core.model import Identity


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat says of a process, as far as it is of use here."""

    pid: int
    state: str
    parent: int
    session: int
    threads: int
    start_ticks: int

    @property
    def over(self) -> bool:
        """A zombie or worse. A leader that ended before its threads looks like one, but is not."""
        return self.state in {"Z", "X", "x"} and self.threads <= 1

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.start_ticks, boot_id())


@functools.cache
def boot_id() -> str:
    """This boot's name; another one after each start of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def read_stat(pid: int) -> Stat | None:
    """None: there is no such process."""
    try:
        raw = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name may hold blanks and parentheses: only the last one ends it.
    fields = raw[raw.rindex(b")") + 2 :].split()
    return Stat(
        pid=pid,
        state=fields[0].decode("ascii"),
        parent=int(fields[1]),
        session=int(fields[3]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
    )


def every_stat() -> dict[int, Stat]:
    """All processes of this machine, by pid (about 20 µs for each)."""
    found: dict[int, Stat] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            stat = read_stat(int(name))
            if stat is not None:
                found[stat.pid] = stat
    return found


def identity_of(pid: int) -> Identity | None:
    """None: there is no such process. One that ended but was not reaped yet still has its identity."""
    stat = read_stat(pid)
    return None if stat is None else stat.identity


def alive(identity: Identity) -> bool:
    """Whether this very process still runs (a zombie does not)."""
    if identity.boot_id != boot_id():
        return False
    stat = read_stat(identity.pid)
    return stat is not None and stat.start_ticks == identity.start_ticks and not stat.over


def ended(pidfd: int) -> bool:
    """Whether the process behind a pidfd is over: the kernel makes it readable then."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def adopt(identity: Identity) -> int | None:
    """A pidfd for a process that an earlier reld started, or None if it is gone.

    The order matters: the pidfd pins whatever has the pid *now*, and only then is it compared. The
    other way round the pid could be reused in between. The caller closes the pidfd.
    """
    try:
        pidfd = os.pidfd_open(identity.pid)
    except OSError:
        return None
    if alive(identity) and not ended(pidfd):
        return pidfd
    with contextlib.suppress(OSError):
        os.close(pidfd)
    return None
