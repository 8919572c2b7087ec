"""The gate's own word on what it serves: its status endpoint."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from reld.nginx.settings import GateSettings


@dataclass(frozen=True, slots=True)
class Answer:
    """`slot` is a colour when a lane was asked for, else ""."""

    app: str
    boot: str
    generation: int
    slot: str = ""


async def ask(settings: GateSettings, path: str = "/", timeout: float = 1.0) -> Answer | None:
    """None when nothing answers within `timeout` seconds, or something that is no gate."""
    try:
        async with asyncio.timeout(timeout):
            raw = await _get(settings.status, path)
    except (OSError, TimeoutError, asyncio.LimitOverrunError):
        return None
    head, _, body = raw.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return None
    words = body.decode(errors="replace").split()
    if len(words) not in (3, 4) or not words[2].isdecimal():
        return None
    return Answer(words[0], words[1], int(words[2]), words[3] if len(words) == 4 else "")


async def _get(address: str, path: str) -> bytes:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n".encode())
        return await _all(reader)
    finally:
        writer.close()


async def _all(reader: asyncio.StreamReader) -> bytes:
    # Bounded: whoever listens there is not necessarily a gate.
    raw = b""
    while len(raw) < 8192 and (more := await reader.read(8192)):
        raw += more
    return raw
