"""The control socket: there is never a moment when it can be opened by the wrong people."""

from __future__ import annotations

import contextlib
import grp
import os
import socket
from pathlib import Path

from systemd.daemon import is_socket_unix, listen_fds

from reld.api.unasked import Listener
from reld.errors import RelctlError

BACKLOG = 512
"""Clients that may wait to be accepted: beyond it a connect fails at once, whatever its patience."""


class SocketError(RelctlError):
    """The control socket cannot be made."""

    code = "socket"
    exit_code = 9


def listen(path: Path, group: str | None) -> socket.socket:
    """A listening Unix socket at `path`, mode 0660, for `group` where one is named.

    It is made under another name and renamed when it is complete: what was at `path` is replaced,
    and a client that finds it can connect.

    Raises:
        SocketError: the directory, the group or the length of the path is in the way.
    """
    staged = path.with_name(f".{os.getpid()}")
    sock = Listener(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        staged.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            sock.bind(str(staged))
        finally:
            os.umask(before)
        if group is not None:
            os.chown(staged, -1, grp.getgrnam(group).gr_gid)
        staged.chmod(0o660)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        staged.rename(path)
    except KeyError:
        _discard(sock, staged)
        raise SocketError(
            f"cannot open {path}: there is no group {group}", f"as root: groupadd --system {group}"
        ) from None
    except OSError as error:
        _discard(sock, staged)
        raise SocketError(
            f"cannot open {path}: {error.strerror or error}", f"ls -ld {path.parent}"
        ) from error
    return sock


def given(path: Path) -> socket.socket | None:
    """The socket at `path` that systemd made and handed over; None where it did not.

    It is systemd's for as long as the machine runs: while reld restarts, calls wait in it.
    """
    for number in listen_fds():
        if is_socket_unix(number, socket.SOCK_STREAM, 1, str(path)) and _answers(path):
            sock = Listener(fileno=number)
            sock.setblocking(False)
            return sock
    return None


def _answers(path: Path) -> bool:
    """Whether somebody listens at `path`: systemd then, for a second reld is kept away by its lock.

    What systemd bound may have been removed, and an earlier reld have put its own there.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(str(path))
        except BlockingIOError:
            return True  # many wait already
        except OSError:
            return False
        return True


def _discard(sock: socket.socket, staged: Path) -> None:
    sock.close()
    with contextlib.suppress(OSError):
        staged.unlink(missing_ok=True)
