"""Asks the live app what its probes ask, a few times in a row."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from reld.aside import aside
from reld.core.addresses import socket_path
from reld.core.model import Identity, Instance, InstanceState, Slot
from reld.doctor.doctor import Means
from reld.doctor.facts import AppFacts, Asked, InstanceFacts, Past
from reld.errors import GateError, RelctlError
from reld.host.recent import SHOWN
from reld.nginx import connections
from reld.nginx.settings import tcp_port
from reld.probes.probe import probe
from reld.probes.spec import HttpProbe
from reld.processes import ports

TIMES = 4
SLOWEST = 0.5
"""Seconds for one answer."""
ENOUGH = 0.8
"""Seconds for those of one endpoint: a slow one is seen at the second answer, and others have to be asked."""
NOWHERE = "/relctl-check/no-such-page"
MOST_INSTANCES = 16


async def gathered(means: Means, pasts: tuple[Past, ...]) -> AppFacts:
    state = means.state()
    slot = state.slot(state.live)
    config = means.snapshots.config
    facts = AppFacts(
        pasts=pasts,
        readiness=config.readiness.path or "",
        stop_signal=config.app.stop_signal,
        stop_timeout=config.app.stop_timeout,
    )
    crew = [i for i in slot.crew if i.runs] if slot is not None else []
    if slot is None or not crew:
        return facts
    app, readiness, liveness = config.app, config.readiness, config.liveness
    if not slot.external:
        try:
            used = await means.snapshots.get(slot.snapshot)
        except RelctlError:
            return facts
        app, readiness, liveness = used.app, used.readiness, used.liveness
    measured = means.vitals().get(str(slot.color))
    address = crew[0].address
    ready = live = nowhere = None
    if readiness.path is not None:
        ready = await _ask(address, readiness.path, app.host)
        nowhere = await _ask(address, NOWHERE, app.host, 1)
    if liveness.path is not None and liveness.path != readiness.path:
        live = await _ask(address, liveness.path, app.host)
    facts = replace(
        facts,
        release=slot.release,
        external=slot.external,
        readiness=readiness.path or "",
        connects_only=readiness.tcp,
        liveness=liveness.path or "",
        ready=ready,
        live=live,
        nowhere=nowhere,
        peers=await aside("peers", lambda: _peers(means.members(slot), slot), 2.0),
        instances=await aside(
            "listeners", lambda: tuple(map(_instance, crew[:MOST_INSTANCES])), 2.0
        ),
        stop_signal=slot.policy.stop_signal,
        stop_timeout=slot.policy.stop_timeout,
    )
    if measured is None:
        return facts
    return replace(
        facts,
        errors=measured.errors,
        requests=round((measured.rate or 0.0) * SHOWN),
        growth=measured.trend_bytes_per_minute,
        memory=measured.rss_bytes,
    )


async def _ask(address: str, path: str, host: str, times: int = TIMES) -> Asked:
    spec = HttpProbe(path, host=host, timeout=SLOWEST)
    took: list[float] = []
    result = await probe(spec, address)
    for _ in range(times - 1):
        if not result.ok or sum(took) + result.seconds > ENOUGH:
            break
        took.append(result.seconds)
        await asyncio.sleep(0)
        result = await probe(spec, address)
    took.append(result.seconds)
    return Asked(path, result.ok, tuple(took), result.body, result.detail)


def _peers(members: Iterable[Identity], slot: Slot) -> tuple[str, ...]:
    own = [instance.address for instance in slot.instances]
    try:
        found = connections.peers((member.pid for member in members), own)
    except (OSError, GateError):
        return ()
    return tuple(sorted(found))


def _instance(instance: Instance) -> InstanceFacts:
    port = None if socket_path(instance.address) else tcp_port(instance.address)
    detail = "" if instance.exit is None else str(instance.exit)
    return InstanceFacts(
        name=f"instance {instance.index}",
        listens=ports.listens_on(port) if port is not None else "",
        restarts=instance.restarts,
        detail=detail,
        ready=instance.state is InstanceState.READY,
    )
