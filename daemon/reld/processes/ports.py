"""Which ports are free, and whose a listener is."""

from __future__ import annotations

import ipaddress
import os
import pwd
import socket
import struct
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reld.core.model import Identity
from reld.errors import PrepareError
from reld.processes.identity import alive, every_stat

_LISTEN = "0A"
_LOOPBACK = ipaddress.ip_address("127.0.0.1")


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket. `pid` is None where the process cannot be found (rights)."""

    address: str
    port: int
    uid: int
    inode: int
    pid: int | None = None

    def __str__(self) -> str:
        with suppress(KeyError):
            owner = pwd.getpwuid(self.uid).pw_name
            return self._text(owner)
        return self._text(f"uid {self.uid}")

    def _text(self, owner: str) -> str:
        if self.pid is None:
            return f"a process of {owner}"
        name = "a process"
        with suppress(OSError):
            name = Path(f"/proc/{self.pid}/comm").read_text("utf-8", "replace").strip()
        return f"{name} (pid {self.pid}, {owner})"


def free_ports(first: int, last: int, count: int, avoid: set[int]) -> tuple[int, ...]:
    """`count` ports of first … last that nobody has, lowest first.

    A port is free if it can be bound on 127.0.0.1 *without* SO_REUSEADDR: then every app can, whatever
    it sets. Where there are too few of those, ports with mere remnants of connections (TIME_WAIT) do:
    nearly every server sets SO_REUSEADDR.

    Raises:
        PrepareError: too few; names who has them.
    """
    candidates = [port for port in range(first, last + 1) if port not in avoid]
    free = _bindable(candidates, count, _bind_plainly)
    if len(free) < count:
        left = [port for port in candidates if port not in free]
        free += _bindable(left, count - len(free), _bind_over_remnants)
    if len(free) == count:
        return tuple(sorted(free))
    raise PrepareError(
        f"cannot find {count} free {'port' if count == 1 else 'ports'} in {first}–{last}: "
        + _who_has(candidates, free, avoid & set(range(first, last + 1))),
        "end what listens there, or give `[ports] range` a wider range",
    )


def listener(port: int) -> Listener | None:
    """Who answers on 127.0.0.1:port, with its pid if that can be seen; None: nobody."""
    answering = _answering(port)
    if not answering:
        return None
    found = answering[0]
    for stat in every_stat().values():
        if found.inode in _socket_inodes(stat.pid):
            return Listener(found.address, found.port, found.uid, found.inode, stat.pid)
    return found


def listens_on(port: int) -> str:
    """The address of whoever answers on 127.0.0.1:port: "127.0.0.1", "0.0.0.0", "::"; "" = nobody."""
    answering = _answering(port)
    return answering[0].address if answering else ""


def owned_by(port: int, members: Iterable[Identity]) -> bool:
    """Whether everyone who can be given a connection to 127.0.0.1:port is of these processes.

    By the sockets' inodes in /proc/PID/fd; where reld has no right to look there, by user.
    """
    answering = _answering(port)
    wanted = {found.inode for found in answering}
    if not wanted:
        return False
    unseen: set[int] = set()
    for member in members:
        if not alive(member):
            continue
        try:
            wanted -= _look(member.pid)
        except PermissionError:
            with suppress(OSError):
                unseen.add(os.stat(f"/proc/{member.pid}").st_uid)
        if not wanted:
            return True
    return bool(unseen) and all(f.uid in unseen for f in answering if f.inode in wanted)


def listening_ports(members: Iterable[Identity]) -> tuple[int, ...]:
    """TCP ports that these processes listen on, on whatever address."""
    inodes: set[int] = set()
    for member in members:
        inodes |= _socket_inodes(member.pid)
    return tuple(sorted({found.port for found in _listeners() if found.inode in inodes}))


def _bindable(ports: list[int], count: int, bind: Callable[[int], bool]) -> list[int]:
    free: list[int] = []
    for port in ports:
        if len(free) == count:
            break
        if bind(port):
            free.append(port)
    return free


def _bind_plainly(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _bind_over_remnants(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            # Bound by two is possible with this option; listening is not.
            probe.listen(1)
        except OSError:
            return False
    return True


def _who_has(candidates: list[int], free: Collection[int], avoided: set[int]) -> str:
    reasons = []
    for port in [port for port in candidates if port not in free][:3]:
        holder = listener(port)
        reasons.append(f"{port} is held by {holder or 'a process that does not listen yet'}")
    if avoided:
        reasons.append(f"{len(avoided)} leased or resting")
    return "; ".join(reasons) if reasons else "the range is too small"


def _answering(port: int) -> list[Listener]:
    """The kernel prefers the most specific address: 127.0.0.1 before 0.0.0.0 before [::]."""
    ranked: dict[int, list[Listener]] = {}
    for found in _listeners():
        if found.port == port:
            rank = _rank(found.address)
            if rank is not None:
                ranked.setdefault(rank, []).append(found)
    return ranked[min(ranked)] if ranked else []


def _rank(address: str) -> int | None:
    ip = ipaddress.ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    if _LOOPBACK in (ip, mapped):
        return 0
    if ip.is_unspecified:
        return 1 if ip.version == 4 else 2
    return None


def _listeners() -> list[Listener]:
    return [*_read("/proc/net/tcp"), *_read("/proc/net/tcp6")]


def _read(table: str) -> list[Listener]:
    found = []
    try:
        with open(table, encoding="ascii") as file:
            next(file, None)
            for line in file:
                fields = line.split()
                # The kernel lists all listeners before the first connection: no need to read those.
                if fields[3] != _LISTEN:
                    break
                address, port = fields[1].split(":")
                found.append(
                    Listener(_address(address), int(port, 16), int(fields[7]), int(fields[9]))
                )
    except OSError:
        pass  # no IPv6 on this machine
    return found


def _address(text: str) -> str:
    # Words of four bytes, each in the machine's own order.
    words = [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]
    raw = struct.pack(f"={len(words)}I", *words)
    return str(ipaddress.ip_address(raw))


def _look(pid: int) -> set[int]:
    inodes: set[int] = set()
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, ProcessLookupError):
        return inodes
    for name in names:
        with suppress(FileNotFoundError, ProcessLookupError):
            target = os.readlink(f"{folder}/{name}")
            if target.startswith("socket:["):
                inodes.add(int(target[8:-1]))
    return inodes


def _socket_inodes(pid: int) -> set[int]:
    with suppress(PermissionError):
        return _look(pid)
    return set()
