"""Does what the gate logs arrive here? Asked by a beat a second that goes all the way.

Silence of the log alone says nothing: there may be no requests. A beat that the gate answered and
that never comes back says that the feed is broken.
"""

from __future__ import annotations

import asyncio

from reld.clock import boottime
from reld.nginx.gate import Gate

EVERY = 1.0
LOST_AFTER = 5.0
"""Seconds; the gate flushes its log ten times a second."""


class Pulse:
    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._next = int(boottime() * 1000)  # greater than any that another reld sent
        self._answered: dict[int, float] = {}

    async def keep(self) -> None:
        """Beats until it is cancelled."""
        self._answered.clear()
        while True:
            await self.beat()
            await asyncio.sleep(EVERY)

    async def beat(self) -> None:
        """Once."""
        self._next += 1
        number = self._next
        if await self._gate.beat(number):
            self._answered[number] = boottime()

    def forget(self) -> None:
        """Nobody reads the log for a while: what is on its way says nothing then."""
        self._answered.clear()

    def heard(self, number: int | None) -> None:
        if number is not None:
            self._answered = {n: at for n, at in dict(self._answered).items() if n > number}

    def silence(self) -> str:
        """What is wrong with the feed; "" = nothing, or the gate does not answer at all."""
        oldest = min(self._answered.values(), default=None)
        if oldest is None or boottime() < oldest + LOST_AFTER:
            return ""
        return "the gate answers, and its request log stays silent: nothing can be judged"
