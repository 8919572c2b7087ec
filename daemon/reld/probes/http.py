"""One HTTP/1.1 request over asyncio's streams, read carefully and bounded in every direction.

Its own client because it is light (an aiohttp session per probe costs ten times as much), because it
needs unix sockets and exact headers, and because it must tell apart what a pool hides.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

MAX_BODY = 65536
MAX_HEAD = 65536
_BAD = re.compile(r"[\r\n\0]")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: ([^\r\n]*))?\Z")


class HttpTrouble(Exception):
    """Why there is no usable answer, as half a sentence."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` holds 64 KiB at most; header names are in lower case."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


async def ask(
    address: str, method: str, path: str, headers: tuple[tuple[str, str], ...], body: bytes
) -> Answer:
    """Send one request and read the answer; the caller sets the time limit.

    `address` is "127.0.0.1:PORT" or "unix:/path"; `headers` are sent as they are, Content-Length and
    `Connection: close` are added.

    Raises:
        HttpTrouble: the request cannot be written, or the answer is not HTTP or was cut off.
        OSError: no connection, or it broke.
    """
    request = _request(method, path, headers, body)
    async with connection(address) as (reader, writer):
        writer.write(request)
        try:
            return await _answer(reader, method)
        except asyncio.LimitOverrunError:
            raise HttpTrouble("a line of the answer is too long") from None
        except asyncio.IncompleteReadError as cut:
            if cut.partial:
                raise HttpTrouble("the answer was cut off") from None
            raise HttpTrouble("the connection was closed without an answer") from None
        except ValueError as wrong:
            raise HttpTrouble(f"the answer is not HTTP: {wrong}") from None


@contextlib.asynccontextmanager
async def connection(
    address: str,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to "HOST:PORT" or "unix:/path"; closed at once at the end, whatever is still unsent."""
    if address.startswith("unix:"):
        with _socket_at(address.removeprefix("unix:")) as path:
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_HEAD)
    else:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=MAX_HEAD)
    try:
        yield reader, writer
    finally:
        # Not `close`: that waits for the peer to take what is still to be sent.
        if writer.transport.get_write_buffer_size():
            writer.transport.abort()
        else:
            writer.close()


@contextlib.contextmanager
def _socket_at(path: str) -> Iterator[str]:
    """What to connect to. Raises OSError, HttpTrouble.

    The directory may be the app's, and we are root: a link of the app's would have us say our request,
    and show the answer, to a socket that the app's user may not open (of Docker, of another app).
    """
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(handle)
        if not stat.S_ISLNK(found.st_mode):
            yield f"/proc/self/fd/{handle}"
        elif found.st_uid in (0, os.geteuid()):
            yield path
        else:
            raise HttpTrouble(f"{path} is a link of another user's, and no socket")
    finally:
        os.close(handle)


def _request(method: str, path: str, headers: tuple[tuple[str, str], ...], body: bytes) -> bytes:
    if not _TOKEN.fullmatch(method):
        raise HttpTrouble(f"cannot be asked: {method!r} is no HTTP method")
    if not path.startswith("/") or _BAD.search(path) or " " in path:
        raise HttpTrouble(f"cannot be asked: {path!r} is no path")
    lines = [f"{method} {path} HTTP/1.1"]
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or _BAD.search(value):
            raise HttpTrouble(f"cannot be asked: header {name!r} holds what a header must not")
        lines.append(f"{name}: {value}")
    if body or method in {"POST", "PUT", "PATCH"}:
        lines.append(f"Content-Length: {len(body)}")
    lines += ["Connection: close", "", ""]
    return "\r\n".join(lines).encode("utf-8") + body


async def _answer(reader: asyncio.StreamReader, method: str) -> Answer:
    while True:
        status, reason, headers = await _head(reader)
        if status >= 200:
            break
        if status == 101:
            raise HttpTrouble("answered 101 Switching Protocols to an ordinary request")
    if method == "HEAD" or status in {204, 304}:
        return Answer(status, reason, headers, b"")
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = await _chunked(reader)
    elif "content-length" in headers:
        body = await _counted(reader, headers["content-length"])
    else:
        body = await _up_to(reader, MAX_BODY)
    return Answer(status, reason, headers, body)


async def _head(reader: asyncio.StreamReader) -> tuple[int, str, dict[str, str]]:
    first = await _line(reader)
    match = _STATUS_LINE.match(first)
    if match is None:
        raise ValueError(f"it begins with {first[:60]!r}")
    headers: dict[str, str] = {}
    size = len(first)
    while True:
        line = await _line(reader)
        if not line:
            return int(match[1]), (match[2] or b"").decode("latin-1").strip(), headers
        size += len(line)
        if size > MAX_HEAD:
            raise ValueError("its headers are longer than 64 KiB")
        name, colon, value = line.partition(b":")
        if not colon:
            raise ValueError(f"a header without a colon: {line[:60]!r}")
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1").strip())


async def _line(reader: asyncio.StreamReader) -> bytes:
    return (await reader.readuntil(b"\n")).rstrip(b"\r\n")


async def _counted(reader: asyncio.StreamReader, length: str) -> bytes:
    if not (length.isascii() and length.isdigit()):
        raise ValueError(f"Content-Length is {length[:40]!r}")
    wanted = int(length)
    body = await _up_to(reader, min(wanted, MAX_BODY))
    if len(body) < min(wanted, MAX_BODY):
        raise HttpTrouble(f"the answer was cut off after {len(body)} of {wanted} bytes")
    return body


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    body = b""
    try:
        while len(body) < MAX_BODY:
            head = (await _line(reader)).split(b";", 1)[0].strip()
            size = int(head, 16)
            if size < 0:
                raise ValueError(f"a chunk of size {head[:20]!r}")
            if size == 0:
                return body
            piece = min(size, MAX_BODY - len(body))
            body += await reader.readexactly(piece)
            if piece == size:
                await reader.readexactly(2)
    except asyncio.IncompleteReadError as end:
        got = len(body) + len(end.partial)
        raise HttpTrouble(f"the answer was cut off after about {got} bytes") from None
    return body


async def _up_to(reader: asyncio.StreamReader, count: int) -> bytes:
    """`count` bytes, or fewer where the stream ends before."""
    try:
        return await reader.readexactly(count)
    except asyncio.IncompleteReadError as end:
        return end.partial
