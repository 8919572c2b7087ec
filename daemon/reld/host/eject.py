"""Effects of `eject`: plain units for the live release, started, looked after, removed again.

reld itself may have given up the right to write to /etc, so a unit of its own does it
(`place_units`). Its name is the lock: there is one at a time, whichever reld started it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from reld.core.events import UnitsFailed, UnitsRemoved
from reld.core.model import Rollout, Slot, State
from reld.core.units import may_be_called, plain_name
from reld.engine import Post
from reld.errors import LaunchError, PrepareError
from reld.excerpt import excerpt
from reld.host.snapshots import Snapshots
from reld.nginx.settings import tcp_port
from reld.plain_units import PlainUnits, plain_units
from reld.processes import cgroup, pid1, ports
from reld.processes.journal import settle

log = logging.getLogger("reld.eject")

LOOK_EVERY = 1.0
PATIENCE = 60.0
"""Seconds that systemd may take to start the units; to stop them it may take the app's own time more."""
LINES = 10
SYSTEMD = Path("/run/systemd/system")
_PLACE = str(Path(__file__).with_name("place_units.py"))
_WATCHED = ("ActiveState", "NRestarts", "Result", "ExecMainStatus")


def why_impossible() -> str:
    """Why there can be no plain unit on this machine; "" = there can."""
    if not SYSTEMD.is_dir():
        return "systemd does not run here, and a plain unit is all that eject makes"
    if os.geteuid() != 0:
        return "reld is not root, and a unit of the machine is root's to write"
    return ""


class Eject:
    """`others`: the other app of this machine that a port is for, or ""."""

    def __init__(
        self, state: Callable[[], State], snapshots: Snapshots, others: Callable[[int], str]
    ) -> None:
        self._state = state
        self._snapshots = snapshots
        self._others = others

    async def prepared(self, rollout: Rollout) -> tuple[str, ...]:
        """Addresses of the units to be. Raises PrepareError, StoreError."""
        why = why_impossible()
        if why:
            raise PrepareError(f"cannot eject: {why}")
        state = self._state()
        live = state.slot(state.live)
        if live is None or live.external:
            raise PrepareError("cannot eject: the live app was not started by reld")
        # What runs now, not what the config says today.
        snapshot = await self._snapshots.copy(live.snapshot, rollout.id)
        if not await asyncio.to_thread(Path(snapshot.directory).is_dir):
            raise PrepareError(f"cannot eject: {snapshot.directory} is not there any more")
        numbers = _ports(rollout)
        units = await self._units(rollout)
        await asyncio.to_thread(self.check, rollout.unit, units, numbers)
        return tuple(f"127.0.0.1:{port}" for port in numbers)

    def check(self, unit: str, units: PlainUnits, numbers: tuple[int, ...]) -> None:
        """Whether ports and names are free, now. Blocks. Raises PrepareError."""
        self._check_ports(numbers)
        check_names(self._state().app, unit, units)

    def _check_ports(self, numbers: tuple[int, ...]) -> None:
        config = self._snapshots.config
        hint = "relctl eject --port PORT"
        gate = {tcp_port(config.gate.listen), tcp_port(config.gate.status)}
        for port in numbers:
            if port > 65535 or port in config.ports.range or port in gate:
                raise PrepareError(f"cannot eject to port {port}: it is reld's own, or none", hint)
            other = self._others(port)
            if other:
                raise PrepareError(f"cannot eject to port {port}: it is of the app {other}", hint)
            taken = ports.listener(port)
            if taken is not None:
                raise PrepareError(f"cannot eject to port {port}: {taken} has it", hint)

    def _running(self, number: int) -> Rollout | None:
        rollout = self._state().rollout
        return rollout if rollout is not None and rollout.id == number else None

    async def _units(self, rollout: Rollout) -> PlainUnits:
        assert rollout.candidate is not None
        snapshot = await self._snapshots.get(rollout.id)
        app, numbers = self._state().app, _ports(rollout)
        return await asyncio.to_thread(
            plain_units, snapshot, app, rollout.candidate, rollout.unit, numbers
        )

    async def run(self, number: int, post: Post) -> None:
        """Put the units there, start them, and watch them until that is not wanted any more."""
        rollout = self._running(number)
        if rollout is None:
            return
        try:
            units = await self._units(rollout)
        except PrepareError as error:
            post(UnitsFailed(number, error.message))
            return
        trouble = await asyncio.to_thread(_placed, self._state().app, "install", units, PATIENCE)
        while not trouble:
            trouble = await asyncio.to_thread(_trouble, units.names)
            if not trouble:
                await asyncio.sleep(LOOK_EVERY)
        said = await asyncio.to_thread(_last_lines, units.names)
        post(UnitsFailed(number, f"{trouble}{said}"))

    async def remove(self, number: int, post: Post) -> None:
        rollout = self._running(number)
        if rollout is None:
            return
        try:
            units = await self._units(rollout)
        except PrepareError as error:
            post(UnitsRemoved(number, error.message))
            return
        patience = PATIENCE + rollout.policy.slot.stop_timeout
        trouble = await asyncio.to_thread(_placed, self._state().app, "remove", units, patience)
        post(UnitsRemoved(number, trouble))


