"""Who is connected to a port, asked of the kernel by netlink SOCK_DIAG: 1.4 ms for 1,000 connections
(psutil needs 59), no root, no package. Formats: sock_diag(7), linux/inet_diag.h.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from reld.core.addresses import socket_path
from reld.nginx import unix_sockets
from reld.nginx.settings import tcp_port
from reld.nginx.sock_diag import attribute, dump

_ESTABLISHED, _SYN_RECV, _LISTEN = 1, 3, 10
# CLOSE_WAIT is left out: there the client has gone, and an app that leaks such sockets would hold a
# drain for ever.
_BUSY = 1 << _ESTABLISHED | 1 << _SYN_RECV
_INFO = 2  # INET_DIAG_INFO: the connection's tcp_info
_KEEPALIVE = 2  # idiag_timer: nothing is under way, and SO_KEEPALIVE is on
_AT_LEAST, _AT_MOST = 4, 5  # INET_DIAG_BC_D_GE, _D_LE: the remote port
_LAST_DATA_SENT, _LAST_DATA_RECEIVED, _BYTES_RECEIVED = 44, 52, 128
PATIENCE = 1.0
"""Seconds without a byte of an answer, from which on a request counts as waiting."""
_MESSAGE = 72  # struct inet_diag_msg
_PORTS = struct.Struct("!HH")


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket: whose it is, and its inode (to find the process)."""

    uid: int
    inode: int


def count(addresses: Iterable[str]) -> int:
    """Connections to all of the addresses together; see `per_address`."""
    return sum(per_address(addresses).values())


def per_address(addresses: Iterable[str]) -> dict[str, int]:
    """Established connections per "ADDRESS:PORT" or "unix:/path", whoever made them.

    On loopback both ends are here; an app in another network namespace or on another machine shows
    only the gate's end: the larger number counts. A TCP address counts by its port alone, since a
    dual-stack app shows IPv4 connections as mapped IPv6 ones. Raises GateError.
    """
    wanted = tuple(addresses)
    ports = {port for port in map(tcp_port, wanted) if port is not None}
    served, asked = _tcp(ports) if ports else ({}, {})
    paths = unix_sockets.count(path for path in map(socket_path, wanted) if path)
    counts: dict[str, int] = {}
    for address in wanted:
        port = tcp_port(address)
        if port is None:
            counts[address] = paths.get(socket_path(address), 0)
        else:
            counts[address] = max(served.get(port, 0), asked.get(port, 0))
    return counts


def waiting(addresses: Iterable[str]) -> dict[str, int]:
    """Requests per "ADDRESS:PORT" that have had no byte of an answer for `PATIENCE`.

    That is: connections to the port (the asking end) whose last data was sent so long ago, and which
    never received any, or none since then. Streams (the gate sets SO_KEEPALIVE on them, see `render`)
    may be silent, so only those count that never received a byte. Always 0 for a Unix socket, whose
    connections tell no times: see `waiting.Waiting`. Costs a few ms for 1,000 connections; ask for
    both slots in one call. Raises GateError.
    """
    found = dict.fromkeys(addresses, 0)
    for family in (socket.AF_INET, socket.AF_INET6):
        # The gate connects with the address's own family, whatever the app listens with.
        ports = {
            port: address
            for address in found
            if (port := tcp_port(address)) and (family == socket.AF_INET6) == (address[0] == "[")
        }
        only = _asking(min(ports), max(ports)) if ports else b""
        for message in _dump(family, 1 << _ESTABLISHED, 1 << (_INFO - 1), only) if ports else ():
            address = ports.get(_PORTS.unpack_from(message, 4)[1])
            if address is not None and _waits(message):
                found[address] += 1
    return found


def streams(addresses: Iterable[str]) -> int | None:
    """Long connections (the gate sets SO_KEEPALIVE on them, see `render`) to the addresses together.

    None: one of them is a Unix socket, whose connections tell nothing of it. Raises GateError.
    """
    wanted = set(map(tcp_port, addresses))
    if None in wanted:
        return None
    return sum(
        message[2] == _KEEPALIVE and _PORTS.unpack_from(message, 4)[1] in wanted
        for family in (socket.AF_INET, socket.AF_INET6)
        for message in _dump(family, 1 << _ESTABLISHED)
    )


def numeric(address: str) -> str:
    """The address in one spelling, an IPv4 address in an IPv6 one as what it is."""
    if tcp_port(address) is None:
        return address
    host, _, port = address.rpartition(":")
    return _address(ipaddress.ip_address(host.strip("[]")).packed, int(port))


