"""One plan: everything is looked at once, each in the way that the switch itself would."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from reld import away, mending, outlook, plans
from reld import config as settings
from reld.api.requests import Options
from reld.api.service import Vitals
from reld.config import Config
from reld.core import commands as c
from reld.core.machine import begun
from reld.core.model import Kind, Phase, Rollout, Slot, State
from reld.errors import ConfigError, PrepareError, RelctlError, StoreError
from reld.host.ahead import Page, Parts
from reld.host.plan_gate import GateAhead
from reld.planning import changes, memory
from reld.planning.memory import Memory
from reld.planning.page import Found, approvers, page
from reld.planning.questions import (
    Asked,
    Question,
    Smokes,
    WayBack,
    gate_drains,
    last_cut,
    rollback_ready,
    side_by_side,
    slow_endpoints,
)
from reld.planning.stages import Stage, stages, took
from reld.reading import reading
from reld.refusing import refused, with_age
from reld.snapshot import Snapshot, configured_environment, refuse_gone, take

SMOKE_MOST = 20.0
"""Seconds that the checks may take together: who asked for the plan waits for 30."""
_LEAST_FREE = 1 << 20
"""Bytes without which the state cannot be saved: see `EngineService`, which tries it."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Ends:
    """What a rollout would begin with: its release as it is on the disk, and its addresses."""

    snapshot: Snapshot | None = None
    addresses: tuple[str, ...] = ()
    warning: str = ""


