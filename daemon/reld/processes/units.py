"""The systemd launcher: each instance is a transient unit of PID 1, with its own cgroup, journal and limits.

The same two steps as in launch.py: systemd connects the standard input and output of the unit's main
process, the trampoline, to a socket of ours, and who is at its other end is what the kernel says
(SO_PEERCRED). When reld dies before the word, the socket ends and so does the trampoline.

A unit stays loaded when its process is over (RemainAfterExit=, and a failed one anyway), so that how it
ended is known to a reld that was away. `forget` ends that.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from reld.core.model import Color, Exit
from reld.errors import LaunchError
from reld.processes import exits, pid1
from reld.processes.held import (
    Born,
    Held,
    copies,
    find_account,
    give_order,
    refuse_nothing,
    refused,
)
from reld.processes.identity import identity_of
from reld.processes.launch import TRAMPOLINE
from reld.processes.logs import open_log
from reld.processes.spec import Ending, LaunchSpec, Streams, Unit

log = logging.getLogger("reld.units")

_P = ParamSpec("_P")
_T = TypeVar("_T")

THREADS = 4
TELLING = 8.0
"""Seconds that PID 1 has to tell how a unit ended: the guard waits for that news."""
_AGAIN_AFTER = 0.5

SLICE = "relctl.slice"
WEIGHT_UNTIL_READY = 20
"""Of 100: a release that starts must not take the processor from the one that serves."""


def unit_name(app: str, rollout: int, color: Color, number: int) -> str:
    """What systemd calls an instance."""
    return f"relctl-{app}-r{rollout}-{color}-{number}.service"


class Units:
    """See `Launcher`. `place`: a directory of ours on tmpfs, for sockets. Needs root."""

    def __init__(self, app: str, place: Path) -> None:
        self._app = app
        self._place = place
        self._numbers = itertools.count(1)
        self._lines = itertools.count(1)
        _threads()

    async def hold(self, spec: LaunchSpec) -> Held:
        return await self._hold(spec, ())

    async def hold_with_output(self, spec: LaunchSpec, output: int) -> Held:
        return await self._hold(spec, copies((output,)))

    async def hold_with_streams(self, spec: LaunchSpec, streams: Streams) -> Held:
        return await self._hold(spec, copies(streams))

    def adopted(self, unit: str, pidfd: int) -> Ending | None:
        return _UnitEnd(unit, os.dup(pidfd)) if unit else None

    async def unleash(self, unit: str) -> None:
        if unit:
            await _in_thread(pid1.tell, "set-property", "--runtime", unit, "CPUWeight=100")

    async def forget(self, unit: str) -> None:
        if unit:
            await _in_thread(pid1.forget, unit)

    def sweep(self, keep: Iterable[str]) -> None:
        """Forget units of this app that are over and that nobody waits for; blocks."""
        wanted = set(keep)
        ours = re.compile(
            rf"relctl-{re.escape(self._app)}-(r\d+-(blue|green)-\d+|run-\d+-\d+)\.service"
        )
        for name in pid1.services():
            if ours.fullmatch(name) and name not in wanted and pid1.over(pid1.properties(name)):
                pid1.forget(name)

    async def _hold(self, spec: LaunchSpec, given: tuple[int, ...]) -> Held:
        spawning = _in_thread(self._spawn, spec, given)
        try:
            born = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # The thread can't be stopped; whatever it still brings to the world is sent away.
            _keep(self._sent_away(spawning))
            raise
        return Held(spec, born, _UnitEnd(born.unit, os.dup(born.pidfd)))

    async def _sent_away(self, spawning: asyncio.Future[Born]) -> None:
        try:
            born = await spawning
        except (LaunchError, OSError):
            return
        born.line.close()
        await _UnitEnd(born.unit, born.pidfd).wait()
        await self.forget(born.unit)

    def _spawn(self, spec: LaunchSpec, given: tuple[int, ...]) -> Born:
        with contextlib.ExitStack() as ends, contextlib.ExitStack() as ours:
            for one in given:
                ends.callback(os.close, one)
            refuse_nothing(spec)
            account = find_account(spec.user)
            unit = spec.unit or Unit(self._own_name(), f"{self._app}: {spec.argv[0]}", self._app)
            try:
                if not given and spec.unit is None:
                    given = (open_log(spec.log, None if account is None else account.uid),)
                    ends.callback(os.close, given[0])
                line = ours.enter_context(self._started(unit, spec.writable))
                pid, _, _ = struct.unpack(
                    "3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                )
                pidfd = os.pidfd_open(pid)
                ours.callback(os.close, pidfd)
                identity = identity_of(pid)
                with contextlib.suppress(
                    BrokenPipeError, ConnectionResetError
                ):  # `let_go` will tell
                    give_order(line, spec, account, given)
            except OSError as problem:
                pid1.forget(unit.name)
                raise refused(spec, problem) from problem
            if identity is None:
                pid1.forget(unit.name)
                raise LaunchError(f"cannot start {spec.argv[0]}: {unit.name} ended at once")
            ours.pop_all()
            return Born(identity, pidfd, line, unit.name)

    def _own_name(self) -> str:
        return f"relctl-{self._app}-run-{os.getpid()}-{next(self._numbers)}.service"

    def _started(self, unit: Unit, writable: tuple[str, ...] = ()) -> socket.socket:
        """The line to the main process of a new unit. Raises OSError, LaunchError."""
        self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Short, as sun_path is (108 bytes); and never one that a unit of an earlier reld waits for.
        path = self._place / f"{os.getpid()}-{next(self._lines)}.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            try:
                path.chmod(0o600)
                listener.listen(1)
                command = _command(unit, path, writable)
                ended = pid1.run(command)
                if ended.returncode != 0 and _leftover(unit.name):
                    ended = pid1.run(command)
                if ended.returncode != 0:
                    said = " ".join(ended.stderr.split())[:300]
                    raise LaunchError(
                        f"cannot start {unit.name}: systemd refuses: {said or ended.returncode}",
                        f"sudo systemctl status {unit.name}",
                    )
                listener.settimeout(pid1.PATIENCE)
                line, _ = listener.accept()
            finally:
                path.unlink(missing_ok=True)
        return line


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Of its own, and all there from the beginning, see `host.scarce`: a PID 1 that does not answer
    must not take the threads that reload the gate and read its log.
    """
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="pid1")
    there = threading.Barrier(THREADS)
    with contextlib.suppress(RuntimeError):
        for _ in range(THREADS):
            executor.submit(there.wait, 10.0)
    return executor


