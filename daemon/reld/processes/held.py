"""A child that was started and waits to be let go: who it is can be on disk before it does anything."""

from __future__ import annotations

import asyncio
import contextlib
import marshal
import os
import pwd
import socket
from dataclasses import dataclass

from reld.core.model import Identity
from reld.errors import LaunchError
from reld.processes import why_not
from reld.processes.environment import DEFAULT_PATH
from reld.processes.spec import Ending, LaunchSpec

_ORDER_TIME = 10.0  # seconds; the trampoline reads at once, unless somebody stopped it


@dataclass(frozen=True, slots=True)
class Account:
    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Born:
    """A trampoline that has its order; `line` is our end of its socket."""

    identity: Identity
    pidfd: int
    line: socket.socket
    unit: str = ""


class Held:
    """A child that waits at its line: `let_go` or `abandon` ends that, either one once.

    `pidfd` belongs to the caller from now on; `child` knows how it ends. `unit` is what systemd calls
    it, "" = it is a child of ours.
    """

    def __init__(self, spec: LaunchSpec, born: Born, child: Ending) -> None:
        self.identity = born.identity
        self.pidfd = born.pidfd
        self.unit = born.unit
        self.child = child
        self._spec = spec
        # A bare number: what reld holds when it ends is the kernel's to close, and no leak.
        self._line: int | None = born.line.detach()

    async def let_go(self) -> None:
        """Let the child become the app; returns once it has.

        Raises:
            LaunchError: it could not; the child is gone or about to be.
        """
        if self._line is None:
            raise LaunchError(
                f"cannot start {self._spec.argv[0]}: it was let go or abandoned before"
            )
        line, self._line = self._line, None
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                os.write(line, b"g")
            said = await _read_to_end(line)
        finally:
            os.close(line)
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
        """Never start it: the line ends, and so does the child. Safe to call twice."""
        if self._line is not None:
            os.close(self._line)
            self._line = None


def give_order(
    line: socket.socket, spec: LaunchSpec, account: Account | None, given: tuple[int, ...]
) -> None:
    """Tell a trampoline what it is to become; blocks.

    `given`: a descriptor for stdout and stderr, or all three standard ones; empty: they stay as they are.

    Raises:
        OSError: it is not there, or does not listen.
    """
    directory = os.fsencode(spec.directory)
    first = spec.argv[0]
    if "/" in first:
        files = [os.path.join(directory, os.fsencode(first))]
    else:
        files = [
            os.path.join(directory, os.fsencode(folder), os.fsencode(first))
            for folder in search_path(spec.env).split(":")
        ]
    order = marshal.dumps(
        {
            "files": files,
            "argv": [os.fsencode(word) for word in spec.argv],
            "env": {os.fsencode(k): os.fsencode(v) for k, v in spec.env.items()},
            "directory": directory,
            "oom": spec.oom,
            "user": None if account is None else (account.uid, account.gid, list(account.groups)),
            "given": len(given),
            "terminal": spec.terminal,
        }
    )
    line.settimeout(_ORDER_TIME)
    line.sendall(len(order).to_bytes(4, "little") + order)
    if given:
        socket.send_fds(line, [b"o"], given)
    line.setblocking(False)


def copies(descriptors: tuple[int, ...]) -> tuple[int, ...]:
    """The same, for somebody who closes them. Raises OSError."""
    made: list[int] = []
    try:
        for one in descriptors:
            made.append(os.dup(one))  # noqa: PERF401  what was made is closed when the next fails
    except OSError:
        for one in made:
            os.close(one)
        raise
    return tuple(made)


def search_path(env: dict[str, str]) -> str:
    """The PATH that a command without a slash is looked up in."""
    return env.get("PATH") or DEFAULT_PATH


def find_account(user: str | None) -> Account | None:
    """Who a child is to be; None where that is who we are. May ask the network (NSS).

    Raises:
        LaunchError: no such user, or reld may not change to it.
    """
    if user is None:
        return None
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


def refuse_nothing(spec: LaunchSpec) -> None:
    """Raises LaunchError for an empty command."""
    if not spec.argv or not spec.argv[0]:
        raise LaunchError("cannot start nothing", "give the command as a list of words")


def refused(spec: LaunchSpec, problem: OSError) -> LaunchError:
    """What this machine lacks for it."""
    where = f": {problem.filename}" if problem.filename else ""
    return LaunchError(
        f"cannot start {spec.argv[0]}{where}: {problem.strerror or problem}",
        "look at the disk, and at the limits on processes, files and memory of reld's unit",
    )


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


async def _read_to_end(line: int) -> bytes:
    loop = asyncio.get_running_loop()
    chunks: list[bytes] = []
    over = asyncio.Event()

    def read() -> None:
        try:
            chunk = os.read(line, 65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            chunk = b""
        if chunk:
            chunks.append(chunk)
        else:
            over.set()

    loop.add_reader(line, read)
    try:
        await over.wait()
    finally:
        loop.remove_reader(line)
    return b"".join(chunks)
