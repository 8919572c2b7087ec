"""Notice within milliseconds that a process ended, and how; leave no zombie.

A pidfd gets readable when its process ends, for children and strangers alike. Never asyncio's
subprocess: on Python 3.12 a daemon that ends well takes its children with it (transport `close()` kills).
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
from pathlib import Path

from reld.core.model import Exit
from reld.processes.spec import Ending

# linux/pidfd.h, since 6.15: _IOWR(0xFF, 11, struct pidfd_info), PIDFD_INFO_EXIT, exit_code at byte 60.
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_EXIT = 1 << 3

_REAPED_SOON = 0.05  # seconds; init has to reap a stranger before the kernel tells how it ended


class Child:
    """A process that this reld started. It is reaped even if nobody waits for it.

    Made and used on the event loop. Owns `pidfd`.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.exit: Exit | None = None
        self._pidfd = pidfd
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        # The loop keeps this object alive until the process is over.
        self._loop.add_reader(pidfd, self._reap)

    async def wait(self) -> Exit:
        await self._over.wait()
        return self.exit or Exit()

    def _reap(self) -> None:
        try:
            found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            self.exit = Exit()  # somebody else reaped it
        else:
            if found is None:
                return
            self.exit = _from_waitid(found.si_code, found.si_status)
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._over.set()


async def wait_exit(pidfd: int, child: Ending | None) -> Exit:
    """Wait until the process is over.

    Args:
        pidfd: of the process; not closed.
        child: who knows how it ends: from `Held.child`, or `Launcher.adopted`. None: known from
            Linux 6.15 on, or if its new parent is slow to reap it; else `Exit()`.
    """
    if child is not None:
        return await child.wait()
    await over(pidfd)
    deadline = asyncio.get_running_loop().time() + _REAPED_SOON
    while True:
        found = _as_zombie(pidfd) or _ask_kernel(pidfd)
        if found is not None:
            return found
        if not _KERNEL.tells or asyncio.get_running_loop().time() > deadline:
            return Exit()
        await asyncio.sleep(0.002)


async def over(pidfd: int) -> None:
    """Returns when the process behind the pidfd is."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    # Of our own: a loop knows one reader per descriptor, and several may wait for one process.
    own = os.dup(pidfd)
    loop.add_reader(own, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(own)
        os.close(own)


class _Kernel:
    tells = True


_KERNEL = _Kernel()


def _ask_kernel(pidfd: int) -> Exit | None:
    """How a process ended that is not our child; None: not known (yet)."""
    if not _KERNEL.tells:
        return None
    info = array.array("i", bytes(64))
    info[0] = _PIDFD_INFO_EXIT
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info)
    except ProcessLookupError:
        return None
    except OSError:
        _KERNEL.tells = False  # an older kernel
        return None
    if not info[0] & _PIDFD_INFO_EXIT:
        return None
    return _from_wait_status(info[15])


def _as_zombie(pidfd: int) -> Exit | None:
    """How it ended, while its parent has not reaped it: the last field of /proc/PID/stat (root only)."""
    pid = _pid_behind(pidfd)
    if pid is None:
        return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    # Asked again: by now it may have been reaped and its pid given to somebody else. Without the
    # right to see it the field is 0, which is also what a good end looks like: then nothing is known.
    if fields[0] != b"Z" or fields[-1] == b"0" or _pid_behind(pidfd) != pid:
        return None
    return _from_wait_status(int(fields[-1]))


def _pid_behind(pidfd: int) -> int | None:
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text("ascii").splitlines():
        if line.startswith("Pid:"):
            pid = int(line.split()[1])
            return pid if pid > 0 else None
    return None


def _from_waitid(code: int, status: int) -> Exit:
    return Exit(code=status) if code == os.CLD_EXITED else Exit(signal=status)


def _from_wait_status(status: int) -> Exit:
    with contextlib.suppress(ValueError):
        code = os.waitstatus_to_exitcode(status)
        return Exit(code=code) if code >= 0 else Exit(signal=-code)
    return Exit()
