"""Who the gate runs as: a user of its own, that no other process of this machine runs as.

What it may write it may also replace by a link, a pipe or a directory. reld is root, and reads and
removes files there: only what is plainly the gate's own file is opened.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reld.errors import GateError


@dataclass(frozen=True, slots=True)
class Owner:
    """`name` None: reld is not root, and the gate is its own user's."""

    name: str | None
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


OF_THE_PACKAGE = "relctl-gate"
_WITHOUT_IT = "www-data"


def usual() -> str | None:
    """The user that the package makes; None: we are not root, and the gate is our own user's."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(OF_THE_PACKAGE).pw_name
    except KeyError:
        return _WITHOUT_IT


@lru_cache
def of(user: str | None) -> Owner:
    """Raises GateError when there is no such user."""
    if user is None:
        return Owner(None, os.geteuid(), os.getegid())
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise GateError(
            f"cannot run the gate: there is no user {user}",
            hint="systemd-sysusers, which makes it, or: "
            f"useradd --system --no-create-home --shell /usr/sbin/nologin {user}",
        ) from None
    groups = os.getgrouplist(user, found.pw_gid)
    return Owner(user, found.pw_uid, found.pw_gid, tuple(groups))


def has(owner: Owner, pid: int) -> bool:
    """Does this process run as the owner? Titles are easily forged, this is not."""
    try:
        return os.stat(f"/proc/{pid}").st_uid == owner.uid
    except OSError:
        return False


def opened(path: Path, uid: int) -> int:
    """A descriptor to read a plain file of this user with.

    Raises FileNotFoundError, and PermissionError for all that is something else: what a link leads
    to is not opened, and nobody waits for a pipe.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except OSError as error:
        # A link, a socket.
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _foreign(path) from None
        raise
    found = os.fstat(handle)
    # Another's: a hard link gives a file of anybody a name here.
    if not stat.S_ISREG(found.st_mode) or found.st_uid != uid:
        os.close(handle)
        raise _foreign(path)
    return handle


def _foreign(path: Path) -> PermissionError:
    return PermissionError(errno.EPERM, "no plain file of the gate's user", str(path))


def text(path: Path, uid: int, start: int = 0, limit: int = 65_536) -> str:
    """At most `limit` bytes from `start` on. Raises OSError as `opened` does."""
    handle = opened(path, uid)
    try:
        return os.pread(handle, limit, start).decode(errors="replace")
    finally:
        os.close(handle)
