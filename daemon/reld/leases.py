"""Which ports each app of this machine has taken, so that no two of them ever take the same one.

Each reld keeps one small file with its state: it survives a reboot, as the ports of the live slot do,
and goes away with the app. Whoever picks ports holds a lock on the directory of all states; the kernel
lets go of it when its holder dies. Blocks for as long as others hold it: call it in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from reld import durable
from reld.config import Config, Kept, PortRange
from reld.core.addresses import leased
from reld.core.model import State
from reld.errors import ConfigError, PrepareError
from reld.nginx.settings import tcp_port
from reld.processes import ports

log = logging.getLogger("reld.ports")

NAME = "ports.json"
PATIENCE = 5.0
"""Seconds to wait for others: picking takes some milliseconds."""
_LARGEST = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Lease:
    """What an app has. `config`: the path of its file; `gate`: where its gate listens."""

    app: str
    config: str
    first: int
    last: int
    gate: tuple[str, ...]
    ports: tuple[int, ...]

    @property
    def range(self) -> PortRange:
        return PortRange(self.first, self.last)


class Leases:
    """`state`: the app's own state directory; those of the other apps are beside it."""

    def __init__(self, state: Path, app: str) -> None:
        self._place = state.absolute()
        self._app = app

    def kept(self) -> dict[str, Kept]:
        """What every app has that still has a config: see `config_file.load`."""
        return {
            lease.app: Kept(lease.range, lease.gate)
            for _, lease in self._every()
            if Path(lease.config).exists()
        }

    def claim(self, config: Config, taken: Iterable[int]) -> None:
        """At the start of reld: say what is ours.

        Raises ConfigError where another reld, which runs now, has some of it.
        """
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self._alone())
            except PrepareError as error:  # no reason to leave the app without its reld
                log.warning("%s", error.message)
            for place, lease in self._others():
                if _runs(place):
                    _refuse(config, lease)
            self._write(config, taken)

    def pick(self, config: Config, count: int, taken: Iterable[int]) -> tuple[int, ...]:
        """So many free ports of our range, ours from now on beside those that are `taken` already.

        Raises PrepareError.
        """
        taken = set(taken)
        with self._alone():
            found = self.free(config, count, taken)
            self._write(config, taken | set(found))
        return found

    def free(self, config: Config, count: int, taken: Iterable[int]) -> tuple[int, ...]:
        """The same, and they stay free: for who only looks. Raises PrepareError."""
        theirs = {port for _, lease in self._others() for port in lease.ports}
        chosen = config.ports.range
        avoid = set(taken) | theirs | _of_gate(config)
        return ports.free_ports(chosen.first, chosen.last, count, avoid)

    def others(self, port: int) -> str:
        """The other app whose instances or gate this port is for; "" = there is none."""
        for _, lease in self._others():
            gate = {tcp_port(address) for address in lease.gate}
            its = port in lease.range or port in lease.ports or port in gate
            if its and Path(lease.config).exists():
                return lease.app
        return ""

    def _write(self, config: Config, taken: Iterable[int]) -> None:
        chosen, gate = config.ports.range, config.gate
        at = tuple(address for address in (gate.listen, gate.status) if address)
        numbers = tuple(sorted(_of_gate(config) | set(taken)))
        path = str(config.path.absolute())
        lease = Lease(self._app, path, chosen.first, chosen.last, at, numbers)
        try:
            durable.replace(self._place / NAME, json.dumps(asdict(lease)).encode())
        except OSError as error:
            # A full disk: the lock and a look at who listens protect as well, while all of us run.
            log.warning("cannot write down which ports are in use: %s", error)

    def _others(self) -> Iterator[tuple[Path, Lease]]:
        return ((place, lease) for place, lease in self._every() if place != self._place)

    def _every(self) -> list[tuple[Path, Lease]]:
        found = []
        for path in sorted(self._place.parent.glob(f"*/{NAME}")):
            lease = _read(path)
            if lease is not None:
                found.append((path.parent, lease))
        return found

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        handle = os.open(self._place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            until = time.monotonic() + PATIENCE
            while not _locked(handle):
                if time.monotonic() > until:
                    raise PrepareError(
                        f"cannot pick ports: another process holds {self._place.parent} locked",
                        f"fuser -v {self._place.parent}",
                    )
                time.sleep(0.02)
            yield
        finally:
            os.close(handle)


def in_use(state: State) -> set[int]:
    """The ports that the app has, or had a moment ago, or that its gate may still name."""
    addresses = {rest.address for rest in state.resting}
    addresses |= {i.address for slot in state.slots for i in slot.instances}
    if state.rollout is not None:
        addresses |= set(state.rollout.addresses)
    for loaded in state.gate.possible:
        for target in (loaded.routing.default, loaded.routing.candidate):
            addresses |= set(target.addresses) if target is not None else set()
    # Of a socket the port is leased, too; an external one has none.
    return {int(port) for port in map(leased, addresses) if port.isascii() and port.isdecimal()}


def _of_gate(config: Config) -> set[int]:
    at = (config.gate.listen, config.gate.status)
    return {port for address in at if address and (port := tcp_port(address)) is not None}


def _refuse(config: Config, lease: Lease) -> None:
    chosen, gate = config.ports.range, config.gate
    who = f"{lease.app} ({lease.config}), whose reld runs"
    what = ""
    if chosen.overlaps(lease.range):
        what = f"ports {chosen} overlap {lease.range} of {who}"
    for name, address in (("listen", gate.listen), ("status", gate.status)):
        if address in lease.gate:
            what = f"gate.{name} {address} is taken by {who}"
    if what:
        raise ConfigError((f"{config.path}: {what}; choose other ports",))


def _read(path: Path) -> Lease | None:
    """What is damaged is nobody's lease; its app writes it anew."""
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(_LARGEST))
        return Lease(
            str(said["app"]),
            str(said["config"]),
            int(said["first"]),
            int(said["last"]),
            tuple(map(str, said["gate"])),
            tuple(map(int, said["ports"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _runs(place: Path) -> bool:
    """Whether the reld of that state runs: it holds its lock."""
    try:
        with (place / "reld.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
