"""One question to the kernel about its sockets: netlink SOCK_DIAG, see sock_diag(7)."""

from __future__ import annotations

import os
import socket
import struct

from reld.errors import GateError

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")


def dump(request: bytes) -> list[memoryview]:
    """All messages of an answer, without their netlink headers. Raises GateError."""
    messages: list[memoryview] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
            netlink.settimeout(2.0)
            head = _HEADER.pack(16 + len(request), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0)
            netlink.send(head + request)
            while _collect(memoryview(netlink.recv(1 << 18)), messages):
                pass
    except OSError as error:
        raise GateError(f"cannot ask the kernel for connections: {error}") from error
    return messages


def attribute(message: memoryview, start: int, kind: int) -> memoryview | None:
    """The payload of one netlink attribute behind a message's fixed part; None: it has none."""
    at = start
    while at + 4 <= len(message):
        length, found = struct.unpack_from("=HH", message, at)
        if found == kind:
            return message[at + 4 : at + length]
        at += max(4, (length + 3) & ~3)
    return None


def _collect(data: memoryview, messages: list[memoryview]) -> bool:
    while len(data) >= 16:
        length, kind = _HEADER.unpack_from(data)[:2]
        if kind == _DONE:
            return False
        if kind == _ERROR:
            code = -struct.unpack_from("=i", data, 16)[0]
            raise OSError(code, os.strerror(code))
        messages.append(data[16:length])
        data = data[(length + 3) & ~3 :]
    return True
