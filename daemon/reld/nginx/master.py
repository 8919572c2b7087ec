"""The gate's nginx as processes: the master and its workers, found again by what they are.

The master is not a child of ours and outlives reld. It is found by its pid file, and believed only
when its command line names our config file and it runs as the gate's user.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from reld.errors import GateError
from reld.nginx import connections, owner
from reld.nginx.settings import GateSettings

# Field 9 of /proc/PID/stat, counted from the state; the bit is in the kernel's sched.h.
_FLAGS = 6
_PF_FORKNOEXEC = 0x40


@dataclass(frozen=True, slots=True)
class Process:
    """`start_ticks` is field 22 of /proc/PID/stat."""

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class Worker:
    """`leaving`: it is shutting down, and ends with its last connection."""

    pid: int
    start_ticks: int
    leaving: bool

    @property
    def process(self) -> Process:
        return Process(self.pid, self.start_ticks)


def find(settings: GateSettings) -> Process | None:
    """The gate's master if it lives, else None."""
    found = named(settings)
    if found is not None:
        return found
    for holder in owners(settings.listen):
        found = _ours(settings, holder)
        if found is not None:
            return found
    return None


def named(settings: GateSettings) -> Process | None:
    """The gate's master by its pid file alone."""
    try:
        said = owner.text(settings.pid_file, owner.of(settings.user).uid, limit=32)
        return _ours(settings, int(said))
    except (OSError, ValueError):
        return None  # `nginx -t` leaves an empty pid file


def workers(master: Process) -> tuple[Worker, ...]:
    """Its workers, the leaving ones too; empty when the master is gone."""
    try:
        pids = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()
    except OSError:
        return ()
    found = []
    for pid in map(int, pids):
        title, ticks = command_line(pid), start_ticks(pid)
        if ticks is not None and (title.startswith("nginx: worker process") or _nameless(pid)):
            found.append(Worker(pid, ticks, "is shutting down" in title))
    return tuple(found)


def _nameless(pid: int) -> bool:
    """A worker that was forked a moment ago still has its master's title. A new master (a binary
    upgrade) has that title too, but it has called exec: PF_FORKNOEXEC in the flags of proc(5) tells.
    """
    fields = _stat(pid)
    forked = len(fields) > _FLAGS and bool(int(fields[_FLAGS]) & _PF_FORKNOEXEC)
    return forked and command_line(pid).startswith("nginx: master process")


def send(process: Process, number: signal.Signals) -> bool:
    """Signals exactly this process; False when it is gone. Raises PermissionError."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if start_ticks(process.pid) != process.start_ticks:
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def owners(address: str) -> tuple[int, ...]:
    """The processes that listen on the port of "ADDRESS:PORT"."""
    return connections.holders(found.inode for found in connections.listeners(address))


def foreigner(settings: GateSettings, address: str) -> str:
    """Who else listens on an address of the gate, in words; "" = nobody."""
    listeners = connections.listeners(address)
    master = find(settings)
    if master is not None:
        ours = connections.open_files(master.pid)
        listeners = tuple(x for x in listeners if f"socket:[{x.inode}]" not in ours)
    if not listeners:
        return ""
    for pid in connections.holders(listener.inode for listener in listeners):
        name = command_line(pid)[:80] or "?"
        return f"{address} is taken by pid {pid} ({name}, uid {listeners[0].uid})"
    return f"{address} is taken by a process of uid {listeners[0].uid}"


def refuse_foreign(settings: GateSettings) -> None:
    """Raises GateError, naming who else listens on an address of the gate."""
    for address in (settings.listen, settings.status):
        who = foreigner(settings, address)
        if who:
            raise GateError(
                f"cannot start the gate: {who}",
                hint="stop that process, or change gate.listen or gate.status in the config",
            )


def replaced(master: Process) -> bool:
    """An upgrade replaced the nginx binary that this master still runs."""
    try:
        return os.readlink(f"/proc/{master.pid}/exe").endswith(" (deleted)")
    except OSError:
        return False


def stopped(process: Process) -> bool:
    """Somebody sent it SIGSTOP."""
    return _stat(process.pid)[:1] in (["T"], ["t"])


def start_ticks(pid: int) -> int | None:
    """None = gone, a zombie included."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 and fields[0] not in "ZX" else None


def parent(pid: int) -> int | None:
    """None = gone."""
    fields = _stat(pid)
    return int(fields[1]) if len(fields) > 1 else None


def command_line(pid: int) -> str:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return raw.replace(b"\0", b" ").decode(errors="replace").strip()


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _ours(settings: GateSettings, pid: int) -> Process | None:
    if pid <= 1:
        return None
    words = command_line(pid).split()
    ticks = start_ticks(pid)
    if ticks is None or words[:3] != ["nginx:", "master", "process"]:
        return None
    ours = str(settings.config) in words and owner.has(owner.of(settings.user), pid)
    return Process(pid, ticks) if ours else None
