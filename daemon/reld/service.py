"""What the API asks, answered by the engine and the store."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

from reld import config as settings
from reld import (
    config_file,
    ejecting,
    log_lines,
    maintaining,
    mending,
    plans,
    rehearsing,
    release_list,
    release_place,
    replays,
)
from reld.alerts import raised
from reld.api import roles
from reld.api.clock import iso
from reld.api.hub import Hub, Subscription
from reld.api.maintenance import MaintenanceRequest
from reld.api.new_lines import told
from reld.api.peers import Caller
from reld.api.receipt import receipt
from reld.api.replay import ReplayRequest
from reld.api.requests import Approval, LogRequest, NotFound, Options, RolloutRequest, Steer
from reld.api.service import SlotVitals, Vitals
from reld.api.status import status
from reld.clock import boottime, offset
from reld.core import agreement, stop_first
from reld.core import approval as approvals
from reld.core import commands as c
from reld.core.events import StoreTrouble
from reld.core.model import Color, Followed, Kind, Outcome, Phase, Rollout, State
from reld.core.policy import Policy
from reld.doctor.doctor import Doctor
from reld.engine import Engine
from reld.errors import (
    ConfigError,
    Refused,
    StoreError,
)
from reld.host.ahead import Ahead
from reld.host.eject import why_impossible
from reld.host.new_lines import NewLines
from reld.host.snapshots import Snapshots, TodaysAccess
from reld.journal import about
from reld.metrics.facts import Facts
from reld.metrics.page import page
from reld.narrate import narrate
from reld.newlines.news import News
from reld.outside import Outside
from reld.plain_units import PlainUnits, plain_units
from reld.processes.journal import Journal
from reld.reading import reading
from reld.refusing import refused, with_age
from reld.runbook.book import Book
from reld.store.database import HISTORY_KEYS, Store

log = logging.getLogger("reld.rollout")

PERSIST_PATIENCE = 5.0
SUPERSEDE_PATIENCE = 3600.0

_NOT_SHIFTED = (
    Phase.PREPARING,
    Phase.STARTING,
    Phase.PROVING,
    Phase.ADMITTING,
    Phase.SHIFTING,
)


class EngineService:
    """Implements api.service.Service.

    `rate`: requests per second lately, None = not known. `slots`: what is measured of each slot.
    `kept`: the ports that the apps of this machine have, see `leases`. `config_news`: see ConfigWatch.
    `keep_page`: see nginx.gate.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        snapshots: Snapshots,
        hub: Hub,
        logs_at: Path,
        rate: Callable[[], float | None] = lambda: None,
        slots: Callable[[], Mapping[str, SlotVitals]] = dict,
        kept: Callable[[], Mapping[str, settings.Kept]] = dict,
        config_news: Callable[[], str] = str,
        keep_page: maintaining.KeepPage = lambda _: "",
        begin_to_hold: maintaining.BeginToHold = maintaining.nothing_is_held,
        follow: Callable[[], dict[str, Any] | None] = lambda: None,
        news: NewLines | None = None,
        ahead: Ahead | None = None,
        doctor: Doctor | None = None,
        outside: Outside | None = None,
        book: Book | None = None,
        check_ejection: Callable[[str, PlainUnits, tuple[int, ...]], None] | None = None,
    ) -> None:
        self._engine = engine
        self._store = store
        self._snapshots = snapshots
        self._hub = hub
        self._logs_at = logs_at
        self._rate = rate
        self._slots = slots
        self._kept = kept
        self._config_news = config_news
        self._keep_page = keep_page
        self._begin_to_hold = begin_to_hold
        self._follow = follow
        self._news = news
        self._ahead = ahead
        self._doctor = doctor
        self._outside = outside
        self._book = book
        self._check_ejection = check_ejection
        self._telling: set[asyncio.Task[None]] = set()
        engine.watch(self._tell_readers)

    # reads: never wait for a rollout

    def state(self) -> State:
        return self._engine.state

    def vitals(self) -> Vitals:
        damage, news = self._store.damage, self._config_news()
        return Vitals(
            boottime(), offset(), self._slots(), damage, news, self._news_now(), self._follow()
        )

    def subscribe(self, last: int = 0) -> Subscription:
        return self._hub.subscribe(last)

    async def rollouts(self, limit: int) -> list[dict[str, Any]]:
        rows = await self._store.rollouts(limit)
        running = self.state().rollout
        if running is not None:
            told = receipt(running, self.vitals(), running=True)
            rows = [{key: told[key] for key in HISTORY_KEYS}, *rows][:limit]
        return rows

    async def rollout(self, number: int) -> dict[str, Any] | None:
        running, last = self.state().rollout, self.state().last
        if running is not None and running.id == number:
            return receipt(running, self.vitals(), running=True)
        known = last if last is not None and last.id == number else None
        try:
            async with asyncio.timeout(PERSIST_PATIENCE):
                if known is not None:  # what is on disk says more: the log's end, notes
                    await self._engine.until(lambda _: True)
                stored = await self._store.rollout(number)
        except (TimeoutError, StoreError):
            if known is None:
                raise
            stored = None
        if stored is None and known is not None:
            return receipt(known, self.vitals(), running=False)
        return stored

    async def replay(self, request: ReplayRequest) -> dict[str, Any]:
        account = await self.rollout(request.rollout)
        rows = await self._store.watch(request.rollout)
        return await reading(replays.judged_again, request, account, rows)

    async def plan(self, request: RolloutRequest, caller: Caller) -> dict[str, Any]:
        if self._ahead is None:
            raise Refused("cannot plan: this reld does not look ahead")
        access, vitals = TodaysAccess(self._snapshots), self.vitals()
        operates = roles.may(caller, roles.Role.OPERATE, access, os.geteuid())
        rehearsal = status(self.state(), vitals).get("rehearsal")
        return await self._ahead.page(request, vitals, rehearsal, operates=operates)

    async def releases(self) -> list[dict[str, Any]]:
        template = self._snapshots.config.app.directory
        names = await reading(release_list.directories, template)
        made = await reading(release_place.unpacked, template)
        unfinished = await reading(release_list.unfinished, template)
        return release_list.listed(self.state(), names, made, unfinished)

    async def check(self) -> dict[str, Any]:
        if self._doctor is None:
            raise Refused("cannot check: this reld has no doctor")
        return await self._doctor.check()

    async def runbook(self) -> str:
        if self._book is None:
            raise Refused("cannot write the runbook: this reld has none")
        return await self._book.page(status(self.state(), self.vitals()).get("rehearsal"))

    async def metrics(self) -> bytes:
        if self._outside is not None:
            return await self._outside.metrics()
        return await asyncio.to_thread(page, self.state(), self.vitals(), Facts())

    def told(self) -> list[dict[str, Any]]:
        return [] if self._outside is None else self._outside.teller.shown()

    async def tell_all(self) -> dict[str, Any]:
        if self._outside is None:
            return {"targets": [], "pending": False}
        return await self._outside.tell_all()

    async def new_lines(self, number: int | None) -> dict[str, Any]:
        newest = self.state().rollout or self.state().last
        number = number or (newest.id if newest is not None else 0)
        account = await self.rollout(number)
        if account is None:
            raise NotFound(
                f"cannot show the new lines of rollout {number}: there is none", "relctl history"
            )
        why = self._news.why_unknown(number) if self._news is not None else ""
        return told(account, why)

    def _news_now(self) -> dict[int, News]:
        running = self.state().rollout
        if running is None or self._news is None:
            return {}
        found = self._news.of(running.id)
        return {} if found is None else {running.id: found}

    async def log_lines(self, request: LogRequest) -> AsyncIterator[dict[str, Any]]:
        state = self.state()
        color = Color(request.slot) if request.slot is not None else state.live
        slot = state.slot(color)
        release = request.release or (slot.release if slot is not None else None)
        if release is None:
            raise NotFound("cannot show logs: nothing is live", "relctl logs --release RELEASE")
        word = str(color) if slot is not None and slot.release == release else None
        journal = Journal(state.app)
        said = log_lines.of(self._logs_at, journal, release, request.lines, follow=request.follow)
        async with aclosing(said) as entries:
            async for entry in entries:
                yield {"release": release, "slot": word, "line": entry.line, "hook": entry.hook}

    # writes

    async def begin(
        self, request: RolloutRequest, caller: Caller, follow: Followed | None = None
    ) -> dict[str, Any]:
        """`follow`: the link that asks for it, to be remembered with the rollout."""
        kind = Kind(request.kind)
        options = request.options
        config = await asyncio.to_thread(self._todays_config, kind)
        begin = c.Begin(
            kind,
            request.release,
            plans.with_options(settings.policy(config), options),
            actor=caller.actor,
            reason=options.reason,
            force=options.force,
            approval=bool(config.access.approvers),
            people=caller.people,
            note=options.note,
            on_duty=options.on_duty,
            follow=follow,
            **ejecting.where(kind, options, config),
            **self._rehearsal(kind, options, settings.policy(config)),
        )
        if options.supersede and not options.dry_run:
            await self._supersede(begin, caller)
        done = c.already(self.state(), begin)
        if done:
            return {"id": None, "already": True, "message": done}
        attached = self._attach(begin, caller, really=not options.dry_run)
        if attached is not None:
            return attached
        if self.state().rollout is None and not options.dry_run:
            await self._prove_store(kind)
        refusal = c.refuse(self.state(), begin)
        if refusal is not None:
            raise refused(with_age(refusal, self.state().rollout, boottime()))
        plan = self._plan(begin, options)
        gone = plans.gates_left_out(plan, settings.policy(config), begin.policy, options)
        if gone:
            plan = {**plan, "text": [*plan["text"], gone], "watch": [gone, *plan["watch"]]}
        if kind is Kind.EJECT:
            plan["text"] = await self._ejection(begin, config, dry_run=options.dry_run)
        if options.dry_run:
            return {"id": None, "plan": plan}
        self._snapshots.config = config
        self._engine.command(begin)
        running = self.state().rollout or self.state().last
        assert running is not None
        await self._on_disk()
        return {"id": running.id, "attached": False, "already": False, "plan": plan}

    def _rehearsal(self, kind: Kind, options: Options, policy: Policy) -> dict[str, Any]:
        live = self.state().slot(self.state().live)
        return rehearsing.wish(kind, options, policy, iso(boottime() + offset()), live)

    async def _ejection(
        self, begin: c.Begin, config: settings.Config, *, dry_run: bool
    ) -> list[str]:
        """What will be written, moved and left to do. Raises Refused, PrepareError."""
        why = why_impossible()
        live = self.state().slot(self.state().live)
        if why or live is None:
            raise Refused(f"cannot eject: {why or 'nothing is live'}", "relctl status")
        snapshot = await self._snapshots.get(live.snapshot)
        ports = tuple(range(begin.port, begin.port + len(live.instances)))
        app, color = self.state().app, live.color.other
        units = await asyncio.to_thread(plain_units, snapshot, app, color, begin.unit, ports)
        if dry_run and self._check_ejection is not None:  # what the real one finds a bit later
            await asyncio.to_thread(self._check_ejection, begin.unit, units, ports)
        return ejecting.plan_lines(begin.unit, units, ports, live.release, config.gate.listen)

    async def _prove_store(self, kind: Kind) -> None:
        try:
            await mending.refuse_unfit(kind, self._store)
        except StoreError as error:
            self._engine.tell(StoreTrouble(error.message))  # it tries on until it is over
            raise

    async def mend(self, caller: Caller) -> dict[str, Any]:
        return await mending.mend(self._store, caller)

    async def maintain(self, request: MaintenanceRequest, caller: Caller) -> dict[str, Any]:
        means = maintaining.Means(self._keep_page, self._begin_to_hold, self._rate)
        refusal, body = await maintaining.maintain(self._engine, means, request, caller)
        if refusal is not None:
            raise refused(refusal)
        return body

    async def audits(self, limit: int) -> list[dict[str, Any]]:
        return [row.shown() for row in await self._store.audits(limit)]

    async def approve(self, approval: Approval, caller: Caller) -> dict[str, Any]:
        at = iso(boottime() + offset())
        agreed = c.Approve(approval.rollout, caller.people, caller.actor, approval.note, at)
        return await self._steered(agreed, f"is approved by {caller.actor}")

    async def steer(self, steer: Steer, caller: Caller) -> dict[str, Any]:
        number = steer.rollout
        by = f" by {caller.actor}"
        reason = f"{steer.reason or steer.note or 'aborted'}{by}"
        verbs: dict[str, tuple[c.Steer, str]] = {
            "pause": (c.Pause(number), "holds before its next step"),
            "resume": (c.Resume(number), "goes on"),
            "promote": (self._promote(steer, caller), "does not wait any longer"),
            "abort": (c.Abort(number, reason), "goes back"),
        }
        return await self._steered(*verbs[steer.verb])

    def _promote(self, steer: Steer, caller: Caller) -> c.Promote:
        may = partial(roles.may, caller, access=TodaysAccess(self._snapshots), own_uid=os.getuid())
        return c.Promote(
            steer.rollout,
            steer.full,
            people=caller.people,
            actor=caller.actor,
            note=steer.note,
            at=iso(boottime() + offset()),
            operator=may(roles.Role.OPERATE),
            approver=may(roles.Role.APPROVE),
        )

    async def _steered(self, command: c.Steer, words: str) -> dict[str, Any]:
        number = command.rollout
        if await self.rollout(number) is None:
            raise NotFound(f"there is no rollout {number}", "relctl history")
        refusal = self._engine.command(command)
        if refusal is not None:
            raise refused(refusal)
        await self._on_disk()
        running = self.state().rollout
        if isinstance(command, c.Resume | c.Promote) and running and agreement.asks(running):
            words = f"goes on as far as it may, and waits for {running.waiting}"
        if isinstance(command, c.Promote) and running and running.paused:
            words = "is agreed to, and holds until somebody ends the pause: relctl resume"
        if isinstance(command, c.Resume | c.Promote) and running and running.awaits_approval:
            words = f"is not held by this any longer, but waits for {approvals.wanted(running)}"
        return {"id": number, "message": f"rollout {number} {words}"}

    def _todays_config(self, kind: Kind) -> settings.Config:
        """A config edit reaches the app with the next rollout; a broken one never bars the way back.

        Raises ConfigError.
        """
        try:
            path = self._snapshots.config.path
            return config_file.load(path, uid=os.geteuid(), kept=self._kept())
        except ConfigError:
            if kind in (Kind.ROLLBACK, Kind.STOP, Kind.EJECT):
                return self._snapshots.config
            raise

    def _attach(self, begin: c.Begin, caller: Caller, *, really: bool) -> dict[str, Any] | None:
        """The wish is what the running rollout does already, or can be turned to."""
        running = self.state().rollout
        if running is None:
            return None
        if c.turns_back(self.state(), begin):
            reason = begin.reason or begin.note or "rollback"
            why = f"{reason} by {caller.actor}"
            plan = plans.back(running)
            if not really:
                return {"id": None, "plan": plan}
            self._engine.command(c.Abort(running.id, why, Outcome.ROLLED_BACK))
            return {"id": running.id, "attached": True, "already": False, "plan": plan}
        same = begin.kind is Kind.SWITCH and running.kind is Kind.SWITCH
        if same and begin.release == running.to and running.outcome is None:
            return {
                "id": running.id,
                "attached": True,
                "already": False,
                "plan": plans.of(running, self.state().away, self._rate()),
            }
        return None

    async def _supersede(self, begin: c.Begin, caller: Caller) -> None:
        running = self.state().rollout
        if running is None or running.to == begin.release:
            return
        if running.phase in _NOT_SHIFTED or running.awaits_approval:
            why = f"superseded by {begin.release or begin.kind}, {caller.actor}"
            self._engine.command(c.Abort(running.id, why))
        elif running.phase is Phase.BAKING:
            self._engine.command(c.Promote(running.id))
        async with asyncio.timeout(SUPERSEDE_PATIENCE):
            await self._engine.until(lambda s: s.rollout is None or s.rollout.id != running.id)

    def _plan(self, begin: c.Begin, options: Options) -> dict[str, Any]:
        state = self.state()
        live = state.slot(state.live)
        from_ = live.release if live is not None else ""
        to = c.release_of(state, begin)
        if begin.rehearsal is not None:
            return rehearsing.plan(to, begin.policy, begin.rehearsal, options, live)
        if stop_first.chosen(begin.kind, begin.policy, live):
            return plans.in_turn(begin.kind, from_, to, begin.policy, state.away, options)
        return plans.forth(begin.kind, from_, to, begin.policy, self._rate())

    async def _on_disk(self) -> None:
        """Nobody is told "accepted" before it is durable, unless the disk hangs."""
        try:
            async with asyncio.timeout(PERSIST_PATIENCE):
                await self._engine.until(lambda _: True)
        except TimeoutError:
            return

    def _tell_readers(self, before: State, after: State) -> None:
        narrated = narrate(before, after)
        for news in narrated:
            fields = about(news.rollout, news.slot, news.release)
            log.info("%s: %s", news.rollout or "-", news.text, extra=fields)
            extra: dict[str, Any] = {}
            if news.event in ("phase", "step"):
                extra["status"] = status(after, self.vitals())
            self._hub.publish(news.event, news.text, news.rollout, **extra)
        alarms = raised(before, after, self._store.damage)
        for alarm in alarms:
            log.log(alarm.level, "%s", alarm.text, extra=alarm.about)
        if self._outside is not None:
            self._outside.hear(after, narrated, alarms)
        if before.rollout is not None and after.last is not before.last and after.last:
            task = asyncio.create_task(self._tell_result(after.last))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell_result(self, ended: Rollout) -> None:
        """What people are told is what is on disk."""
        told = await self.rollout(ended.id) or receipt(ended, self.vitals(), running=False)
        self._hub.publish("result", told["summary"], ended.id, receipt=told)
        if self._outside is not None:
            self._outside.ended(told)