def not_of_its_unit(slot: Slot, address: str) -> str:
    """A ready answer counts only if it comes from the unit; "" = it does."""
    port = int(address.rpartition(":")[2])
    service = f"{plain_name(slot.unit, port, len(slot.instances))}.service"
    found = ports.listener(port)
    if found is not None and found.pid is not None and cgroup.unit_of(found.pid) == service:
        return ""
    return f"port {port} is answered by {found}, not by {service}"


def _ports(rollout: Rollout) -> tuple[int, ...]:
    return tuple(range(rollout.port, rollout.port + rollout.policy.slot.instances))


def check_names(app: str, unit: str, units: PlainUnits) -> None:
    """Raises PrepareError for a name that somebody else has, or may come to have."""
    hint = f"relctl eject --unit {app}-NAME"
    for file in units.files:
        if os.path.lexists(file.path):
            raise PrepareError(f"cannot eject to {file.path}: it is there already", hint)
    for name in units.names:
        known = pid1.properties(f"{name}.service", ("LoadState",), PATIENCE)
        if known.get("LoadState") != "not-found":
            raise PrepareError(f"cannot eject to {name}.service: systemd has one already", hint)
    if not may_be_called(unit, app):
        raise PrepareError(
            f"cannot eject to {unit}.service: {app}'s unit is called {app}, or {app}-NAME", hint
        )


def _placed(app: str, do: str, units: PlainUnits, patience: float) -> str:
    """What went wrong; "" = it is done. Raises LaunchError: it is to be tried again."""
    order = {
        "do": do,
        "files": [(file.path, file.mode, file.text) for file in units.files],
        "names": units.names,
    }
    unit = f"relctl-eject-{app}.service"
    try:
        ended = subprocess.run(
            ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--unit={unit}",
             "--", sys.executable, "-I", "-S", _PLACE],
            input=json.dumps(order), capture_output=True, text=True, errors="replace",
            timeout=patience, env=pid1.ENVIRONMENT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"systemd did not {do} {', '.join(units.names)} within {patience:g} s"
    try:
        return str(json.loads(ended.stdout)["trouble"])
    except (ValueError, KeyError, TypeError):
        said = " ".join(ended.stderr.split())[-300:] or f"exit status {ended.returncode}"
        raise LaunchError(f"cannot {do} {', '.join(units.names)}: {said}") from None


def _trouble(names: tuple[str, ...]) -> str:
    """The first unit that does not run, or had to be started again; "" = all run."""
    for name in names:
        now = pid1.properties(f"{name}.service", _WATCHED, PATIENCE)
        if not now:
            continue  # systemd did not answer: no news is not bad news
        if now.get("ActiveState") != "active" or now.get("NRestarts") != "0":
            how = f"{now.get('Result')}, status {now.get('ExecMainStatus')}"
            return f"{name}.service does not run on ({now.get('ActiveState')}, {how})"
    return ""


def _last_lines(names: tuple[str, ...]) -> str:
    settle()
    units = [f"--unit={name}.service" for name in names]
    said = pid1.run(
        ["journalctl", *units, "--boot", f"--lines={LINES}", "--output=cat", "--quiet"], PATIENCE
    )
    lines = excerpt(line for line in said.stdout.splitlines() if line.isprintable())
    return "\n".join(["\nits last lines:", *(f"  {line}" for line in lines)]) if lines else ""
