"""Start a process in two steps: hold it at a pipe, write down who it is, let it go.

The child is a tiny trampoline (trampoline.py) that waits on a pipe and then becomes the app in the same
process: pid and start ticks are known, and can be on disk, before the app's first instruction runs.
When reld dies in between, the pipe ends and the child exits: no orphan can exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import pwd
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from reld.core.model import Identity
from reld.errors import LaunchError
from reld.processes import why_not
from reld.processes.environment import DEFAULT_PATH
from reld.processes.exits import Child
from reld.processes.identity import identity_of
from reld.processes.logs import open_log

_TRAMPOLINE = str(Path(__file__).with_name("trampoline.py"))


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What to run.

    Attributes:
        argv: exactly these words, no shell. A first word with a slash is a path in `directory`; one
            without is looked up in the PATH of `env`.
        env: the complete environment, nothing is added.
        user: a name or a number as text; None: as reld itself.
        log: stdout and stderr are appended here; stdin is /dev/null.
        oom: oom_score_adj, see proc(5).
    """

    argv: tuple[str, ...]
    directory: Path
    env: dict[str, str]
    user: str | None
    log: Path
    oom: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int
    groups: tuple[int, ...]


class Held:
    """A child that waits at its pipe: `let_go` or `abandon` ends that, either one once.

    `pidfd` belongs to the caller from now on.
    """

    def __init__(self, spec: LaunchSpec, born: _Born) -> None:
        self.identity = born.identity
        self.pidfd = born.pidfd
        self.child = Child(born.identity.pid, os.dup(born.pidfd))
        self._spec = spec
        self._go: int | None = born.go
        self._answer: int | None = born.answer

    async def let_go(self) -> None:
        """Let the child become the app; returns once it has.

        Raises:
            LaunchError: it could not; the child is gone or about to be.
        """
        if self._go is None or self._answer is None:
            raise LaunchError(
                f"cannot start {self._spec.argv[0]}: it was let go or abandoned before"
            )
        go, self._go = self._go, None
        answer, self._answer = self._answer, None
        try:
            with contextlib.suppress(BrokenPipeError):
                os.write(go, b"g")
            os.close(go)
            said = await _read_to_end(answer)
        finally:
            os.close(answer)
        if said == b"!":
            return
        raise await asyncio.to_thread(
            why_not.launch_error,
            self._spec.argv,
            self._spec.directory,
            search_path(self._spec.env),
            self._spec.user,
            said,
        )

    def abandon(self) -> None:
        """Never start it: the pipe ends, the child exits and is reaped. Safe to call twice."""
        for fd in (self._go, self._answer):
            if fd is not None:
                os.close(fd)
        self._go = self._answer = None


async def hold(spec: LaunchSpec) -> Held:
    """Spawn a child that waits. Disk and user database are touched in a thread.

    Raises:
        LaunchError: unknown user, log file, no memory or too many processes.
    """
    return await _hold(spec, None)


async def hold_with_output(spec: LaunchSpec, output: int) -> Held:
    """As `hold`, but stdout and stderr are a copy of this descriptor; `spec.log` isn't touched."""
    return await _hold(spec, os.dup(output))


async def _hold(spec: LaunchSpec, output: int | None) -> Held:
    spawning = asyncio.get_running_loop().run_in_executor(None, _spawn, spec, output)
    try:
        born = await asyncio.shield(spawning)
    except asyncio.CancelledError:
        # The thread can't be stopped; whatever it still brings to the world is sent away.
        spawning.add_done_callback(lambda done: _send_away(spec, done))
        raise
    return Held(spec, born)


@dataclass(frozen=True, slots=True)
class _Born:
    identity: Identity
    pidfd: int
    go: int
    answer: int


def _send_away(spec: LaunchSpec, done: asyncio.Future[_Born]) -> None:
    if done.cancelled() or done.exception() is not None:
        return
    held = Held(spec, done.result())
    held.abandon()
    os.close(held.pidfd)


