"""A websocket client for visitors in the box (RFC 6455): short texts, answered pings."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import struct

from load import HOST, Lost

_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA


class Ended(Exception):
    """The other side has closed, or is gone."""


class Silent(Exception):
    """Nothing was said for as long as the caller cared."""


class Websocket:
    """Connected. Raises Lost for any other answer than 101: a site must always take one."""

    def __init__(self, path: str, cookie: str, protocol: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", 80), timeout=30)
        self._got = b""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET {path} HTTP/1.1", f"Host: {HOST}", f"Origin: http://{HOST}", f"Cookie: {cookie}",
            "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}", f"Sec-WebSocket-Protocol: {protocol}", "", "",
        )  # fmt: skip
        try:
            self._socket.sendall("\r\n".join(lines).encode())
            while b"\r\n\r\n" not in self._got:
                self._more()
        except (OSError, Ended) as error:
            self._socket.close()
            raise Lost(f"websocket: no answer to the handshake: {error!r}") from error
        head, _, self._got = self._got.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            self._socket.close()
            raise Lost(f"websocket: {head!r}")

    def say(self, text: str) -> None:
        """Raises Ended."""
        self._send(_TEXT, text.encode())

    def hear(self, seconds: float) -> str:
        """The next text. Raises Silent after that long without one, and Ended."""
        self._socket.settimeout(seconds)
        while True:
            opcode, payload = self._frame()
            if opcode == _CLOSE:
                raise Ended("closed")
            if opcode == _PING:
                self._send(_PONG, payload)
            if opcode == _TEXT:
                return payload.decode()

    def _send(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        coded = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        long = len(payload) >= 126
        size = struct.pack("!BH", 0xFE, len(payload)) if long else bytes([0x80 | len(payload)])
        try:
            self._socket.sendall(bytes([0x80 | opcode]) + size + mask + coded)
        except OSError as error:
            raise Ended(repr(error)) from error

    def _frame(self) -> tuple[int, bytes]:
        """What came of it is kept when nothing more comes in time."""
        while (found := _parsed(self._got)) is None:
            self._more()
        opcode, payload, size = found
        self._got = self._got[size:]
        return opcode, payload

    def _more(self) -> None:
        try:
            data = self._socket.recv(4096)
        except TimeoutError as error:
            raise Silent from error
        except OSError as error:
            raise Ended(repr(error)) from error
        if not data:
            raise Ended("hung up" if not self._got else "hung up in the middle of a word")
        self._got += data

    def close(self) -> None:
        with contextlib.suppress(Ended):
            self._send(_CLOSE, struct.pack("!H", 1000))
        self._socket.close()


def _parsed(data: bytes) -> tuple[int, bytes, int] | None:
    """An unmasked frame of less than 64 KiB, as servers send them: its opcode, payload and size."""
    if len(data) < 2:
        return None
    at, size = 2, data[1]
    if size == 126:
        at, size = 4, int.from_bytes(data[2:4], "big")
    if len(data) < at + size:
        return None
    return data[0] & 0x0F, data[at : at + size], at + size