def _in_thread(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> asyncio.Future[_T]:
    work = functools.partial(call, *args, **kwargs)
    return asyncio.get_running_loop().run_in_executor(_threads(), work)


_KEPT: set[asyncio.Task[Any]] = set()


def _keep(work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    """A task that nobody holds is lost."""
    task = asyncio.create_task(work)
    _KEPT.add(task)
    task.add_done_callback(_KEPT.discard)
    return task


class _UnitEnd:
    """How the main process of a unit ended: what the kernel says, and what PID 1 knows of it."""

    def __init__(self, unit: str, pidfd: int) -> None:
        self._unit = unit
        self._pidfd = pidfd
        # Asked even if nobody waits: the descriptor is closed then.
        self._asked = _keep(self._ask())

    async def wait(self) -> Exit:
        return await asyncio.shield(self._asked)

    async def _ask(self) -> Exit:
        try:
            found = await self._kernel_s_word()
        finally:
            os.close(self._pidfd)
        told = Exit()
        # That it ended is known, and must be heard, whatever keeps PID 1 from saying how.
        with contextlib.suppress(OSError, RuntimeError):  # a TimeoutError is an OSError
            async with asyncio.timeout(TELLING):
                told = await _in_thread(pid1.how_it_ended, self._unit)
        known = found if (found.code, found.signal) != (None, None) else told
        return Exit(known.code, known.signal, told.cause)

    async def _kernel_s_word(self) -> Exit:
        while True:
            try:
                return await exits.wait_exit(self._pidfd, None)
            except OSError:  # no descriptor to spare at the moment
                await asyncio.sleep(_AGAIN_AFTER)


def _command(unit: Unit, line: Path, writable: tuple[str, ...] = ()) -> list[str]:
    values = {
        "Type": "exec",
        "RemainAfterExit": "yes",
        # The same for both: it is connected once, to be read and written (systemd.exec(5)). The
        # trampoline puts stderr in the place of stdout.
        "StandardInput": f"file:{line}",
        "StandardOutput": f"file:{line}",
        "StandardError": "journal",
        "SyslogIdentifier": unit.identifier or "relctl",
        "LogRateLimitIntervalSec": "0",
        # SIGTERM to the app's own first process, as reld does it; SIGKILL to what is left then.
        "KillMode": "mixed",
        "KillSignal": unit.stop_signal,
        "TimeoutStopSec": f"{unit.stop_timeout:g}s",
        # A worker that the kernel kills is its master's business, not the end of the instance.
        "OOMPolicy": "continue",
        "LimitNOFILE": "65536",
        "StartLimitIntervalSec": "0",
        "CPUWeight": str(WEIGHT_UNTIL_READY if unit.held_back else 100),
    }
    if unit.memory_max is not None:
        values["MemoryMax"] = str(unit.memory_max)
    if unit.tasks_max is not None:
        values["TasksMax"] = str(unit.tasks_max)
    properties = [f"--property={name}={value}" for name, value in values.items()]
    properties += [f"--property=LogExtraFields={name}={value}" for name, value in unit.fields]
    properties += [f"--property=Before={other}" for other in unit.before]
    # What systemd would take apart, or fill in, is left out.
    plain = [path for path in writable if not set(path) & set(" \t\"'\\%:")]
    properties += [f"--property=ReadWritePaths=-{path}" for path in plain]
    return [
        "systemd-run", "--quiet", f"--unit={unit.name}", f"--slice={SLICE}",
        f"--description={unit.description}", *properties,
        "--", sys.executable, "-I", "-S", TRAMPOLINE, "0",
    ]  # fmt: skip


def _leftover(unit: str) -> bool:
    """A unit of that name is still loaded, and was over: another try may do."""
    if pid1.properties(unit).get("LoadState") == "not-found":
        return False
    pid1.forget(unit)
    return True