class Planner:
    """Of one question; the state is the one of that moment."""

    def __init__(
        self, parts: Parts, asking: asyncio.Lock, vitals: Vitals, *, operates: bool
    ) -> None:
        self._parts = parts
        self._asking = asking
        self._vitals = vitals
        self._operates = operates
        self._state: State = parts.state()
        self._stops: list[RelctlError] = []

    async def page(
        self, release: str, options: Options, rehearsal: Mapping[str, Any] | None
    ) -> Page:
        """Raises BadRequest for options that make no sense together."""
        config, state = await self._config(), self._state
        policy = plans.with_options(settings.policy(config), options)
        begin = c.Begin(
            Kind.SWITCH,
            release,
            policy,
            force=options.force,
            approval=bool(config.access.approvers),
        )
        rollout = begun(state, begin, self._vitals.now).rollout
        assert rollout is not None
        live = state.slot(state.live)
        already = c.already(state, begin)
        attached = self._attached(begin)
        first = "" if attached or already else await self._refused(begin, options)
        ends, room = _Ends(), None
        if not already:
            ends = await self._prepared(config, rollout)
            room = await self._room(rollout)
        smokes = await self._smokes(config, live, release)
        way = await self._way_back(live, config)
        directory = "" if ends.snapshot is None else ends.snapshot.directory
        gate = GateAhead(self._parts, state)
        diffs, note = await gate.diffs(config, rollout, ends.addresses, directory)
        seconds = state.away
        plan = plans.forth(Kind.SWITCH, rollout.from_, release, policy, self._parts.rate())
        if rollout.stop_first:
            plan = plans.in_turn(Kind.SWITCH, rollout.from_, release, policy, seconds, options)
        gone = plans.gates_left_out(plan, settings.policy(config), policy, options)
        alone = not rollout.from_ or (live is not None and live.dead)
        found = Found(
            stops=tuple(self._stops),
            questions=self._questions(config, rollout, rehearsal, smokes, way),
            stages=self._stages(rollout, len(config.smoke), alone=alone),
            memory=room,
            no_memory=memory.why_none(live, rollout, already),
            already=already,
            attached=attached,
            warnings=tuple(filter(None, (first, gone, ends.warning))),
            gate_diff=diffs,
            gate_note=note,
            changes=await self._changes(config, live),
            judged=() if alone or rollout.stop_first else tuple(outlook.judged(policy)),
        )
        return page(found, plan, config.hooks, approvers(state, rollout, config.access))

    async def _config(self) -> Config:
        try:
            return await reading(self._parts.todays)
        except ConfigError as error:
            self._stops.append(error)
            return self._parts.snapshots.config

    def _attached(self, begin: c.Begin) -> str:
        running = self._state.rollout
        same = running is not None and running.kind is Kind.SWITCH and running.outcome is None
        if running is None or not same or running.to != begin.release:
            return ""
        return f"rollout {running.id} brings {running.to} already: a switch would watch it"

    async def _refused(self, begin: c.Begin, options: Options) -> str:
        """What a switch would do first, "" = nothing."""
        running, first = self._state.rollout, ""
        if options.supersede and running is not None:
            first = f"rollout {running.id} ({running.to or running.kind}) would be ended first"
        elif (refusal := c.refuse(self._state, begin)) is not None:
            self._stops.append(refused(with_age(refusal, running, self._vitals.now)))
        try:
            mending.refuse_damaged(Kind.SWITCH, self._parts.store)
        except RelctlError as error:
            self._stops.append(error)
        place = self._parts.store.path.parent
        if await reading(_full, place):
            why = "cannot save the state: the disk is full"
            self._stops.append(StoreError(why, f"free some space: df -h {place}"))
        return first

    async def _prepared(self, config: Config, rollout: Rollout) -> _Ends:
        """As `Releases.prepare` does, only that nothing is taken."""
        parts = self._parts
        snapshot = await self._tried(lambda: reading(take, config, rollout.to))
        addresses, warning = None, None
        if self._state.rollout is None:
            count, app = rollout.policy.slot.instances, config.app
            addresses = await self._tried(lambda: parts.instances.foreseen(config, count, app))
        if snapshot is not None:
            taken = snapshot
            warning = await self._tried(lambda: parts.files.prepared(taken))
        return _Ends(snapshot, addresses or (), warning or "")

    async def _tried(self, look: Callable[[], Awaitable[_T]]) -> _T | None:
        try:
            return await look()
        except RelctlError as error:
            self._stops.append(error)
        except OSError as error:
            self._stops.append(PrepareError(str(error)))
        return None

    async def _room(self, rollout: Rollout) -> Memory | None:
        found = await reading(self._parts.releases.room, self._state, rollout)
        needs = not rollout.force and not rollout.stop_first
        if found is not None and not found.enough and needs:
            other = away.another_way(rollout, self._state.away)
            self._stops.append(PrepareError(found.refusal, memory.hint(other)))
        return None if rollout.stop_first else found

    async def _smokes(self, config: Config, live: Slot | None, release: str) -> Smokes:
        count = len(config.smoke)
        if live is None:
            return Smokes(count, why_not="nothing is live that could be asked")
        if not count:
            return Smokes(0)
        if not self._operates:
            why = "operators can run the checks: each is a request to the app"
            return Smokes(count, why_not=why, mend=f"as an operator: relctl plan {release}")
        then = await self._snapshot(live)
        wanted = config.smoke
        known = wanted if then is None else then.smoke
        if then is None:  # not started by reld: nobody knows how to run a command for it
            wanted = tuple(check for check in wanted if not check.command)
            then = _stranger(live.release, config)
        asked: list[Asked] = []
        try:
            async with asyncio.timeout(SMOKE_MOST), self._asking:
                for check in wanted:
                    result = await self._parts.releases.asked(live, then, check)
                    asked.append(Asked(check.name, result.ok, result.detail, check in known))
        except TimeoutError:
            return Smokes(count, tuple(asked), late=True)
        return Smokes(count, tuple(asked), late=len(asked) < count)

    async def _snapshot(self, slot: Slot) -> Snapshot | None:
        """None: it is lost, or there never was one."""
        if not slot.snapshot:
            return None
        try:
            return await self._parts.snapshots.get(slot.snapshot)
        except StoreError:
            return None

    async def _way_back(self, live: Slot | None, config: Config) -> WayBack:
        running, state = self._state.rollout, self._state
        if live is None:
            return WayBack("")
        if running is not None:
            number = f"rollout {running.id} ({running.to or running.kind})"
            return WayBack(live.release, unsettled=f"{number} is {running.phase}")
        if live.external and not live.unit:
            return WayBack(live.release, external=f"the app at {live.instances[0].address}")
        good = next((g for g in reversed(state.good) if g.release == live.release), None)
        if good is None:
            why = f"{live.release} is not among the good releases"
            return WayBack(live.release, missing=(why,), mend="relctl restart makes it one")
        try:
            snapshot = await self._parts.snapshots.get(good.snapshot)
            await reading(refuse_gone, snapshot)
        except RelctlError as error:
            return WayBack(live.release, missing=(error.message,), mend=error.hint)
        occupied, mend = "", ""
        try:
            await self._parts.instances.foreseen(config, len(live.instances), snapshot.app)
        except RelctlError as error:
            occupied, mend = error.message, error.hint
        idle = c.idle_slot(state)
        if idle is not None:
            occupied = f"slot {idle.color} is locked, processes of {idle.release} are still there"
            mend = "relctl status"
        return WayBack(live.release, sealed=good.sealed, occupied=occupied, mend=mend)

    def _questions(
        self,
        config: Config,
        rollout: Rollout,
        rehearsal: Mapping[str, Any] | None,
        smokes: Smokes,
        way: WayBack,
    ) -> tuple[Question, ...]:
        wall, policy = self._vitals.now + self._vitals.offset, rollout.policy
        declared, first = config.rollout.side_by_side, rollout.stop_first
        bakes = not first and policy.bake > 0
        return (
            side_by_side(declared, rollout.from_, rollout.to, stop_first=first),
            gate_drains(rehearsal, rollout.from_, wall, last_cut(self._state.last)),
            slow_endpoints(smokes, rollout.from_),
            rollback_ready(way, rollout.to, bakes=bakes),
        )

    def _stages(self, rollout: Rollout, smokes: int, *, alone: bool) -> list[Stage]:
        started = took(self._state.last, Phase.STARTING)
        rate = self._parts.rate()
        return stages(rollout, rate, smokes, started, self._state.away, alone=alone)

    async def _changes(self, config: Config, live: Slot | None) -> tuple[dict[str, Any], ...]:
        then = None if live is None else await self._snapshot(live)
        if then is None:
            return ()
        try:
            env = dict(await reading(configured_environment, config))
        except RelctlError:
            env = None  # the release cannot be started either, and that is said
        return tuple(changes.changed(then, config, env, names=self._operates))


def _stranger(release: str, config: Config) -> Snapshot:
    """Of an app that reld did not start: what it needs to be asked."""
    return Snapshot(
        release=release,
        directory="/",
        app=config.app,
        readiness=config.readiness,
        liveness=config.liveness,
        smoke=(),
        hooks=config.hooks,
        env=(),
    )


def _full(place: Path) -> bool:
    try:
        return shutil.disk_usage(place).free < _LEAST_FREE
    except OSError:
        return False
