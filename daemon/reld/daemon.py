"""reld as a whole: recover, keep the app and its gate, answer people; nothing stops because it stops."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from systemd.daemon import notify

from reld import failpoints, followed, outside, takeover
from reld.api.clock import iso
from reld.api.hub import Hub
from reld.api.listener import given
from reld.api.server import Server
from reld.auditing import Audit
from reld.clock import boottime, offset
from reld.config import Config
from reld.config_file import load
from reld.config_streams import health
from reld.core.events import LinkNoted, Tick
from reld.core.following import Link
from reld.core.machine import first_state
from reld.core.model import Followed, Loaded, State
from reld.core.recovery import Observed, recover
from reld.doctor.doctor import Doctor, Means
from reld.engine import Engine
from reld.errors import StoreError
from reld.host import scarce
from reld.host.active import ActiveFiles
from reld.host.ahead import Ahead, Parts
from reld.host.alone import only_one, refuse_anothers_gate
from reld.host.checkpoint import Checkpoints
from reld.host.chores import for_ever
from reld.host.config_watch import ConfigWatch
from reld.host.follow import Follow
from reld.host.hands import Hands
from reld.host.holding import Holding
from reld.host.instances import Instances
from reld.host.keeping import Keeping, keeping
from reld.host.lanes_watch import LanesWatch
from reld.host.log_voices import Ears
from reld.host.machine import Machine
from reld.host.new_lines import NewLines
from reld.host.probing import Probing
from reld.host.releases import Releases
from reld.host.roster import Roster
from reld.host.running import Commands
from reld.host.sensor import Sensor
from reld.host.shown import shown
from reld.host.snapshots import Snapshots, TodaysAccess
from reld.host.sockets import Sockets
from reld.host.static_files import StaticFiles
from reld.host.tidy import Runtime
from reld.host.traffic import Traffic
from reld.host.unpacking import Unpacking
from reld.host.vitals import Vitals
from reld.leases import Leases, in_use
from reld.nginx import owner
from reld.nginx.gate import Gate
from reld.nginx.settings import GateSettings
from reld.nginx.settings import Route as GateRoute
from reld.nginx.settings import Static as GateStatic
from reld.processes import logs
from reld.processes.identity import boot_id
from reld.runbook.book import Book
from reld.saver import StateSaver
from reld.service import EngineService
from reld.store.database import Store

log = logging.getLogger("reld")

HEARTBEAT = 1.0
LOG_CAP = 64 << 20
"""Bytes that the log of one release may use on the disk."""
LOG_CARE_EVERY = 10.0
OPERATORS_GROUP = "relctl"
EXTERNAL_PATIENCE = 10.0
"""Seconds; systemd waits 90 for us."""


@dataclass(frozen=True, slots=True)
class Places:
    """`state` survives a reboot, `runtime` is on tmpfs."""

    state: Path
    runtime: Path

    @property
    def database(self) -> Path:
        return self.state / "state.db"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def socket(self) -> Path:
        return self.runtime / "control.sock"


async def serve(config: Config, places: Places, launcher: str) -> None:
    """Run until SIGTERM or SIGINT. Raises RelctlError where it cannot even begin."""
    keeps = keeping(launcher, config.name, places.state, places.runtime)
    scarce.prepare(asyncio.get_running_loop())
    for place in (places.state, places.runtime, places.logs):
        place.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        places.logs.chmod(0o700)  # their names are releases'; the app itself writes to what is open
    settings = gate_settings(config, places, keeps.gate_unit)
    with only_one(config.name, (places.state, places.runtime)):
        await refuse_anothers_gate(settings)
        store = await Store.open(places.database)
        try:
            await _run(config, places, store, keeps)
        finally:
            await store.close()


async def _run(config: Config, places: Places, store: Store, keeps: Keeping) -> None:
    gate = Gate(gate_settings(config, places, keeps.gate_unit))
    snapshots = Snapshots(store, config)
    holder: list[Engine] = []

    def state() -> State:
        return holder[0].state

    async def until(condition: Callable[[State], bool]) -> None:
        await holder[0].until(condition)

    leases = Leases(places.state, config.name)
    active = ActiveFiles(places.runtime)
    roster = Roster(state, active)
    sockets = Sockets(places.runtime, gate)
    instances = Instances(
        roster, snapshots, places.logs, keeps.launcher, keeps.words, leases, sockets
    )
    probing = Probing(roster, snapshots, keeps.launcher, keeps.words, sockets)
    files = StaticFiles(state, snapshots, gate.settings)
    traffic = Traffic(state, gate, files)
    vitals = Vitals(state, roster)
    sensor = Sensor(state, gate, Checkpoints(places.runtime), vitals)
    releases = Releases(state, snapshots, instances, probing, keeps.launcher, files)
    machine = Machine(instances, probing, releases, traffic, sensor, active)
    notes = {"app": config.name, "gate": config.gate.listen}
    if config.external is not None:
        notes["unit"] = config.external.unit or ""
    reach = failpoints.from_environment(dict(os.environ))
    ears = Ears(places.logs, places.runtime, config.name, units=keeps.units is not None)
    news = NewLines(state, until, ears)
    saver = StateSaver(
        store,
        places.logs,
        notes,
        sensor.rows_of,
        sensor.counts_of,
        sensor.turned_away,
        news.at_the_end,
    )
    before = await store.load_state()
    found = await _recovered(config, store, gate, instances)
    if keeps.units is not None:
        await asyncio.to_thread(keeps.units.sweep, roster.units())
    await asyncio.to_thread(leases.claim, config, in_use(found))
    engine = Engine(found, machine, saver, boottime, reach)
    holder.append(engine)
    holding = Holding(gate.settings)
    holding.follow(engine)

    def todays() -> Config:
        return load(config.path, uid=os.geteuid(), kept=leases.kept())

    config_watch = ConfigWatch(state, snapshots, todays)
    ahead = Ahead(
        Parts(
            state=state,
            snapshots=snapshots,
            store=store,
            rate=sensor.rate,
            instances=instances,
            releases=releases,
            files=files,
            gate=gate,
            todays=todays,
            settings_of=lambda today: gate_settings(today, places, keeps.gate_unit),
        )
    )
    doctor = Doctor(
        Means(
            state=state,
            snapshots=snapshots,
            todays=todays,
            news=config_watch.said,
            damage=lambda: store.damage,
            gate=gate.settings,
            socket=str(places.socket),
            vitals=lambda: shown(state(), sensor, vitals),
            rate=sensor.rate,
            slowest=sensor.slowest,
            members=roster.members,
            history=store.rollouts,
            receipt=store.rollout,
            systemd=keeps.units is not None,
            started=offset(),
        )
    )
    hub = Hub(lambda: iso(boottime() + offset()))

    async def begin_for(link: Link, known: Followed) -> int | None:
        return await followed.begin(service, audit.write, link, known)

    follow = Follow(
        state,
        config_watch,
        begin_for,
        lambda known: engine.tell(LinkNoted(known)),
        lambda text: hub.publish("follow", text, None),
    )
    engine.watch(follow.moved)
    outgoing = outside.Outside(
        outside.Parts(
            config=lambda: snapshots.config,
            todays=todays,
            state=state,
            found=found,
            booted=before.boot if before is not None and before.boot != found.boot else "",
            place=places.state,
            store=store,
            sensor=sensor,
            roster=roster,
            launcher=keeps.launcher,
        )
    )
    service = EngineService(
        engine,
        store,
        snapshots,
        hub,
        places.logs,
        rate=sensor.rate,
        slots=lambda: shown(state(), sensor, vitals),
        kept=leases.kept,
        config_news=config_watch.said,
        keep_page=gate.keep_page,
        begin_to_hold=holding.open,
        follow=follow.shown,
        book=Book(
            state,
            lambda: snapshots.config,
            todays,
            sensor.rate,
            places.state,
            places.socket,
            keeps.gate_unit,
        ),
        news=news,
        ahead=ahead,
        doctor=doctor,
        outside=outgoing,
        check_ejection=releases.eject.check,
    )
    audit = Audit(store)
    unpacking = Unpacking(state, engine.until, lambda: snapshots.config, todays, keeps.launcher)
    hands = Hands(unpacking, Commands(state, snapshots, todays, keeps.launcher))
    server = Server(service, TodaysAccess(snapshots), audit.write, hands)
    running = asyncio.create_task(engine.run())
    await server.start(places.socket, group=_operators_group(), sock=given(places.socket))
    runtime = Runtime(
        gate.settings,
        lambda: server.is_at(places.socket),
        lambda: server.listen_again(places.socket, group=_operators_group()),
        hub.publish,
    )
    log.info("reld looks after %s: %s", config.name, places.socket)
    await _until_the_external_app_is_served(engine)
    notify(f"READY=1\nSTATUS=looks after {config.name}")  # no-op without systemd
    chores = [
        asyncio.create_task(for_ever(partial(_heartbeat, engine))),
        asyncio.create_task(for_ever(sensor.tend)),
        asyncio.create_task(for_ever(vitals.keep)),
        asyncio.create_task(for_ever(config_watch.keep)),
        asyncio.create_task(for_ever(follow.keep)),
        asyncio.create_task(for_ever(runtime.keep)),
        asyncio.create_task(for_ever(LanesWatch(engine, gate).keep)),
        asyncio.create_task(for_ever(partial(_care_for_logs, places.logs))),
        asyncio.create_task(for_ever(partial(_forget_snapshots, engine, snapshots))),
        asyncio.create_task(for_ever(unpacking.keep)),
        asyncio.create_task(for_ever(news.keep)),
        *outgoing.chores(service.vitals, service.rollout),
    ]
    try:
        await _until_told_to_stop(running)
    finally:
        notify("STOPPING=1")
        await server.stop()
        for task in (*chores, running):
            task.cancel()
        await asyncio.gather(*chores, running, return_exceptions=True)
        await outgoing.finish()
        await audit.finish()


async def _until_the_external_app_is_served(engine: Engine) -> None:
    """Whoever waited for our start points the site at the gate next: it must not answer 503 then."""
    try:
        async with asyncio.timeout(EXTERNAL_PATIENCE):
            await engine.until(
                lambda state: (
                    state.gate.verified.routing.default is not None
                    or not any(slot.external for slot in state.slots)
                )
            )
    except TimeoutError:
        log.warning("the app of [external] is not ready: the gate answers 503")


async def _recovered(config: Config, store: Store, gate: Gate, instances: Instances) -> State:
    boot = boot_id()
    external = config.external.address if config.external is not None else None
    known = await store.load_state()
    serving = await gate.serving()
    generation = None if serving is None else serving[0]
    if known is None:
        found = gate.routing_on_disk()
        if found is not None and found[1].default is not None:
            return await _taken_over(config, store, Loaded(*found), generation)
        if found is None and generation:
            raise StoreError(
                f"cannot look after {config.name}: its gate serves generation {generation}, but"
                f" {store.path.parent} is empty, and what is not known must not be replaced",
                "put the state directory back, or name it with --state-dir; the app goes on",
            )
        return first_state(config.name, boot, external)
    alive = instances.adopt_all(known.slots, config.name)
    share = gate.share(known.rollout.id) if known.rollout is not None else None
    observed = Observed(boot, alive, generation, share, gate.outdated())
    state = recover(known, observed, boottime())
    log.info("adopted %d instances; the gate serves %s", len(alive), observed.serving)
    return state


async def _taken_over(config: Config, store: Store, loaded: Loaded, serving: int | None) -> State:
    """The state is lost and the app is served: see `takeover`."""
    log.error("the state is lost: %s", takeover.told(loaded))
    if not store.damage:
        await store.told_more(f"{store.path} holds no state")
    await store.told_more(takeover.told(loaded))
    state = takeover.taken_over(
        config.name, boot_id(), loaded, serving, await store.newest_rollout()
    )
    return recover(state, Observed(boot_id(), serving=serving), boottime())


def _operators_group() -> str | None:
    """The package makes the group; without it only root and our own user get in."""
    with contextlib.suppress(KeyError):
        grp.getgrnam(OPERATORS_GROUP)
        return OPERATORS_GROUP if os.geteuid() == 0 else None
    return None


def gate_settings(config: Config, places: Places, unit: str | None = None) -> GateSettings:
    gate = config.gate
    return GateSettings(
        app=config.name,
        listen=gate.listen,
        status=gate.status,
        runtime=places.runtime,
        state=places.state,
        boot=boot_id(),
        unit=unit,
        keepalive=gate.keepalive,
        timeout=gate.timeout,
        split="client" if gate.split == "client" else "request",
        assets=gate.assets,
        static=tuple(GateStatic(s.url, s.dir, s.cache) for s in gate.static),
        health=health(config),
        unavailable_page=Path(gate.unavailable_page) if gate.unavailable_page else None,
        shield=config.verdict.shield,
        routes=tuple(GateRoute(r.name, r.match, r.success) for r in config.route),
        user=owner.usual(),
    )


async def _heartbeat(engine: Engine) -> None:
    """A step a second whatever happens: timers of another clock cannot leave anything behind.

    It also feeds systemd's watchdog: a loop that is stuck is restarted, which costs nothing.
    """
    while True:
        await asyncio.sleep(HEARTBEAT)
        engine.tell(Tick())
        notify("WATCHDOG=1")


async def _care_for_logs(directory: Path) -> None:
    while True:
        for path in directory.glob("*.log"):
            await asyncio.to_thread(logs.trim, path, LOG_CAP)
        await asyncio.sleep(LOG_CARE_EVERY)


async def _forget_snapshots(engine: Engine, snapshots: Snapshots) -> None:
    """Only what a crash restart or a rollback may still need is kept."""
    while True:
        await engine.until(lambda s: s.rollout is None)
        state = engine.state
        keep = {s.snapshot for s in state.slots} | {g.snapshot for g in state.good}
        with contextlib.suppress(StoreError):
            await snapshots.keep(keep)
        await engine.until(lambda s: s.rollout is not None)


async def _until_told_to_stop(running: asyncio.Task[None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    told = asyncio.create_task(stop.wait())
    await asyncio.wait((told, running), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if running.done():
        running.result()
