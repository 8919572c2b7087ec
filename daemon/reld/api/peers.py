"""Who is at the other end of the Unix socket: what the kernel says, never what the client says."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reld.errors import NotPermitted

_SO_PEERGROUPS = 59  # not named by Python 3.11; asm-generic/socket.h
_GROUPS_BYTES = 1024  # the most that Python's getsockopt takes: 256 groups
_UNSET = 0xFFFFFFFF  # loginuid of a process that no login started
_KEPT = 30.0  # seconds that a looked-up name is believed
_PATIENCE = 1.0  # seconds; a user database behind a network may hang


class PeerSocket(Protocol):
    """The part of a socket that is needed; asyncio hands out such a one."""

    def getsockopt(self, level: int, option: int, length: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the kernel knows, as numbers. `login_uid`: who logged in, also behind sudo.

    `groups` None: the kernel did not say; the user database is asked instead.
    """

    uid: int
    gid: int
    pid: int
    groups: frozenset[int] | None
    login_uid: int | None


@dataclass(frozen=True, slots=True)
class Caller:
    """A peer with names. `name` and `groups` fall back to numbers as text."""

    uid: int
    gid: int
    pid: int
    login_uid: int | None
    name: str
    groups: frozenset[str] = frozenset()
    login_name: str = ""

    @property
    def actor(self) -> str:
        """For receipts: "alice", or "alice (as root)" behind sudo."""
        if self.login_uid is None or self.login_uid == self.uid or not self.login_name:
            return self.name
        return f"{self.login_name} (as {self.name})"

    @property
    def people(self) -> tuple[int, ...]:
        """User ids that stand for this person.

        The one who logged in and the one who asks; root only where nobody logged in: behind sudo it
        stands for everybody. Two callers are different people only if they share none, so a login
        uid that was read of another process makes nobody a second person.
        """
        login = () if self.login_uid is None else (self.login_uid,)
        return login if login and self.uid == 0 else tuple(sorted({self.uid, *login}))


def user_of(sock: PeerSocket) -> int:
    """The uid alone, as in `credentials`. Raises NotPermitted."""
    return _peer(sock)[1]


def credentials(sock: PeerSocket) -> Credentials:
    """Of the process that connected, at the moment when it did.

    Raises:
        NotPermitted: the kernel does not know (not a Unix socket).
    """
    pid, uid, gid = _peer(sock)
    return Credentials(uid, gid, pid, _groups(sock, gid), _login_uid(pid))


def _peer(sock: PeerSocket) -> tuple[int, int, int]:
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        pid, uid, gid = struct.unpack("iII", raw)
    except (OSError, struct.error) as error:
        raise NotPermitted("cannot tell who is asking: not a local Unix socket") from error
    if pid == 0 and uid == _UNSET:
        raise NotPermitted("cannot tell who is asking: not a local Unix socket")
    return pid, uid, gid


def _groups(sock: PeerSocket, gid: int) -> frozenset[int] | None:
    # Groups of the process, as the file system would see them: also right for services that have
    # no entry in the user database. Fails before Linux 4.13 and for more than 256 groups.
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:
        return None
    return frozenset(found for (found,) in struct.iter_unpack("I", raw)) | {gid}


def _login_uid(pid: int) -> int | None:
    # Never to permit anything: the pid may be somebody else's by now.
    try:
        uid = int(Path(f"/proc/{pid}/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if uid == _UNSET else uid


class Directory:
    """Names of users and groups, looked up in a thread: a hanging LDAP must not stop the loop."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="names")
        self._known: dict[Credentials, tuple[float, Caller]] = {}

    async def caller(self, peer: Credentials) -> Caller:
        """Gives numbers for names when the user database does not answer within a second."""
        now = time.monotonic()
        # The pid is no part of the name: one entry for a user, however many commands.
        key = Credentials(peer.uid, peer.gid, 0, peer.groups, peer.login_uid)
        kept = self._known.get(key)
        if kept is None or now >= kept[0]:
            kept = (now + _KEPT, await self._look_up(key))
            if len(self._known) > 256:
                self._known.clear()
            self._known[key] = kept
        found = kept[1]
        return Caller(
            peer.uid,
            peer.gid,
            peer.pid,
            peer.login_uid,
            found.name,
            found.groups,
            found.login_name,
        )

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _look_up(self, peer: Credentials) -> Caller:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_PATIENCE):
                return await loop.run_in_executor(self._executor, _named, peer)
        except TimeoutError:
            groups = frozenset(str(gid) for gid in peer.groups or {peer.gid})
            return Caller(peer.uid, peer.gid, 0, peer.login_uid, str(peer.uid), groups)


def _named(peer: Credentials) -> Caller:
    name, gids = _user(peer.uid), peer.groups
    if gids is None:
        gids = frozenset(os.getgrouplist(name, peer.gid))
    groups = frozenset(text for gid in gids for text in (_group(gid), str(gid)))
    login = "" if peer.login_uid is None else _user(peer.login_uid)
    return Caller(peer.uid, peer.gid, 0, peer.login_uid, name, groups, login)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OSError):
        return str(gid)
