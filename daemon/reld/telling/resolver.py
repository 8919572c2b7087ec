"""Looks up names in a thread of its own, which nobody waits for at the end.

A name server that is silent keeps getaddrinfo(3) for half a minute. In the common threads that would be in
the way of the gate's log, and of the end of reld.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver


class LookupHangsError(OSError):
    """The last one has not ended yet."""


class Resolver(AbstractResolver):
    """One look-up at a time."""

    def __init__(self) -> None:
        self._asking = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[Any]:
        """Raises OSError."""
        if self._asking:
            raise LookupHangsError
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Any]] = loop.create_future()

        def settle(answer: list[Any] | OSError) -> None:
            self._asking = False
            if found.done():
                return
            if isinstance(answer, OSError):
                found.set_exception(answer)
            else:
                found.set_result(answer)

        def ask() -> None:
            answer: list[Any] | OSError
            try:
                answer = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
            except OSError as error:
                answer = error
            except UnicodeError:
                answer = socket.gaierror(socket.EAI_NONAME, "not a name")
            try:
                loop.call_soon_threadsafe(settle, answer)
            except RuntimeError:  # the loop is closed: reld has ended
                return

        self._asking = True
        threading.Thread(target=ask, name="lookup", daemon=True).start()
        return [
            {
                "hostname": host,
                "host": address[0],
                "port": address[1],
                "family": kind,
                "proto": proto,
                "flags": socket.AI_NUMERICHOST,
            }
            for kind, _, proto, _, address in await found
        ]

    async def close(self) -> None:
        """Nothing is open."""
