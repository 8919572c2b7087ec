"""Unix sockets of instances: each in a directory of its own, which the app and the gate alone may enter.

    RUNTIME/sockets/             root, 0755
    RUNTIME/sockets/21003/       the app's user, group of the gate's user, 0750; made anew for each start
    RUNTIME/sockets/21003/app.sock

The app makes the socket, with whatever umask it has. Nobody else gets as far as the file, so it is
opened to all: that is how the gate's user gets in.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path

from reld.config import App, named
from reld.core.addresses import SOCKETS, of_socket, socket_path
from reld.errors import GateError, LaunchError, PrepareError
from reld.nginx import connections, unix_sockets
from reld.nginx.gate import Gate

LONGEST = 107
"""Bytes of a Unix socket's path: struct sockaddr_un, less the end."""
_REMOVED_WITHIN = 20.0
"""Seconds."""
_ENTER, _CONNECT = 0o750, 0o666


def wanted(app: App) -> bool:
    """Whether this app listens on a Unix socket."""
    return "socket" in named(app.command)


class Sockets:
    """Those of one app."""

    def __init__(self, runtime: Path, gate: Gate) -> None:
        self._place = runtime.absolute()
        self._gate = gate

    def addresses(self, ports: Iterable[int]) -> tuple[str, ...]:
        """Raises PrepareError for a path that no socket can have."""
        found = tuple(of_socket(str(self._place), port) for port in ports)
        for address in found:
            path = socket_path(address)
            if len(os.fsencode(path)) > LONGEST:
                raise PrepareError(
                    f"cannot listen on {path}: it is longer than {LONGEST} bytes",
                    "give reld a shorter --runtime-dir, or the app a shorter name",
                )
        return found

    def make(self, address: str, user: str | None) -> None:
        """An empty directory for an instance that is about to start; what a killed one left is gone.

        Blocks. Raises LaunchError.
        """
        place = Path(socket_path(address)).parent
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.parent.chmod(0o755)
            _remove(place)
            place.mkdir(mode=0o700)
            os.chown(place, _uid(user), self._gate.owner.gid)
            place.chmod(_ENTER)
        except (OSError, KeyError, GateError) as error:
            raise LaunchError(f"cannot make {place} for the app's socket: {error}") from error

    def admit(self, address: str) -> str:
        """Lets the gate's user connect; "" = it can, else what is in the way. Blocks."""
        path = Path(socket_path(address))
        try:
            place = path.parent.lstat()
            if stat.S_IMODE(place.st_mode) & _ENTER != _ENTER:
                path.parent.chmod(_ENTER)
            # The directory is the app's: what is there may be a link, or become one.
            handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            return f"cannot open {path}: {error.strerror}"
        try:
            found = os.fstat(handle)
            if not stat.S_ISSOCK(found.st_mode) or found.st_uid != place.st_uid:
                return f"{path} is no socket of the app's user"
            if stat.S_IMODE(found.st_mode) & _CONNECT != _CONNECT:
                os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(found.st_mode) | _CONNECT)
        except OSError as error:
            return f"cannot open {path} to the gate: {error.strerror}"
        finally:
            os.close(handle)
        return ""

    def sweep(self, ports: Collection[int]) -> None:
        """Removes the directories of all other ports. Blocks."""
        with contextlib.suppress(OSError):
            for place in (self._place / SOCKETS).iterdir():
                if place.name.isdecimal() and int(place.name) not in ports:
                    _remove(place)


def stranger(address: str, pids: Iterable[int]) -> str:
    """Who listens there and is none of these processes; "" = nobody, as far as can be seen."""
    path = socket_path(address)
    try:
        listening = {f"socket:[{i}]" for i in unix_sockets.look([path])[path].listeners}
    except GateError:
        return ""
    for pid in pids:
        if not listening:
            break
        listening -= connections.open_files(pid)
    return f"{path} is answered by a process that is not of the instance" if listening else ""


def _remove(place: Path) -> None:
    """As far as possible. What is in there the app has made."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(place, ignore_errors=True)
    if os.path.lexists(place):  # deeper than Python, or our limit of open files, goes down
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                ["rm", "-rf", "--one-file-system", "--", place],
                capture_output=True, check=False, timeout=_REMOVED_WITHIN,
            )  # fmt: skip


def _uid(user: str | None) -> int:
    if user is None:
        return -1
    return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
