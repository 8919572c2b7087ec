"""A thin HTTP/1.1 client connection: one request at a time, no retry of anything.

`asyncio.Protocol` and byte searches only: the clients share two cores with what they measure.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar


class RequestError(Exception):
    """A request that got no full answer. `kind` is one of Failure's kinds."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Address:
    """Where the clients go. With `tls`, a context (see `unverified`)."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


def unverified(*protocols: str) -> ssl.SSLContext:
    """A context for the self-signed certificates of tests."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@dataclass(slots=True)
class Response:
    status: int
    head: bytes  # lower-cased
    body: bytes
    keep_alive: bool


_P = TypeVar("_P", bound=asyncio.Protocol)


async def connected(protocol: Callable[[], _P], address: Address, timeout: float) -> _P:
    """A protocol that is connected, TLS included. Raises RequestError (connect)."""
    try:
        async with asyncio.timeout(timeout):
            _, connection = await asyncio.get_running_loop().create_connection(
                protocol, address.host, address.port, ssl=address.tls
            )
    except (OSError, ssl.SSLError, TimeoutError) as error:
        raise RequestError("connect", repr(error)) from error
    return connection


class Connection(asyncio.Protocol):
    """Use `Connection.open`, then `request` again and again while `alive`."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.head = b""
        self.need: int | None = None  # bytes of body; -1 = chunked, -2 = until EOF
        self.waiter: asyncio.Future[Response] | None = None
        self.alive = False
        self.lost = "the server closed the connection"
        self.may_write = asyncio.Event()
        self.may_write.set()

    @classmethod
    async def open(cls, address: Address, timeout: float) -> Connection:
        """Raises RequestError (connect)."""
        return await connected(cls, address, timeout)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.alive = True

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    async def request(self, message: bytes, timeout: float) -> Response:
        """Raises RequestError (reset, eof, timeout, protocol). `timeout` in seconds."""
        return await self.finish(self.start(message), timeout)

    def start(self, message: bytes) -> asyncio.Future[Response]:
        assert self.transport is not None
        self.waiter = self.loop.create_future()
        self.head = b""
        self.transport.write(message)
        return self.waiter

    async def finish(self, waiter: asyncio.Future[Response], timeout: float) -> Response:
        timer = self.loop.call_later(timeout, self.fail, RequestError("timeout", f"{timeout} s"))
        try:
            return await waiter
        finally:
            timer.cancel()

    def close(self) -> None:
        self.alive = False
        if self.transport is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        try:
            self.parse()
        except ValueError as error:
            self.fail(RequestError("protocol", repr(error)))

    def eof_received(self) -> None:
        self.alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        self.may_write.set()
        if exc is not None:
            self.fail(RequestError("reset", repr(exc)))
        elif self.need == -2:
            self.complete(bytes(self.buffer))
        else:
            seen = len(self.head) + len(self.buffer)
            self.fail(RequestError("eof", f"after {seen} bytes of the answer"))

    def fail(self, error: RequestError) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
            self.close()

    def parse(self) -> None:
        while self.need is None:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = bytes(self.buffer[: end + 2]).lower()
            del self.buffer[: end + 4]
            if not self.head.startswith(b"http/1.1 100"):
                self.need = self.body_length()
        if self.need == -1:
            self.parse_chunks()
        elif self.need >= 0 and len(self.buffer) >= self.need:
            body = bytes(self.buffer[: self.need])
            del self.buffer[: self.need]
            self.complete(body)

    def body_length(self) -> int:
        if self.status() in (204, 304):
            return 0
        at = self.head.find(b"\r\ncontent-length:")
        if at >= 0:
            return int(self.head[at + 17 : self.head.index(b"\r\n", at + 2)])
        return -1 if b"\r\ntransfer-encoding: chunked" in self.head else -2

    def status(self) -> int:
        return int(self.head[9:12])

    def parse_chunks(self) -> None:
        at, pieces = 0, []
        while (end := self.buffer.find(b"\r\n", at)) >= 0:
            size = int(self.buffer[at:end], 16)
            at = end + 2 + size + 2
            if len(self.buffer) < at:
                return
            if size == 0:
                del self.buffer[:at]
                self.complete(b"".join(pieces))
                return
            pieces.append(bytes(self.buffer[end + 2 : end + 2 + size]))

    def complete(self, body: bytes) -> None:
        keep = self.need != -2 and b"\r\nconnection: close" not in self.head
        response = Response(self.status(), self.head, body, keep)
        self.need = None
        if not keep:
            self.close()
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(response)
