"""Long connections (websockets, event streams) from the gate to a slot that leaves: closed one at a time.

Which they are the socket tells: the gate sets SO_KEEPALIVE on connections of its stream locations, and
on no other (see `render`), so uploads and downloads are left alone. To close one, the gate's end is
copied with pidfd_getfd(2) and shut for reading. nginx then meets an end of file as if the app had hung
up: it sends the client what it still holds, closes both ends in order, and the app is told by a FIN.

That takes the right to ptrace the gate. Who has not got it (a reld that is not root, under Yama's
ptrace_scope) cannot close anything here: NotPermitted.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto

from reld.errors import GateError
from reld.nginx.connections import numeric
from reld.nginx.master import Process, start_ticks

_PIDFD_GETFD = 438  # the same number on every architecture
_FORBIDDEN = (errno.EPERM, errno.EACCES, errno.ENOSYS)
_LAST_DATA_SENT, _LAST_DATA_RECEIVED = 44, 52  # in struct tcp_info: milliseconds ago
_TCP_INFO = 104
ANSWERED_WITHIN = 1.0
"""Seconds after which nobody waits for an answer to what the client said last."""
_libc = ctypes.CDLL(None, use_errno=True)


class NotPermitted(GateError):
    """The kernel does not let us have the gate's sockets."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One connection: descriptor `number` of a worker of the gate."""

    worker: Process
    number: int
    inode: int


class Closing(Enum):
    CLOSED = auto()
    BUSY = auto()  # something is under way: ask again
    GONE = auto()


class Streams:
    """Those to some addresses ("ADDRESS:PORT" or "unix:/path")."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._addresses = frozenset(map(numeric, addresses))
        self._known: dict[tuple[int, int], bool] = {}  # a socket does not change what it is

    def find(self, workers: Iterable[Process]) -> tuple[Stream, ...]:
        """All that are open, in no order. Costs 3 µs for each file that the workers have open, and
        10 µs for each socket that was not there before. Raises NotPermitted.
        """
        found, seen = [], set()
        for worker in workers:
            for number, inode in _sockets(worker):
                key = (worker.pid, inode)
                stream = self._known.get(key)
                if stream is None and (stream := self._is_stream(worker, number, inode)) is None:
                    continue
                self._known[key] = stream
                seen.add(key)
                if stream:
                    found.append(Stream(worker, number, inode))
        self._known = {key: self._known[key] for key in seen}
        return tuple(found)

    def close(self, stream: Stream, quiet: float) -> Closing:
        """Closes it, if nothing was said on it for `quiet` seconds, and nothing is on its way, nor an answer
        to be expected; with 0 seconds only the bytes on their way count.

        Raises NotPermitted.
        """
        with _copy(stream.worker, stream.number, stream.inode) as end:
            if end is None or not self._ours(end):
                return Closing.GONE
            if _queued(end) or (quiet and _talks(end, quiet)):
                return Closing.BUSY
            with suppress(OSError):  # it ended by itself
                end.shutdown(socket.SHUT_RD)
            return Closing.CLOSED

    def _is_stream(self, worker: Process, number: int, inode: int) -> bool | None:
        """None: it is gone, or not connected yet."""
        with _copy(worker, number, inode) as end:
            return None if end is None else self._ours(end)

    def _ours(self, end: socket.socket) -> bool:
        kept = end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        with suppress(OSError):
            return bool(kept) and _peer(end) in self._addresses
        return False


def _sockets(worker: Process) -> Iterator[tuple[int, int]]:
    """Numbers and inodes of its sockets."""
    place = f"/proc/{worker.pid}/fd"
    try:
        names = os.listdir(place)
    except OSError as error:
        if error.errno in _FORBIDDEN:
            raise _not_permitted(error) from error
        return
    for name in names:
        with suppress(OSError):
            target = os.readlink(f"{place}/{name}")
            if target.startswith("socket:["):
                yield int(name), int(target[8:-1])


@contextmanager
def _copy(worker: Process, number: int, inode: int) -> Iterator[socket.socket | None]:
    """Our copy of exactly this socket, for as long as the block runs: a copy keeps it open.

    None: it is gone.
    """
    copy = _copied(worker, number)
    if copy < 0:
        yield None
        return
    try:
        end = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        yield None
        return
    with end:
        yield end if os.fstat(copy).st_ino == inode else None


def _copied(worker: Process, number: int) -> int:
    try:
        handle = os.pidfd_open(worker.pid)
    except OSError:
        return -1
    try:
        if start_ticks(worker.pid) != worker.start_ticks:
            return -1
        copy = int(_libc.syscall(_PIDFD_GETFD, handle, number, 0))
        code = ctypes.get_errno()
        if copy < 0 and code in _FORBIDDEN:
            raise _not_permitted(OSError(code, os.strerror(code)))
        return copy
    finally:
        os.close(handle)


def _not_permitted(error: OSError) -> NotPermitted:
    return NotPermitted(
        f"cannot reach the gate's connections: {error.strerror}",
        hint="reld as root, or kernel.yama.ptrace_scope = 0",
    )


def _peer(end: socket.socket) -> str:
    if end.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        return ""  # what a worker has open is its own to say
    peer = end.getpeername()
    if end.family == socket.AF_UNIX:
        return f"unix:{peer}"
    host, port = peer[0], peer[1]
    return numeric(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _queued(end: socket.socket) -> int:
    """Bytes that were not read yet, on both sides."""
    total = 0
    for question in (termios.FIONREAD, termios.TIOCOUTQ):
        total += struct.unpack("i", fcntl.ioctl(end, question, b"\0" * 4))[0]
    return total


def _talks(end: socket.socket, quiet: float) -> bool:
    """Either side said something lately, or the client did, and the app may be about to answer."""
    if end.family == socket.AF_UNIX:  # it does not tell
        return False
    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO)
    asked, said = (
        struct.unpack_from("=I", info, at)[0] / 1000
        for at in (_LAST_DATA_SENT, _LAST_DATA_RECEIVED)
    )
    return bool(min(asked, said) < quiet or (asked < said and asked < ANSWERED_WITHIN))
