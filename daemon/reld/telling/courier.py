"""Tells one target everything, in order: again and again for a while, then it is given up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from reld.telling.message import Message
from reld.telling.target import NotTold, Target
from reld.telling.waiting import PER_MINUTE, Waiting

log = logging.getLogger("reld.telling")

Told = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds: between two tries (it doubles), and until a message is given up."""

    first_pause: float = 1.0
    longest_pause: float = 60.0
    until: float = 600.0
    per_minute: int = PER_MINUTE


LIMITS = Limits()


class Courier:
    """`told` is called for each message that arrived."""

    def __init__(self, name: str, target: Target, told: Told, limits: Limits) -> None:
        self.name = name
        self.told = 0
        self.lost = 0
        self.trouble = ""
        self.target = target
        self._told = told
        self._limits = limits
        self._waiting = Waiting(limits.per_minute)
        self._wake = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()
        self._telling = 0
        self._running: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting) + self._telling

    def put(self, message: Message) -> None:
        """Never waits."""
        self._waiting.put(message)
        self.idle.clear()
        self._wake.set()
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name=f"tell {self.name}")

    async def close(self) -> None:
        """What is not told now is not told."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def once(self, message: Message) -> str:
        """At once, and one try. Raises NotTold."""
        try:
            return await self.target.tell(message)
        except NotTold:
            raise
        except Exception as error:  # its text may have a secret in it
            raise NotTold(f"a bug of reld's ({type(error).__name__})") from None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not len(self._waiting):
                self.idle.set()
                self._wake.clear()
                await self._wake.wait()
            pause = self._waiting.pause(loop.time())
            if pause:
                await asyncio.sleep(pause)
                continue
            self._telling = 1
            await self._deliver(self._waiting.take(loop.time()))
            self._telling = 0

    async def _deliver(self, message: Message) -> None:
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self._limits.until, self._limits.first_pause
        while True:
            try:
                await self.once(message)
            except NotTold as error:
                wait = max(pause, error.after)
                if error.final or loop.time() + wait > until:
                    self._give_up(message, error.why)
                    return
                if error.why != self.trouble:
                    log.warning("cannot tell %s: %s, it is tried again", self.name, error.why)
                self.trouble = error.why
                await asyncio.sleep(wait)
                pause = min(pause * 2, self._limits.longest_pause)
            else:
                break
        self.told += message.stands_for
        if self.trouble:
            log.info("%s can be told again", self.name)
        self.trouble = ""
        await self._told(message)

    def _give_up(self, message: Message, why: str) -> None:
        self.lost += message.stands_for
        self.trouble = why
        log.warning("%s was not told (%s): %s", self.name, message.what, why)
