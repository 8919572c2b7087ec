"""The direct launcher: instances are children of reld, and outlive it.

The child is a tiny trampoline (trampoline.py) that waits on a socket and then becomes the app in the same
process: pid and start ticks are known, and can be on disk, before the app's first instruction runs.
When reld dies in between, the socket ends and the child exits: no orphan can exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from reld.processes.exits import Child
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
from reld.processes.logs import open_log
from reld.processes.spec import Ending, LaunchSpec, Streams

TRAMPOLINE = str(Path(__file__).with_name("trampoline.py"))


class Direct:
    """See `Launcher`; it keeps no units, so nothing is to be told or forgotten of them."""

    async def hold(self, spec: LaunchSpec) -> Held:
        return await _hold(spec, ())

    async def hold_with_output(self, spec: LaunchSpec, output: int) -> Held:
        return await _hold(spec, copies((output,)))

    async def hold_with_streams(self, spec: LaunchSpec, streams: Streams) -> Held:
        return await _hold(spec, copies(streams))

    def adopted(self, unit: str, pidfd: int) -> Ending | None:  # noqa: ARG002
        return None

    async def unleash(self, unit: str) -> None:
        pass

    async def forget(self, unit: str) -> None:
        pass


DIRECT = Direct()
hold = DIRECT.hold


async def _hold(spec: LaunchSpec, given: tuple[int, ...]) -> Held:
    spawning = asyncio.get_running_loop().run_in_executor(None, _spawn, spec, given)
    try:
        born = await asyncio.shield(spawning)
    except asyncio.CancelledError:
        # The thread can't be stopped; whatever it still brings to the world is sent away.
        spawning.add_done_callback(lambda done: _send_away(spec, done))
        raise
    return _held(spec, born)


def _held(spec: LaunchSpec, born: Born) -> Held:
    return Held(spec, born, Child(born.identity.pid, os.dup(born.pidfd)))


def _send_away(spec: LaunchSpec, done: asyncio.Future[Born]) -> None:
    if done.cancelled() or done.exception() is not None:
        return
    held = _held(spec, done.result())
    held.abandon()
    os.close(held.pidfd)


def _spawn(spec: LaunchSpec, given: tuple[int, ...]) -> Born:
    with contextlib.ExitStack() as ends, contextlib.ExitStack() as ours:
        for one in given:
            ends.callback(os.close, one)
        refuse_nothing(spec)
        account = find_account(spec.user)
        try:
            if not given:
                given = (open_log(spec.log, None if account is None else account.uid),)
                ends.callback(os.close, given[0])
            line, its_end = socket.socketpair()
            ours.callback(line.close)
            ends.callback(its_end.close)
            pid = _popen(its_end.fileno(), given)
        except OSError as problem:
            raise refused(spec, problem) from problem
        try:
            # Nobody has reaped it yet: what has this pid is surely our child.
            identity = identity_of(pid)
            assert identity is not None
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `let_go` will tell
                give_order(line, spec, account, ())
            pidfd = os.pidfd_open(pid)
        except BaseException as problem:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            if isinstance(problem, OSError):
                raise refused(spec, problem) from problem
            raise
        ours.pop_all()
        return Born(identity, pidfd, line)


def _popen(line: int, given: tuple[int, ...]) -> int:
    """`given`: one descriptor for all that it says, or its three standard ones."""
    popen = subprocess.Popen(
        [sys.executable, "-I", "-S", TRAMPOLINE, str(line)],
        stdin=subprocess.DEVNULL if len(given) == 1 else given[0],
        stdout=given[-2] if len(given) > 1 else given[0],
        stderr=given[-1],
        env={},
        start_new_session=True,
        close_fds=True,
        pass_fds=(line,),
    )
    # `Child` reaps it. Without this, Popen's end would complain that the child still runs, and it is
    # the very point that children outlive us.
    popen.returncode = 0
    return popen.pid
