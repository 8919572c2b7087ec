"""The sensor: reads the gate's request log for ever, and says what it means while a rollout is watched.

Whoever reads holds the lock; the engine's loop never waits for it. A reld that comes back goes on at
the checkpoint: place in the log, counts and evidence are one record.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from reld.clock import boottime
from reld.core.events import Judged
from reld.core.model import Color, Counts, Rollout, State
from reld.core.verdict.finding import Finding, Verdict
from reld.core.verdict.sample import Sample, Tally
from reld.engine import Post
from reld.errors import GateError
from reld.host.checkpoint import Checkpoint, Checkpoints
from reld.host.pulse import Pulse
from reld.host.recent import Lately, Recent
from reld.host.shadow_watching import watched
from reld.host.totals import Totals
from reld.host.vitals import Vitals
from reld.host.watching import Watching
from reld.metrics.facts import Feed
from reld.nginx.counting import Counted, Counting
from reld.nginx.gate import Gate
from reld.nginx.requests import Tail
from reld.nginx.thinning import Thinner
from reld.nginx.waiting import Waiting

log = logging.getLogger("reld.sensor")

READ_EVERY = 0.1
"""Seconds between two looks at the log while it is judged: the gate writes ten times a second."""
TEND_EVERY = 1.0
JUDGED_EVERY = 1.0
BEAT_EVERY = 30.0
"""Seconds between two beats at rest, see `pulse`."""
WRITTEN_AFTER = 0.15
"""Seconds after which every request that has ended is in the log."""
THINNED = "under this load the log has one in ten of the old slot's good requests"


class Sensor:
    """One app's request log."""

    def __init__(
        self, state: Callable[[], State], gate: Gate, checkpoints: Checkpoints, vitals: Vitals
    ) -> None:
        self._state = state
        self._gate = gate
        self._vitals = vitals
        self._checkpoints = checkpoints
        self._lock = threading.Lock()
        known = checkpoints.load()
        self._kept = known.watch
        self._tail = Tail(gate.settings.request_log, known.position, gate.owner.uid)
        self._recent = Recent(boottime())
        self._recent.times = dict(known.times)
        self._watching: Watching | None = None
        self._over = False  # what is watched was over a second ago already
        self._ended: tuple[int, Mapping[Color, Counts], int] | None = None
        self._counting = Counting(())
        self._counts_for: frozenset[str] = frozenset()
        self._lately = Lately()
        self._weighed_at = 0.0
        self._thinner = Thinner(gate.settings.thin, boottime())
        self._pulse = Pulse(gate)
        self._judging = 0
        self.totals = Totals()
        self._waits = Waiting(gate.settings.listen)
        self._saved: Checkpoint | None = None
        self._kept_well = True

    async def judge(self, rollout: int, post: Post) -> None:
        """Until it is cancelled: read, weigh, tell. Nothing is told before the backlog was read."""
        beating = asyncio.create_task(self._pulse.keep())
        self._judging += 1
        try:
            told, verdict = 0.0, Verdict.FINE
            while True:
                began = boottime()
                caught_up = await asyncio.to_thread(self._turn, rollout)
                if not caught_up:
                    continue
                event = self._judged(rollout, began)
                now = event.finding.verdict
                if began >= told + JUDGED_EVERY or now is not verdict:
                    if not post(event):
                        return
                    told, verdict = began, now
                await asyncio.sleep(READ_EVERY)
        finally:
            self._judging -= 1
            beating.cancel()
            self._pulse.forget()

    async def tend(self) -> None:
        """For ever: keeps the log short and read, also when nothing is judged."""
        while True:
            try:
                await asyncio.to_thread(self._tended)
            except OSError as error:
                log.warning("the request log: %s", error)
            await asyncio.sleep(TEND_EVERY)

    async def beat(self) -> None:
        """For ever: does the log still arrive? Also when nothing is judged."""
        while True:
            await asyncio.sleep(BEAT_EVERY)
            if not self._judging and self._watching is None and self._kept is None:
                await self._pulse.beat()

    def feed(self) -> Feed:
        """How the log arrives. May be asked from another thread."""
        return replace(self.totals.feed, thinned=self._thinner.thins, silent=self._pulse.silence())

    def rate(self) -> float | None:
        """Requests per second lately; None: not watched for long enough."""
        return self._recent.rate(boottime())

    def slowest(self) -> float | None:
        """Seconds that the live slot's slowest request took lately; None: there was none."""
        return self._recent.slowest

    def counts_of(self, rollout: int) -> Mapping[Color, Counts] | None:
        """What users saw of a rollout that is over, to its last request; None: it was not watched.

        For a thread: waits for what the gate has not written yet.
        """
        if self._watches(rollout):
            time.sleep(WRITTEN_AFTER)
        with self._lock:
            self._end_watch(rollout)
            ended = self._ended
            return ended[1] if ended is not None and ended[0] == rollout else None

    def turned_away(self, rollout: int) -> int:
        """Requests of it that got the announced 503. For a thread, after `counts_of`."""
        with self._lock:
            ended = self._ended
            return ended[2] if ended is not None and ended[0] == rollout else 0

    def rows_of(self, rollout: int) -> bytes | None:
        """The per-second counts of a rollout that is over."""
        with self._lock:
            self._end_watch(rollout)
            return self._checkpoints.rows(rollout)

    def lately(self) -> Mapping[Color, tuple[float, Tally]]:
        """What each slot was dealt in the last seconds: over how many seconds, and the counts."""
        return self._lately.of_each(boottime())

    # with the lock held, in a thread

    def _turn(self, rollout: int) -> bool:
        """Reads some lines for a rollout; whether that was all there is."""
        with self._lock:
            running = self._state().rollout
            if running is None or running.id != rollout:
                return True
            if self._watching is None or self._watching.rollout.id != rollout:
                self._watching = self._opened(running)
                self._save()  # else a reld that dies within a second leaves no trace of this watch
            self._watching.follows(running, int(time.time()))
            more = self._read_some()
            if not more:
                self._watched_a_second(self._watching)
            return not more

    def _opened(self, running: Rollout) -> Watching:
        found = self._taken_up(running)
        if found is not None:
            log.info("rollout %d: the evidence goes on from where it was", running.id)
            return found
        old = self._addresses_of(running.old)
        new = self._addresses_of(running.candidate) or running.addresses  # leased, not started yet
        self._watching = self._kept = None
        while self._read_some():
            pass  # what came before is not this rollout's
        self._checkpoints.forget(running.id)
        counting = self._counting_of(old, new)
        return Watching.begun(running, counting, self._recent.histogram, old, new)

    def _taken_up(self, rollout: Rollout) -> Watching | None:
        """What an earlier reld watched; None: it was another one, or nothing."""
        kept = self._kept
        if kept is None or kept.rollout != rollout.id:
            return None
        self._kept = None
        old = kept.old_addresses or self._addresses_of(rollout.old)
        new = kept.new_addresses or self._addresses_of(rollout.candidate)
        return Watching(rollout, self._counting_of(old, new), kept)

    def _addresses_of(self, color: Color | None) -> tuple[str, ...]:
        slot = self._state().slot(color)
        return tuple(i.address for i in slot.instances) if slot is not None else ()

    def _counting_of(self, old: tuple[str, ...], new: tuple[str, ...]) -> Counting:
        settings = self._gate.settings
        success = {r.name: r.success for r in settings.routes if r.success}
        return Counting(old, new, success, sticky=settings.split == "client")

    def _watched_a_second(self, watching: Watching) -> None:
        now = boottime()
        if now < self._weighed_at + 1.0:
            return
        self._weighed_at = now
        old, new = self._waiting(watching.rollout)
        watching.waited(
            Sample(int(time.time()), watching.rollout.share, old_waiting=old, new_waiting=new)
        )
        watching.close_rows(int(time.time()))
        self._save()

    def _waiting(self, rollout: Rollout) -> tuple[int | None, int | None]:
        """Requests without a byte of an answer, on the old slot and on the candidate."""
        if not rollout.share and not watched(rollout):
            return None, None
        old, new = self._addresses_of(rollout.old), self._addresses_of(rollout.candidate)
        try:
            return self._waits.of(old, new, boottime())
        except (OSError, GateError):
            return None, None

    def _read_some(self) -> bool:
        lines = self._tail.read_raw()
        if not lines:
            return False
        now = boottime()
        watching = self._watching
        if watching is not None:
            counted = watching.feed(lines)
            colors = (watching.rollout.old, watching.rollout.candidate)
        else:
            counted = self._live_counting().feed(lines)
            colors = (self._state().live, None)
        self._pulse.heard(counted.beat)
        self.totals.add(counted, colors, self._releases(colors), time.time())
        self._thinner.saw(counted.requests)
        self._learn(counted, colors, now)
        return True

    def _releases(self, colors: tuple[Color | None, ...]) -> tuple[str, ...]:
        """What the slots run; of a rollout also when its slot is empty by now."""
        if self._watching is not None:
            rollout = self._watching.rollout
            return rollout.from_, rollout.to
        slots = (self._state().slot(color) for color in colors)
        return tuple(slot.release if slot is not None else "" for slot in slots)

    def _live_counting(self) -> Counting:
        live = self._state().slot(self._state().live)
        addresses = (
            frozenset(i.address for i in live.instances) if live is not None else frozenset()
        )
        if addresses != self._counts_for:
            self._counts_for = addresses
            self._counting = Counting(addresses)
        return self._counting

    def _learn(self, counted: Counted, colors: tuple[Color | None, ...], now: float) -> None:
        for sample in counted.samples:
            self._recent.learn(sample.old)
            for color, tally in zip(colors, (sample.old, sample.new), strict=True):
                self._recent.add(tally, now)
                if color is not None and tally.requests:
                    self._lately.add(color, tally, now)

    def _tended(self) -> None:
        with self._lock:
            running = self._state().rollout
            if self._kept is not None and running is None:
                self._end_watch(self._kept.rollout)  # it ended in the moment of our return
            over = self._watching is not None and (
                running is None or running.id != self._watching.rollout.id
            )
            if over and self._over and self._watching is not None:
                self._end_watch(self._watching.rollout.id)  # nobody wanted its counts
            self._over = over
            if self._watching is None and (self._kept is None or running is None):
                # While a watch is to be taken up again, its lines are not ours to read.
                self._kept = None
                while self._read_some():
                    pass
                self._save()
            self._gate.tend_log(self._tail)
            self._thinner.decide(boottime())

    def _watches(self, rollout: int) -> bool:
        if self._kept is not None and self._kept.rollout == rollout:
            return True
        return self._watching is not None and self._watching.rollout.id == rollout

    def _end_watch(self, rollout: int) -> None:
        """Of a rollout that is over: what is in the log by now is its last."""
        last = self._state().last
        if self._watching is None and last is not None and last.id == rollout:
            self._watching = self._taken_up(last)
        watching = self._watching
        if watching is None or watching.rollout.id != rollout:
            return
        while self._read_some():
            pass
        watching.close_rows(None)
        self._save()
        self._ended = (rollout, watching.counts(), watching.turned_away)
        self._watching = None

    def _save(self) -> None:
        """What cannot be kept now is kept later: nothing is judged less well for it."""
        try:
            self._put()
            self._kept_well = True
        except OSError as error:
            if self._kept_well:
                log.warning("cannot keep the evidence for a restart of reld: %s", error)
            self._kept_well = False

    def _put(self) -> None:
        """Raises OSError."""
        watching = self._watching
        if watching is not None and watching.lines:
            kept = watching.kept
            rows = self._checkpoints.append(kept.rollout, watching.lines, kept.rows)
            watching.kept, watching.lines = replace(kept, rows=rows), []
        checkpoint = Checkpoint(
            self._tail.position,
            self._recent.histogram,
            None if watching is None else watching.kept,
        )
        if checkpoint != self._saved:
            self._checkpoints.save(checkpoint)
            self._saved = checkpoint

    # what it says

    def _judged(self, rollout: int, read_to: float) -> Judged:
        watching = self._watching
        if watching is None:
            return Judged(rollout, read_to, Counts(), Counts())
        finding, counts = watching.finding(), watching.counts()
        silent = self._pulse.silence()
        dying = self._vitals.memory_runs_out(watching.rollout)
        if dying:
            finding = Finding(Verdict.WORSE, dying, known=finding.known)
        elif silent and finding.verdict is not Verdict.WORSE:
            finding = Finding(Verdict.BLIND, silent, known=finding.known)
        if self._thinner.thins:
            finding = replace(finding, known=f"{finding.known}; {THINNED}")
        none = Counts()
        return Judged(
            rollout,
            read_to,
            counts.get(Color.BLUE, none),
            counts.get(Color.GREEN, none),
            finding,
            self.rate(),
            self._vitals.leak(watching.rollout),
            watching.turned_away,
            watching.shadow.mirrored(),
            watching.kept.longest,
        )
