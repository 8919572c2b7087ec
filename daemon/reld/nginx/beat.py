"""Asking the gate to write a line: does what it logs arrive here?"""

from __future__ import annotations

import asyncio

from reld.nginx.settings import GateSettings


async def beat(settings: GateSettings, number: int, timeout: float = 1.0) -> bool:
    """Has the gate log `number` (0 … 10^15 - 1); False when it does not answer in `timeout` seconds.

    It comes back as `counting.Counted.beat`, some 100 ms later.
    """
    host, _, port = settings.status.rpartition(":")
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(f"GET /beat/{number} HTTP/1.0\r\n\r\n".encode())
                return (await reader.read(64)).startswith(b"HTTP/1.1 204 ")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