def _spawn(spec: LaunchSpec, output: int | None) -> _Born:
    with contextlib.ExitStack() as ends, contextlib.ExitStack() as ours:
        if output is not None:
            ends.callback(os.close, output)
        if not spec.argv or not spec.argv[0]:
            raise LaunchError("cannot start nothing", "give the command as a list of words")
        account = None if spec.user is None else find_account(spec.user)
        try:
            if output is None:
                output = open_log(spec.log, None if account is None else account.uid)
                ends.callback(os.close, output)
            order = os.memfd_create("relctl-order")
            ends.callback(os.close, order)
            _write(order, spec, account)
            go_read, go_write = os.pipe()
            ends.callback(os.close, go_read)
            ours.callback(os.close, go_write)
            answer_read, answer_write = os.pipe()
            ends.callback(os.close, answer_write)
            ours.callback(os.close, answer_read)
            os.set_blocking(answer_read, False)
            pid = _popen((order, go_read, answer_write), output)
        except OSError as problem:
            where = f": {problem.filename}" if problem.filename else ""
            raise LaunchError(
                f"cannot start {spec.argv[0]}{where}: {problem.strerror}",
                "look at the disk, and at the limits on processes, files and memory of reld's unit",
            ) from problem
        try:
            # Nobody has reaped it yet: what has this pid is surely our child.
            identity = identity_of(pid)
            assert identity is not None
            pidfd = os.pidfd_open(pid)
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        ours.pop_all()
        return _Born(identity, pidfd, go_write, answer_read)


def _popen(fds: tuple[int, int, int], output: int) -> int:
    popen = subprocess.Popen(
        [sys.executable, "-I", "-S", _TRAMPOLINE, *map(str, fds)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={},
        start_new_session=True,
        close_fds=True,
        pass_fds=fds,
    )
    # `Child` reaps it. Without this, Popen's end would complain that the child still runs, and it is
    # the very point that children outlive us.
    popen.returncode = 0
    return popen.pid


def _write(order: int, spec: LaunchSpec, account: Account | None) -> None:
    directory = os.fsencode(spec.directory)
    first = spec.argv[0]
    if "/" in first:
        files = [os.path.join(directory, os.fsencode(first))]
    else:
        files = [
            os.path.join(directory, os.fsencode(folder), os.fsencode(first))
            for folder in search_path(spec.env).split(":")
        ]
    with os.fdopen(os.dup(order), "wb") as file:
        marshal.dump(
            {
                "files": files,
                "argv": [os.fsencode(word) for word in spec.argv],
                "env": {os.fsencode(k): os.fsencode(v) for k, v in spec.env.items()},
                "directory": directory,
                "oom": spec.oom,
                "user": None
                if account is None
                else (account.uid, account.gid, list(account.groups)),
            },
            file,
        )
    os.lseek(order, 0, os.SEEK_SET)


def search_path(env: dict[str, str]) -> str:
    """The PATH that a command without a slash is looked up in."""
    return env.get("PATH") or DEFAULT_PATH


def find_account(user: str) -> Account | None:
    """Who a child is to be; None where that is who we are. May ask the network (NSS).

    Raises:
        LaunchError: no such user, or reld may not change to it.
    """
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise LaunchError(
            f"cannot start as user {user!r}: there is no such user",
            f"create it (`adduser --system --group {user}`) or change app.user",
        ) from None
    if os.geteuid() == 0:
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
        return Account(entry.pw_uid, entry.pw_gid, tuple(groups))
    if entry.pw_uid == os.geteuid():
        return None
    raise LaunchError(
        f"cannot start as user {user!r}: reld runs as {_own_name()} and only root may change users",
        f"run reld as root or as {user}",
    )


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


async def _read_to_end(fd: int) -> bytes:
    loop = asyncio.get_running_loop()
    chunks: list[bytes] = []
    over = asyncio.Event()

    def read() -> None:
        try:
            chunk = os.read(fd, 65536)
        except BlockingIOError:
            return
        if chunk:
            chunks.append(chunk)
        else:
            over.set()

    loop.add_reader(fd, read)
    try:
        await over.wait()
    finally:
        loop.remove_reader(fd)
    return b"".join(chunks)
