"""Run a command to its end: hooks and exec probes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from reld.core.model import Exit
from reld.processes.environment import MARKER
from reld.processes.exits import wait_exit
from reld.processes.held import Held
from reld.processes.launch import DIRECT
from reld.processes.logs import printable
from reld.processes.spec import Launcher, LaunchSpec
from reld.processes.tree import Tree, kill_tree

_KEPT = 65536  # bytes of output that are looked at afterwards
_PIPE_BYTES = 262144


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a command ended. `output_tail`: its last output (64 KiB at most), printable."""

    exit: Exit
    output_tail: str
    timed_out: bool
    seconds: float

    @property
    def ok(self) -> bool:
        return self.exit.code == 0 and not self.timed_out


async def run(
    argv: tuple[str, ...],
    directory: Path,
    env: dict[str, str],
    user: str | None,
    timeout: float,
    output: Path | None = None,
    launcher: Launcher = DIRECT,
) -> RunResult:
    """Run a command in a session of its own and wait for its end.

    On a timeout and on cancellation its whole tree gets SIGKILL; what it left running after an
    ordinary end is left alone, unless it was a unit of systemd, which ends as a whole. Without `output` reld reads what it says and keeps only the end.

    `env` is the complete environment, `timeout` is in seconds; `argv`, `directory` and `user` are as
    in `LaunchSpec`. stdout and stderr are appended to the file `output`; a hook has one, because a
    pipe would break when reld dies.

    Raises:
        LaunchError: it could not be started.
    """
    spec = LaunchSpec(argv, directory, env, user, output or Path(os.devnull))
    if output is not None:
        start = _size(output)
        held = await launcher.hold(spec)
        exited, timed_out, seconds = await _finish(launcher, held, env, timeout)
        return RunResult(exited, _said_since(output, start), timed_out, seconds)
    async with contextlib.AsyncExitStack() as stack:
        ear = Ear()
        stack.callback(ear.close)
        try:
            held = await launcher.hold_with_output(spec, ear.mouth)
        finally:
            ear.listen()
        exited, timed_out, seconds = await _finish(launcher, held, env, timeout)
        return RunResult(exited, ear.heard(), timed_out, seconds)


async def _finish(
    launcher: Launcher, held: Held, env: dict[str, str], timeout: float
) -> tuple[Exit, bool, float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    tree = Tree(held.identity, env.get(MARKER, ""))
    timed_out = False
    try:
        await held.let_go()
        try:
            async with asyncio.timeout(timeout):
                exited = await wait_exit(held.pidfd, held.child)
        except TimeoutError:
            timed_out = True
            gone = await kill_tree(tree)
            exited = await wait_exit(held.pidfd, held.child) if gone else Exit()
        return exited, timed_out, loop.time() - began
    except asyncio.CancelledError:
        await kill_tree(tree)
        raise
    finally:
        held.abandon()
        os.close(held.pidfd)
        await launcher.forget(held.unit)


class Ear:
    """Reads what a command says and keeps the end of it."""

    def __init__(self) -> None:
        self._fd, self.mouth = os.pipe()
        os.set_blocking(self._fd, False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._kept = b""
        self._loop = asyncio.get_running_loop()

    def listen(self) -> None:
        """From now on the command alone holds the other end."""
        os.close(self.mouth)
        self._loop.add_reader(self._fd, self._read)

    def _read(self) -> bool:
        try:
            chunk = os.read(self._fd, _KEPT)
        except BlockingIOError:
            return False
        if not chunk:
            self._loop.remove_reader(self._fd)
            return False
        self._kept = (self._kept + chunk)[-_KEPT:]
        return True

    def heard(self) -> str:
        # What was said just before the end is still in the pipe; children that live on may go on
        # talking, so not for ever.
        for _ in range(_PIPE_BYTES // _KEPT + 1):
            if not self._read():
                break
        return _printable(self._kept)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _said_since(path: Path, start: int) -> str:
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            # A log that was trimmed meanwhile is shorter than it was.
            file.seek(max(start if start <= end else 0, end - _KEPT))
            return _printable(file.read(_KEPT))
    except OSError:
        return ""


def _printable(raw: bytes) -> str:
    return "\n".join(printable(line) for line in raw.split(b"\n")).strip("\n")
