"""What happened, in the words of the journal (`alerts`, `narrate`), to everybody who wants to hear of it.

Nothing here waits for anybody: messages are queued for each target, see `courier`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reld.alerts import Alert, Raised
from reld.config import Notify
from reld.core.model import Outcome, Rollout, State
from reld.metrics.facts import Addressee
from reld.narrate import News
from reld.telling.courier import LIMITS, Courier, Limits
from reld.telling.ledger import Ledger
from reld.telling.message import Message, of_receipt, rollout_of, without_logs
from reld.telling.target import NotTold, Target, key_of, name_of

log = logging.getLogger("reld.telling")

LAST_WORDS = 1.0
"""Seconds that the end of reld waits for those who are told at this moment."""
_ENDS = (Alert.DONE, Alert.FAILED, Alert.WENT_BACK)
"""Told by their receipts, which know more."""
_STEPS = ("step", "verdict")


@dataclass(frozen=True, slots=True)
class Means:
    """`target` makes the one that tells; `now`: ISO 8601."""

    app: str
    wanted: Callable[[], tuple[Notify, ...]]
    target: Callable[[Notify], Target]
    ledger: Ledger
    now: Callable[[], str]
    limits: Limits = LIMITS


class Teller:
    """Lives in the engine's loop. `newest`: the number of the last rollout that ended, 0 = none."""

    def __init__(self, means: Means, newest: int = 0) -> None:
        self._means = means
        self._newest = newest
        self._made_for: tuple[Notify, ...] = ()
        self._couriers: dict[Notify, Courier] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._ledger = asyncio.Lock()
        self._host = socket.gethostname()

    # what happens

    def hear(self, after: State, news: Iterable[News], alarms: Iterable[Raised]) -> None:
        """The state changed. Never raises."""
        if not self._means.wanted() and not self._couriers:
            return
        try:
            for alarm in alarms:
                self._alarm(alarm)
            for item in news:
                if item.event in _STEPS:
                    level = "info" if item.event == "step" else "warning"
                    self._tell(item.event, item.event, level, item.text, rollout=after.rollout)
        except Exception:
            log.exception("cannot tell what happened")

    def alarm(self, alarm: Raised) -> None:
        """What no change of the state says: into the journal, and to those who want trouble."""
        log.log(alarm.level, "%s", alarm.text, extra=alarm.about)
        self._alarm(alarm)

    def _alarm(self, alarm: Raised) -> None:
        if alarm.alert in _ENDS:
            return
        event = "start" if alarm.alert is Alert.BEGAN else "trouble"
        what = alarm.alert.name.lower()
        self._tell(event, what, _level(alarm.level), alarm.text, rollout=alarm.rollout)

    def ended(self, receipt: Mapping[str, Any]) -> None:
        """A rollout is over, and its receipt is on the disk."""
        self._tell_end(receipt, self._wanted("end"))
        self._newest = max(self._newest, int(receipt["id"]))

    async def catch_up(self, receipt: Mapping[str, Any]) -> None:
        """The last end that an earlier reld saw, to those whom it did not tell any more."""
        self._refresh()
        missed = [
            (notify, courier)
            for notify, courier in self._wanted("end")
            if (self._means.ledger.last(key_of(notify)) or 0) < receipt["id"]
        ]
        self._tell_end(receipt, missed)

    async def begin(self) -> None:
        """Before `catch_up`: a target that is new is not told what was before it."""
        self._refresh()
        await asyncio.gather(*self._working)

    # who is told

    async def test(self, whom: tuple[Notify, ...]) -> list[dict[str, Any]]:
        """One message to each of them, at once, whether they are in use or not: how did it answer?"""
        self._refresh()
        text = "a test of relctl notify --test: nothing happened"
        message = self._message("test", "test", "info", text)
        known = (self._couriers.get(notify) or self._courier(notify) for notify in whom)
        asked = [self._tested(courier, message) for courier in known]
        return list(await asyncio.gather(*asked))

    def shown(self) -> list[dict[str, Any]]:
        self._refresh()
        return [
            {
                "target": courier.name,
                "on": list(notify.on),
                "told": courier.told,
                "lost": courier.lost,
                "waiting": courier.waiting,
                "trouble": courier.trouble or None,
            }
            for notify, courier in self._couriers.items()
        ]

    def counted(self) -> tuple[Addressee, ...]:
        return tuple(Addressee(c.name, c.told, c.lost, c.waiting) for c in self._couriers.values())

    async def finish(self) -> None:
        """Reld stops: a moment for what is on its way."""
        idle = [c.idle.wait() for c in self._couriers.values()]
        try:
            async with asyncio.timeout(LAST_WORDS):
                await asyncio.gather(*idle)
        except TimeoutError:
            pass
        await asyncio.gather(*(c.close() for c in self._couriers.values()), *self._working)

    async def _tested(self, courier: Courier, message: Message) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        began, told = loop.time(), True
        try:
            answer = await courier.once(message)
        except NotTold as error:
            told, answer = False, error.why
        seconds = round(loop.time() - began, 3)
        return {"target": courier.name, "told": told, "answer": answer, "seconds": seconds}

    def _tell_end(self, receipt: Mapping[str, Any], who: Iterable[tuple[Notify, Courier]]) -> None:
        what = str(receipt["outcome"])
        message = self._message(
            "end",
            what,
            "info" if what == Outcome.DONE else "warning",
            f"rollout {receipt['id']}: {receipt['summary']}",
            f"{self._means.app}-{receipt['id']}-end-{receipt['started']}",
            of_receipt(receipt),
            without_logs(receipt),
        )
        for _, courier in who:
            courier.put(message)

    def _tell(
        self, event: str, what: str, level: str, text: str, *, rollout: Rollout | None
    ) -> None:
        about = None if rollout is None else rollout_of(rollout)
        message = self._message(event, what, level, text, uuid.uuid4().hex, about)
        for _, courier in self._wanted(event):
            courier.put(message)

    def _message(
        self,
        event: str,
        what: str,
        level: str,
        text: str,
        number: str = "",
        rollout: Mapping[str, Any] | None = None,
        receipt: Mapping[str, Any] | None = None,
    ) -> Message:
        line = " ".join(text.split())
        now, app, host = self._means.now(), self._means.app, self._host
        number = number or uuid.uuid4().hex
        return Message(event, what, level, line, now, app, host, number, rollout, receipt)

    def _wanted(self, event: str) -> list[tuple[Notify, Courier]]:
        self._refresh()
        return [(n, c) for n, c in self._couriers.items() if event in n.on]

    def _refresh(self) -> None:
        """Those of the config as it is now; who stays, if in other words, keeps what waits for him."""
        wanted = self._means.wanted()
        if wanted == self._made_for:
            return
        before, self._made_for, self._couriers = self._couriers, wanted, {}
        said = {key_of(notify): notify for notify in before}
        for notify in wanted:
            if notify in self._couriers:
                continue
            was = notify if notify in before else said.get(key_of(notify), notify)
            courier = before.pop(was, None)
            if courier is not None and was != notify:
                courier.target = self._means.target(notify)
            self._couriers[notify] = courier or self._courier(notify)
        keys, newest = [key_of(notify) for notify in wanted], self._newest
        self._begin(self._in_ledger(lambda ledger: ledger.keep(keys, newest)))
        for gone in before.values():
            self._begin(gone.close())

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    def _courier(self, notify: Notify) -> Courier:
        name, key = name_of(notify), key_of(notify)
        taken = {c.name for c in self._couriers.values()}
        names = (name if n == 1 else f"{name} ({n})" for n in range(1, len(taken) + 2))
        free = next(n for n in names if n not in taken)

        async def told(message: Message) -> None:
            number = message.number
            if message.event == "end" and number is not None:
                await self._in_ledger(lambda ledger: ledger.note(key, number))

        return Courier(free, self._means.target(notify), told, self._means.limits)

    async def _in_ledger(self, work: Callable[[Ledger], None]) -> None:
        async with self._ledger:
            await asyncio.to_thread(work, self._means.ledger)


def _level(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    return "warning" if number >= logging.WARNING else "info"
