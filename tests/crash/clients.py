"""Clients that keep their connection, POST, never send anything twice, and forget no answer."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from typing import Any, NamedTuple

from tests.load.clients import BACK_OFF, BODY, pause
from tests.load.http1 import Address, Connection, RequestError
from tests.load.load import Load, Mix
from tests.load.requests import new_id, post, release_of
from tests.load.tally import Tally
from tests.rig import LoadInThread, wait_for

FEW = Mix(8, 0, 0, 0, 0, 0, think=0.08, limit=3600.0)
CROWD = Mix(64, 0, 0, 0, 0, 0, think=0.5, limit=3600.0)
QUIET = Mix(3, 0, 0, 0, 0, 0, think=0.3, limit=3600.0)
_WHO = re.compile(r'"release": "([^"]+)"')


class Sent(NamedTuple):
    """A request that was sent, on the monotonic clock. `why` "": it was answered as it should be."""

    began: float
    ended: float
    release: str  # who answered, be it with an error; "" = nobody, the request is lost
    why: str

    @property
    def lost(self) -> bool:
        return not self.release


class Remembering(Tally):
    """A tally with every single request."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []

    def answered(self, began: float, release: str, why: str = "") -> None:
        self.sent.append(Sent(began, time.monotonic(), release, why))


async def remembered_posts(
    address: Address, tally: Remembering, stop: asyncio.Event, *, think: float, timeout: float
) -> None:
    """One POST after the other on one connection; a new one only if it is known to be closed."""
    connection: Connection | None = None
    while not stop.is_set():
        request_id, began = new_id(), time.monotonic()
        try:
            if connection is None or not connection.alive:
                connection = await Connection.open(address, timeout)
            message = post(address.host, "/echo", request_id, BODY)
            response = await connection.request(message, timeout)
            release = release_of(response.status, response.body, request_id, len(BODY))
            tally.succeed(release, began)
            tally.answered(began, release)
        except RequestError as error:
            who = _WHO.search(error.detail) if error.kind == "status" else None
            tally.fail(error.kind, f"{request_id}: {error.detail}")
            tally.answered(began, who[1] if who else "", f"{error.kind}: {error.detail}")
            await asyncio.sleep(BACK_OFF)
        await pause(stop, think)
    if connection is not None:
        connection.close()


class _Load(Load):
    def add(self, kind: str, client: Any, address: Address | None, **settings: Any) -> None:
        assert address is not None
        tally = Remembering()
        self.kinds.setdefault(kind, []).append(tally)
        coroutine = remembered_posts(address, tally, self.ending, **settings)
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine))


class Clients(LoadInThread):
    """They can be asked what they saw while they go on."""

    def __init__(self, port: int, mix: Mix) -> None:
        super().__init__(port, None, mix, _Load)

    def sent(self, since: float = 0.0, until: float = float("inf")) -> list[Sent]:
        """What ended in that time."""
        tallies = [t for found in self._load.kinds.values() for t in found]
        return [
            one
            for tally in tallies
            if isinstance(tally, Remembering)
            for one in tuple(tally.sent)
            if since <= one.ended <= until
        ]

    def wait_for(self, requests: int, within: float = 60.0) -> None:
        """Until that many more were answered, be it with an error."""
        goal = len(self.sent()) - len(self.lost()) + requests
        wait_for(lambda: len(self.sent()) - len(self.lost()) >= goal, within, "nobody is answered")

    def lost(self, since: float = 0.0) -> list[Sent]:
        return [one for one in self.sent(since) if one.lost]

    def answered(self, since: float, until: float) -> Counter[str]:
        """Answers by release."""
        return Counter(one.release for one in self.sent(since, until) if not one.lost)
