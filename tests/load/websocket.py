"""Websocket clients: echo something every 100 ms, note when and how the connection ended."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import struct
import time

from tests.apps.knobs import parse_frame
from tests.load.clients import BACK_OFF
from tests.load.http1 import Address, RequestError
from tests.load.tally import Closed, Tally

CLEAN = (1000, 1001)


def masked(opcode: int, payload: bytes) -> bytes:
    """One short frame, as clients send them (RFC 6455, section 5.3)."""
    assert len(payload) < 126
    mask = os.urandom(4)
    coded = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return struct.pack("!BB", 0x80 | opcode, 0x80 | len(payload)) + mask + coded


class EndedError(Exception):
    """The server closed the websocket."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


async def websocket_echoes(
    address: Address,
    tally: Tally,
    stop: asyncio.Event,
    *,
    every: float = 0.1,
    timeout: float = 10.0,
) -> None:
    """Each echo is a success. A close by the server goes to `tally.closed` (and the client connects
    again); a failed handshake, a wrong or late echo is a failure."""
    while not stop.is_set():
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(timeout):
                reader, writer, release = await shake_hands(address)
            await converse(reader, writer, tally, stop, release, every, timeout)
        except EndedError as end:
            tally.closed.append(Closed(end.code, release, time.monotonic()))
        except RequestError as error:
            tally.fail(error.kind, error.detail)
            await asyncio.sleep(BACK_OFF)
        except TimeoutError:
            tally.fail("timeout", f"websocket: {timeout} s")
        except (OSError, ssl.SSLError, EOFError) as error:
            tally.fail("connect", f"websocket: {error!r}")
            await asyncio.sleep(BACK_OFF)
        finally:
            if writer is not None:
                writer.close()


async def shake_hands(
    address: Address,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=address.tls)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: {address.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except BaseException:
        writer.close()
        raise
    status, _, rest = head.partition(b"\r\n")
    if b" 101 " not in status:
        writer.close()
        raise RequestError("status", f"websocket: {status!r}")
    release = ""
    for line in rest.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"x-release":
            release = value.strip().decode()
    return reader, writer, release


async def converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    tally: Tally,
    stop: asyncio.Event,
    release: str,
    every: float,
    timeout: float,
) -> None:
    buffer = bytearray()
    number = 0
    while not stop.is_set():
        number += 1
        payload, began = str(number).encode(), time.monotonic()
        try:
            writer.write(masked(0x1, payload))
            async with asyncio.timeout(timeout):
                echo = await next_frame(reader, buffer)
        except OSError as error:
            raise EndedError(1006) from error
        if echo != payload:
            raise RequestError("mixed", f"websocket: sent {payload!r}, got {echo!r}")
        tally.succeed(release, began)
        try:
            async with asyncio.timeout(every):
                late = await next_frame(reader, buffer)
            raise RequestError("mixed", f"websocket: {late!r} was not asked for")
        except TimeoutError:
            continue
    writer.write(masked(0x8, struct.pack("!H", 1000)))


async def next_frame(reader: asyncio.StreamReader, buffer: bytearray) -> bytes:
    """Raises EndedError when the server closes."""
    while (found := parse_frame(buffer)) is None:
        try:
            data = await reader.read(4096)
        except OSError as error:
            raise EndedError(1006) from error
        if not data:
            raise EndedError(1006)
        buffer += data
    opcode, payload, size = found
    del buffer[:size]
    if opcode == 0x8:
        raise EndedError(struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005)
    return payload
