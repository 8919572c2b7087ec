"""The gate's nginx as processes: the master and its workers, found again by what they are.

The master is not a child of ours and outlives reld. It is found by its pid file, and believed only
when its command line names our config file.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reld.errors import GateError
from reld.nginx import connections, takeover
from reld.nginx.settings import GateSettings

# The files that nginx writes are bounded even when nobody reads them. It needs SIGXFSZ ignored
# (then write() fails, and nginx goes on); Python ignores it, and `restore_signals=False` leaves it so.
LOG_LIMIT = 128 << 20
_SPARE = 10
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
        return _ours(settings, int(settings.pid_file.read_text()))
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


def test(settings: GateSettings, config: Path) -> str:
    """What `nginx -t` has against a config file; "" = nothing."""
    code, said = _run(settings, [str(settings.binary), *_arguments(settings, config), "-t"])
    return "" if code == 0 else said or f"nginx -t ended with {code}"


def start(settings: GateSettings) -> tuple[Worker, ...]:
    """Starts the gate with the config on disk; returns when its sockets are open.

    A master that was killed leaves its workers behind, and they go on serving: its sockets are taken
    over from them, so that nobody is refused meanwhile, and then they are asked to leave. These are
    returned. Raises GateError, and then nothing runs that was started here.
    """
    with takeover.take([settings.listen, settings.status]) as taken:
        argv = [str(settings.binary), *_arguments(settings, settings.config)]
        if taken.sockets:
            code, said = takeover.start(_bounded(argv), taken.sockets, settings.error_log)
        else:
            _refuse_foreign(settings)
            code, said = _run(settings, _bounded(argv))
        if code != 0:
            _refuse_foreign(settings)
            raise GateError(
                f"cannot start the gate: {said or f'nginx ended with {code}'}",
                hint=f"nginx -t -c {settings.config}",
            )
        if taken.sockets:
            takeover.await_master(settings.config, settings.pid_file)
        strays = []
        for pid in taken.workers:
            ticks = start_ticks(pid)
            if ticks is not None and send(Process(pid, ticks), signal.SIGQUIT):
                strays.append(Worker(pid, ticks, True))
    return tuple(strays)


def make_room(settings: GateSettings, master: Process) -> str:
    """Sees to it that a reload finds descriptors in the master; "" or why it would not.

    Without them a reload ends with exit status 0 and no worker at all.
    """
    try:
        used = len(os.listdir(f"/proc/{master.pid}/fd"))
        soft, hard = resource.prlimit(master.pid, resource.RLIMIT_NOFILE)
    except OSError as error:
        return f"cannot see the gate's descriptors: {error}"
    need = used + 2 * (settings.workers + len(workers(master))) + 2 + _SPARE
    if need < soft:
        return ""
    wanted = max(2 * need, 1024)
    # Up to the hard limit anybody may; above it takes CAP_SYS_RESOURCE.
    limits = (min(wanted, hard), hard) if need < hard else (wanted, wanted)
    try:
        resource.prlimit(master.pid, resource.RLIMIT_NOFILE, limits)
    except (OSError, ValueError):
        return (
            f"the gate's master has {used} of {soft} descriptors open, a reload needs {need} "
            f"and would leave no worker: prlimit --pid {master.pid} --nofile={wanted}"
        )
    return ""


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
    return Process(pid, ticks) if str(settings.config) in words else None


def _refuse_foreign(settings: GateSettings) -> None:
    for address in (settings.listen, settings.status):
        who = foreigner(settings, address)
        if who:
            raise GateError(
                f"cannot start the gate: {who}",
                hint="stop that process, or change gate.listen or gate.status in the config",
            )


def _arguments(settings: GateSettings, config: Path) -> list[str]:
    return ["-p", str(settings.runtime), "-e", str(settings.error_log), "-c", str(config)]


def _bounded(argv: Sequence[str]) -> list[str]:
    return ["prlimit", f"--fsize={LOG_LIMIT}", *argv]


def _run(settings: GateSettings, argv: Sequence[str]) -> tuple[int, str]:
    # A file, not a pipe: a daemon that keeps its end of a pipe would hold us. In memory, so that a
    # file system that is full keeps nobody from going back.
    with os.fdopen(os.memfd_create("relctl-nginx"), "w+b") as said:
        try:
            code = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=takeover.ENVIRONMENT,
                cwd="/",
                start_new_session=True,
                restore_signals=False,
                timeout=20.0,
                check=False,
            ).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            return 127, f"cannot run {settings.binary}: {error}"
        said.seek(0)
        return code, complaints(said.read().decode(errors="replace"))


def complaints(text: str) -> str:
    """The lines of nginx that say why, in one."""
    lines = [line.strip() for line in text.splitlines()]
    bad = [
        line.partition("] ")[2] or line for line in lines if "[emerg]" in line or "[alert]" in line
    ]
    return "; ".join(dict.fromkeys(bad or [line for line in lines if line]))[:600]
