"""What leaves the machine: metrics for whoever asks, and messages to whoever wants to be told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from reld.alerts import Alert, Raised
from reld.api.clock import iso
from reld.api.service import Vitals
from reld.clock import boottime, offset
from reld.config import Config, Notify
from reld.core.model import State
from reld.errors import RelctlError
from reld.host.chores import for_ever
from reld.host.roster import Roster
from reld.host.sensor import Sensor
from reld.metrics.scrape import Scrape
from reld.metrics.textfile import TextFile
from reld.narrate import News
from reld.nginx.settings import tcp_port
from reld.processes.spec import Launcher
from reld.store.database import Store
from reld.telling.ledger import FILE, Ledger
from reld.telling.rounds import Rounds
from reld.telling.target import Target
from reld.telling.teller import Means, Teller

OLDEST = 24 * 3600.0
"""Seconds: an end that is older is no news."""


@dataclass(frozen=True, slots=True)
class Parts:
    """`config`: as it is in use; `todays`: as the file is now, raises ConfigError. `found`: the state at the start; `booted`: the boot before it, "" =
    this one.
    """

    config: Callable[[], Config]
    todays: Callable[[], Config]
    state: Callable[[], State]
    found: State
    booted: str
    place: Path
    store: Store
    sensor: Sensor
    roster: Roster
    launcher: Launcher


class Outside:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._vitals: Callable[[], Vitals] = _no_vitals
        last = parts.found.last
        means = Means(
            parts.found.app,
            lambda: parts.config().notify,
            self._target,
            Ledger(parts.place / FILE),
            lambda: iso(boottime() + offset()),
        )
        self.teller = Teller(means, last.id if last is not None else 0)
        self._scrape = Scrape(
            parts.state,
            self._measured,
            answered=parts.sensor.totals.answered,
            feed=parts.sensor.feed,
            outcomes=parts.store.outcomes,
            probes=self._probes,
            places=self._places,
            addressees=self.teller.counted,
        )
        self._textfile = TextFile(lambda: parts.config().metrics.textfile or "", self._scrape.page)
        self._rounds = Rounds(lambda: parts.sensor.feed().silent, self._places, self.teller.alarm)

    async def metrics(self) -> bytes:
        """The page of GET /metrics."""
        return await self._scrape.page()

    async def tell_all(self) -> dict[str, Any]:
        """A test for those of the config file as it is now. Raises ConfigError."""
        today = await asyncio.to_thread(self._parts.todays)
        targets = await self.teller.test(today.notify)
        return {"targets": targets, "pending": today.notify != self._parts.config().notify}

    def hear(self, after: State, news: Iterable[News], alarms: Iterable[Raised]) -> None:
        self.teller.hear(after, news, alarms)

    def ended(self, receipt: Mapping[str, Any]) -> None:
        self.teller.ended(receipt)

    def chores(
        self,
        vitals: Callable[[], Vitals],
        receipt_of: Callable[[int], Awaitable[dict[str, Any] | None]],
    ) -> list[asyncio.Task[None]]:
        """What goes on beside the engine. `receipt_of` a rollout that is over."""
        self._vitals = vitals
        return [
            asyncio.create_task(for_ever(self._textfile.keep)),
            asyncio.create_task(for_ever(self._rounds.keep)),
            asyncio.create_task(for_ever(self._parts.sensor.beat)),
            asyncio.create_task(self._begin(receipt_of)),
        ]

    async def finish(self) -> None:
        """Reld stops. Takes some seconds at most."""
        await self.teller.finish()
        self._textfile.finish()

    async def _begin(self, receipt_of: Callable[[int], Awaitable[dict[str, Any] | None]]) -> None:
        await self.teller.begin()
        if self._parts.booted:
            told = "the machine was rebooted: what was live is started again"
            self.teller.alarm(Raised(Alert.REBOOTED, told))
        last = self._parts.found.last
        if last is None or not self._parts.config().notify:
            return
        with contextlib.suppress(RelctlError):
            receipt = await receipt_of(last.id)
            if receipt is not None and receipt["outcome"] and _is_news(receipt):
                await self.teller.catch_up(receipt)

    def _target(self, notify: Notify) -> Target:
        if notify.command:
            from reld.telling.command import Command

            state = self._parts.found
            port = tcp_port(self._parts.config().gate.listen)
            return Command(notify, self._parts.launcher, f"{state.app}.{state.boot[:8]}.{port}")
        from reld.telling.webhook import Webhook  # only who has one pays for it

        return Webhook(notify)

    def _measured(self) -> Vitals:
        return self._vitals()

    def _probes(self) -> dict[int, float]:
        running = self._parts.roster.running.items()
        return {number: found.last.seconds for number, found in running if found.last is not None}

    def _places(self) -> dict[str, Path]:
        releases = self._parts.config().app.directory.partition("{release}")[0]
        at = Path(releases) if releases.endswith("/") else Path(releases).parent
        return {"state": self._parts.place, "releases": at}


def _is_news(receipt: Mapping[str, Any]) -> bool:
    ended = datetime.fromisoformat(receipt["ended"]).timestamp()
    return boottime() + offset() - ended < OLDEST


def _no_vitals() -> Vitals:
    return Vitals(boottime(), offset())
