"""The only writer: event → step → persist iff changed → start what is new in `todo`, cancel what left it.

The engine never waits for the disk. What it knows runs ahead of what is on disk, but an effect begins
only once a state that asks for it is on disk; the one exception is moving lanes back, which nothing
may delay. An effect that ends (or fails) while it is still wanted is begun again after a pause.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from reld.core.commands import Command, Refusal, refuse
from reld.core.effects import Effect, moves_lanes_back, todo
from reld.core.events import Event, StoreTrouble, Tick
from reld.core.machine import alarm, step
from reld.core.model import Rollout, State
from reld.errors import RelctlError, StoreError
from reld.failpoints import Reach, nowhere

log = logging.getLogger("reld.engine")

AGAIN_AFTER = 0.5
"""Seconds until an effect that ended while it is still wanted is begun again."""
STORE_AGAIN_AFTER = 1.0
STORE_PATIENCE = 5.0
"""Seconds that one write may take before people are told that the disk hangs."""

Post = Callable[[Event], bool]
"""Reports an event; False: the work is not wanted any more, so what it made has to be undone."""


class Host(Protocol):
    """Does things to the world."""

    async def perform(self, effect: Effect, post: Post) -> None:
        """Do one piece of work; report by `post`. Cancelled when it is no longer wanted."""
        ...


class Saver(Protocol):
    """Puts a state on disk, with the rollouts that ended on the way to it. Raises StoreError."""

    async def save(self, state: State, ended: tuple[Rollout, ...]) -> None: ...


Watcher = Callable[[State, State], None]


@dataclass(slots=True)
class _Work:
    task: asyncio.Task[None]


class Engine:
    """Runs one state machine against one host."""

    def __init__(
        self,
        state: State,
        host: Host,
        saver: Saver,
        clock: Callable[[], float],
        reach: Reach = nowhere,
    ) -> None:
        """`clock`: CLOCK_BOOTTIME in seconds. `reach`: see `failpoints`."""
        self.state = state
        self._reach = reach
        self._disk: State | None = None
        self._host = host
        self._saver = saver
        self._clock = clock
        self._works: dict[Effect, _Work] = {}
        self._pauses: dict[Effect, asyncio.TimerHandle] = {}
        self._ended: tuple[Rollout, ...] = ()
        self._dirty = asyncio.Event()
        self._moved = asyncio.Condition()
        self._ring: asyncio.TimerHandle | None = None
        self._watchers: list[Watcher] = []
        self._closing = False

    @property
    def on_disk(self) -> bool:
        """Everything that is known is on disk."""
        return self._disk is self.state

    def watch(self, watcher: Watcher) -> None:
        """Call it with the state before and after each change."""
        self._watchers.append(watcher)

    async def run(self) -> None:
        """Work until cancelled. What was started in the world goes on without us."""
        self._dirty.set()
        self._step(Tick())  # what recovery found may end a rollout at once
        try:
            await self._write()
        finally:
            self._closing = True
            tasks = [w.task for w in self._works.values()]
            for task in tasks:
                task.cancel()
            for handle in (self._ring, *self._pauses.values()):
                if handle is not None:
                    handle.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def tell(self, event: Event) -> None:
        """Something happened."""
        self._step(event)

    def command(self, command: Command) -> Refusal | None:
        """Do what a person asks for, or say why not."""
        refusal = refuse(self.state, command)
        if refusal is None:
            self._step(command)
        return refusal

    async def until(self, condition: Callable[[State], bool]) -> None:
        """Wait until the state is so and is on disk."""
        async with self._moved:
            await self._moved.wait_for(lambda: condition(self.state) and self.on_disk)

    def _step(self, event: Event | Command) -> None:
        if self._closing:
            return
        before = self.state
        after = step(before, event, self._clock())
        if after != before:
            self.state = after
            if before.rollout is not None and after.last is not before.last and after.last:
                self._ended = (*self._ended, after.last)
            self._dirty.set()
            for watcher in self._watchers:
                watcher(before, after)
        self._reconcile()

    def _reconcile(self) -> None:
        if self._closing:
            return
        wanted = todo(self.state)
        safe = wanted & todo(self._disk) if self._disk is not None else frozenset()
        for effect in self._works.keys() - wanted:
            self._works.pop(effect).task.cancel()
        for effect in self._pauses.keys() - wanted:
            self._pauses.pop(effect).cancel()
        # In one order everywhere: a set's own differs from process to process.
        for effect in sorted(wanted - self._works.keys() - self._pauses.keys(), key=repr):
            if effect in safe or moves_lanes_back(effect):
                self._begin(effect)
        self._set_alarm()

    def _begin(self, effect: Effect) -> None:
        task = asyncio.create_task(self._perform(effect), name=repr(effect))
        self._works[effect] = _Work(task)

    async def _perform(self, effect: Effect) -> None:
        me = asyncio.current_task()

        def post(event: Event) -> bool:
            work = self._works.get(effect)
            if work is None or work.task is not me or self._closing:
                return False
            self._reach("after", effect)
            self.tell(event)
            return True

        self._reach("before", effect)
        try:
            await self._host.perform(effect, post)
        except asyncio.CancelledError:
            raise
        except RelctlError as error:
            log.warning("%r: %s, it is tried again", effect, error.message)
        except Exception:
            log.exception("%r failed, it is tried again", effect)
        work = self._works.get(effect)
        if work is None or work.task is not me or self._closing:
            return
        del self._works[effect]
        loop = asyncio.get_running_loop()
        self._pauses[effect] = loop.call_later(AGAIN_AFTER, self._again, effect)

    def _again(self, effect: Effect) -> None:
        self._pauses.pop(effect, None)
        self._reconcile()

    def _set_alarm(self) -> None:
        if self._ring is not None:
            self._ring.cancel()
            self._ring = None
        now = self._clock()
        due = alarm(self.state, now)
        if due is not None:
            loop = asyncio.get_running_loop()
            # A timer may come a little early by the other clock; then the next one is set.
            self._ring = loop.call_later(max(due - now, 0.001), self._step, Tick())

    async def _write(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            state, ended = self.state, self._ended
            self._reach("before", "persist")
            try:
                async with asyncio.timeout(None) as limit:
                    limit.reschedule(asyncio.get_running_loop().time() + STORE_PATIENCE)
                    await self._saver.save(state, ended)
            except TimeoutError:
                self.tell(StoreTrouble("the disk does not answer: the state cannot be saved"))
                self._dirty.set()
                continue
            except StoreError as error:
                log.error("%s", error.message)  # noqa: TRY400
                self.tell(StoreTrouble(error.message))
                await asyncio.sleep(STORE_AGAIN_AFTER)
                self._dirty.set()
                continue
            self._reach("after", "persist")
            self._ended = self._ended[len(ended) :]
            self._disk = state
            if self.state.store_trouble:
                self.tell(StoreTrouble(""))
            self._reconcile()
            async with self._moved:
                self._moved.notify_all()