def unanswered(address: str) -> int:
    """Connections to "ADDRESS:PORT" that were asked `PATIENCE` ago and never got a byte. Raises GateError."""
    port, family = tcp_port(address), socket.AF_INET6 if address[0] == "[" else socket.AF_INET
    if port is None:
        return 0
    asking = _dump(family, 1 << _ESTABLISHED, 1 << (_INFO - 1), _asking(port, port))
    infos = (attribute(message, _MESSAGE, _INFO) for message in asking)
    return sum(info is not None and _silent(info, may_be=True) for info in infos)


def peers(pids: Iterable[int], own: Iterable[str] = ()) -> dict[str, int]:
    """Established connections of these processes per remote "ADDRESS:PORT": a database's pool.

    `own`: addresses that they serve; who came in there is left out. Costs 7 µs for each open file of
    theirs and 5 µs for each connection of the machine. Raises GateError.
    """
    files: set[str] = set()
    for pid in pids:
        files |= open_files(pid)
    inodes = {int(name[8:-1]) for name in files if name.startswith("socket:[")}
    served = {tcp_port(address) for address in own}
    found: dict[str, int] = {}
    for family in (socket.AF_INET, socket.AF_INET6) if inodes else ():
        for message in _dump(family, 1 << _ESTABLISHED):
            if struct.unpack_from("=I", message, 68)[0] not in inodes:
                continue
            local, port = _PORTS.unpack_from(message, 4)
            if local not in served:
                remote = _address(bytes(message[24 : 28 if family == socket.AF_INET else 40]), port)
                found[remote] = found.get(remote, 0) + 1
    return found


def listeners(address: str) -> tuple[Listener, ...]:
    """Who listens on "ADDRESS:PORT", or on that port of every address. Raises GateError."""
    port = tcp_port(address)
    host = ipaddress.ip_address(address.rpartition(":")[0].strip("[]")) if port else None
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in _dump(family, 1 << _LISTEN):
            if _PORTS.unpack_from(message, 4)[0] != port or host is None:
                continue
            at = ipaddress.ip_address(bytes(message[8 : 12 if family == socket.AF_INET else 24]))
            if at == host or at.is_unspecified or host.is_unspecified:
                uid, inode = struct.unpack_from("=II", message, 64)
                found.append(Listener(uid, inode))
    return tuple(found)


def holders(inodes: Iterable[int]) -> tuple[int, ...]:
    """The processes that have one of these sockets open, as far as we may look."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    return tuple(
        pid
        for pid in sorted(int(n) for n in os.listdir("/proc") if n.isdecimal())
        if wanted and wanted & open_files(pid)
    )


def open_files(pid: int) -> set[str]:
    """Targets of a process's descriptors ("socket:[123]", "/path"); empty when it is gone."""
    found: set[str] = set()
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return found
    for number in numbers:
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{number}"))
        except OSError:
            continue
    return found


def _waits(message: memoryview) -> bool:
    info = attribute(message, _MESSAGE, _INFO)
    return info is not None and _silent(info, may_be=message[2] == _KEEPALIVE)


def _silent(info: memoryview, *, may_be: bool) -> bool:
    if len(info) < _BYTES_RECEIVED + 8:
        return False
    sent, received = (
        struct.unpack_from("=I", info, at)[0] for at in (_LAST_DATA_SENT, _LAST_DATA_RECEIVED)
    )
    if sent < PATIENCE * 1000:
        return False
    if struct.unpack_from("=Q", info, _BYTES_RECEIVED)[0] == 0:
        return True
    # Both are ages in ms: a connection that was used before was asked again, and has not answered.
    return bool(received > sent and not may_be)


def _address(raw: bytes, port: int) -> str:
    host = ipaddress.ip_address(raw)
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    host = mapped or host
    return f"{host}:{port}" if host.version == 4 else f"[{host}]:{port}"


def _tcp(ports: set[int]) -> tuple[dict[int, int], dict[int, int]]:
    served: dict[int, int] = {}
    asked: dict[int, int] = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        for message in _dump(family, _BUSY):
            local, remote = _PORTS.unpack_from(message, 4)
            if local in ports:
                served[local] = served.get(local, 0) + 1
            if remote in ports:
                asked[remote] = asked.get(remote, 0) + 1
    return served, asked


def _asking(first: int, last: int) -> bytes:
    """A program for the kernel: only connections to these ports (struct inet_diag_bc_op)."""
    # "At least", "at most"; on to the next, or behind the end, which means no.
    ports = ((_AT_LEAST, 20, first), (_AT_MOST, 12, last))
    code = b"".join(struct.pack("=BBHBBH", op, 8, no, 0, 0, port) for op, no, port in ports)
    return struct.pack("=HH", 4 + len(code), 1) + code


def _dump(family: int, states: int, extensions: int = 0, only: bytes = b"") -> list[memoryview]:
    return dump(struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, extensions, 0, states) + only)
