"""The whole examination: each area is looked at beside the others, and none can keep it from ending."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from reld import __version__
from reld.api.service import SlotVitals
from reld.api.status import degraded
from reld.aside import HangsError, aside
from reld.config import policy
from reld.core.model import State
from reld.core.policy import STOP_FIRST
from reld.doctor.doctor import Means
from reld.doctor.facts import (
    ConfigFacts,
    GateFacts,
    HostFacts,
    Past,
    ReldFacts,
    RightsFacts,
    SiteFacts,
)
from reld.doctor.finding import Area, Desk, Finding, by_area
from reld.doctor.gather import app as asked_app
from reld.doctor.gather import machine, rights, site
from reld.doctor.rules import app, config, host, nginx, permissions, running
from reld.errors import ConfigError, GateError, RelctlError
from reld.nginx import connections, status

log = logging.getLogger("reld.check")

PATIENCE = 3.5
"""Seconds for one area; all are looked at at once."""
ASIDE = 2.5
LAST = 10
"""Rollouts that are looked back at."""


async def examine(means: Means) -> list[Finding]:
    """Every finding, by area. Ends within `PATIENCE`, whatever hangs."""
    pasts = asyncio.create_task(_bounded_pasts(means))
    areas: list[tuple[Area, Callable[[], Awaitable[Iterable[Finding]]]]] = [
        (Area.HOST, lambda: _host(means)),
        (Area.RELD, lambda: _reld(means)),
        (Area.NGINX, lambda: _nginx(means)),
        (Area.CONFIG, lambda: _config(means, asyncio.shield(pasts))),
        (Area.PERMISSIONS, lambda: _permissions(means)),
        (Area.APP, lambda: _app(means, asyncio.shield(pasts))),
    ]
    found = await asyncio.gather(*(_bounded(area, look) for area, look in areas))
    return by_area(finding for findings in found for finding in findings)


async def _bounded(
    area: Area, look: Callable[[], Awaitable[Iterable[Finding]]]
) -> Iterable[Finding]:
    say = Desk(area)
    try:
        async with asyncio.timeout(PATIENCE):
            return list(await look())
    except HangsError as hangs:
        return [say.warning(f"could not be looked at: {hangs} hangs", "relctl check, once more")]
    except TimeoutError:
        text = f"could not be looked at within {PATIENCE:g} s"
        return [say.warning(text, "relctl check, once more; then: uptime, dmesg")]
    except RelctlError as error:
        return [say.warning(f"could not be looked at: {error.message}", error.hint)]
    except Exception as error:  # what we did not think of in one area hides no other
        log.exception("relctl check, area %s", area)
        return [
            say.warning(f"could not be looked at: {error!r}", "sudo journalctl -u 'reld@*' -n 50")
        ]


async def _bounded_pasts(means: Means) -> tuple[Past, ...]:
    """The last rollouts that are over, newest first; without a database that answers: none."""
    found: list[Past] = []
    with suppress(TimeoutError, RelctlError):
        async with asyncio.timeout(ASIDE):
            over = [row for row in await means.history(LAST) if row.get("outcome")]
            for row in over:
                told = await means.receipt(int(row["id"]))
                found += [] if told is None else [app.past_of(told)]
    return tuple(found)


async def _host(means: Means) -> Iterable[Finding]:
    settings, today = means.gate, means.snapshots.config
    places = (
        ("the state", str(settings.state)),
        ("the gate's runtime files", str(settings.runtime)),
        ("releases", rights.releases_of(today.app.directory)),
    )
    state = means.state()
    live = state.slot(state.live)
    measured = means.vitals().get(str(state.live))
    rooms, synced = await asyncio.gather(
        aside("disks", lambda: machine.rooms(places), ASIDE),
        aside("timedatectl", machine.synced, ASIDE),
    )
    facts = HostFacts(
        rooms=rooms,
        memory_available=machine.memory_available(),
        live_memory=_memory(live is not None and not live.external, measured),
        beside=_beside(means),
        synced=synced,
        moved=machine.moved(means.started),
        descriptors=machine.descriptors(),
        machine_files=machine.machine_files(),
        unit=_unit(state) if means.systemd else "",
    )
    return host.findings(facts)


def _memory(ours: bool, measured: SlotVitals | None) -> int | None:
    return measured.rss_bytes if ours and measured is not None else None


def _beside(means: Means) -> float:
    """The part of a second copy that runs beside the live one in a switch."""
    rollout, instances = means.snapshots.config.rollout, means.snapshots.config.app.instances
    if rollout.strategy == STOP_FIRST:
        return 0.0
    return min(rollout.surge, instances) / instances if rollout.surge else 1.0


async def _reld(means: Means) -> Iterable[Finding]:
    state, booted = means.state(), machine.booted()
    damage = means.damage()
    unit = _unit(state)
    enabled = ""
    if means.systemd:
        enabled = await aside("systemctl", lambda: machine.enabled(unit), ASIDE)
    rollout = state.rollout
    # Asked apart: a rollout that waits for somebody is no damage.
    calm = replace(
        state, store_trouble="", rollout=None if rollout is None else replace(rollout, waiting="")
    )
    facts = ReldFacts(
        version=__version__,
        unit=unit,
        damage=damage,
        store_trouble=state.store_trouble,
        degraded=degraded(calm) or "",
        waiting=f"rollout {rollout.id}: {rollout.waiting}" if rollout and rollout.waiting else "",
        systemd=means.systemd,
        booted=booted,
        root=os.geteuid() == 0,
        enabled=enabled,
    )
    return running.findings(facts)


async def _nginx(means: Means) -> Iterable[Finding]:
    state, settings, today = means.state(), means.gate, means.snapshots.config
    answer, version, listens, (proxies, why_not) = await asyncio.gather(
        status.ask(settings),
        aside("nginx -v", lambda: machine.nginx_version(settings.binary), ASIDE),
        aside("the gate's port", lambda: _listens(settings.listen), ASIDE),
        aside("the site's nginx", site.read, ASIDE),
    )
    wanted = state.gate.verified.generation
    ours = answer is not None and answer.app == settings.app
    gate = GateFacts(
        listen=settings.listen,
        status=settings.status,
        unit=settings.unit or f"relctl-gate@{state.app}",
        binary=str(settings.binary),
        version=version,
        wanted=wanted,
        answers=answer.generation if answer is not None and ours else None,
        listens=listens[0] if wanted else None,
        holder=listens[1],
        timeout=settings.timeout,
    )
    live = state.slot(state.live)
    before = [today.external.address] if today.external is not None else []
    if live is not None and live.external:
        before += [instance.address for instance in live.instances]
    ports = today.ports.range
    sites = SiteFacts(proxies, why_not, tuple(dict.fromkeys(before)), (ports.first, ports.last))
    return nginx.findings(gate, sites)


def _listens(listen: str) -> tuple[bool | None, str]:
    """Does somebody listen there, and who, when it is no nginx."""
    try:
        there = connections.listeners(listen)
    except (GateError, OSError, ValueError):
        return None, ""
    names = set()
    for pid in connections.holders(one.inode for one in there):
        with suppress(OSError):
            names.add(f"{Path(f'/proc/{pid}/comm').read_text().strip()} (pid {pid})")
    strangers = sorted(name for name in names if not name.startswith("nginx"))
    return bool(there), "" if len(strangers) < len(names) or not strangers else strangers[0]


async def _config(means: Means, pasts: Awaitable[tuple[Past, ...]]) -> Iterable[Finding]:
    path = str(means.snapshots.config.path)
    try:
        today = await aside("the config", means.todays, ASIDE)
    except ConfigError as error:
        return config.findings(ConfigFacts(path, error.findings))
    asked = policy(today)
    state, external = means.state(), None
    live = state.slot(state.live)
    if today.external is not None and live is not None and not live.external:
        external = today.external.unit or ""
    facts = ConfigFacts(
        path,
        news=means.news(),
        bake=asked.bake,
        steps=asked.steps,
        step_requests=asked.step_requests,
        step_max=asked.step_max,
        drain_max=asked.drain_max,
        gate_timeout=asked.gate_timeout,
        streams=asked.streams is not None,
        smoke=len(today.smoke),
        ready_deadline=today.readiness.deadline,
        rate=means.rate(),
        longest=means.slowest(),
        pasts=await pasts,
        external=external,
    )
    return config.findings(facts)


async def _permissions(means: Means) -> Iterable[Finding]:
    def look() -> RightsFacts:
        return rights.gathered(means.snapshots.config, means.socket)

    return permissions.findings(await aside("owners", look, ASIDE))


async def _app(means: Means, pasts: Awaitable[tuple[Past, ...]]) -> Iterable[Finding]:
    return app.findings(await asked_app.gathered(means, await pasts))


def _unit(state: State) -> str:
    return f"reld@{state.app}"
