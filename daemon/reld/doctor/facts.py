"""What the doctor was able to see. None and empty mean that it could not be seen, never that all is well.

Sizes are bytes, times seconds, shares fractions of 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from reld.doctor.sites import Proxy


@dataclass(frozen=True, slots=True)
class Room:
    """The file system of a directory. `what`: what reld keeps there; `inodes`: the free fraction."""

    what: str
    path: str
    free: int
    size: int
    inodes: float | None = None


@dataclass(frozen=True, slots=True)
class HostFacts:
    """`synced`: is the clock kept by NTP. `moved`: how far the wall clock leapt since reld started.

    `live_memory`: what the live copy uses. `beside`: the part of a second copy that runs beside it
    during a switch. `descriptors`: the most files that reld and what it starts may open each;
    `machine_files`: the fraction of the machine's own limit that is in use.
    """

    rooms: tuple[Room, ...] = ()
    memory_available: int | None = None
    live_memory: int | None = None
    beside: float = 1.0
    synced: bool | None = None
    moved: float = 0.0
    descriptors: int | None = None
    machine_files: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class ReldFacts:
    """`enabled`: what systemctl is-enabled says, "" = there is no unit. `booted`: systemd is PID 1."""

    version: str
    unit: str
    damage: str = ""
    store_trouble: str = ""
    degraded: str = ""
    waiting: str = ""
    systemd: bool = False
    booted: bool = False
    root: bool = False
    enabled: str = ""


@dataclass(frozen=True, slots=True)
class GateFacts:
    """`wanted`: the generation that was verified last; `answers`: what the gate says, None = nothing.

    `holder`: who listens on the gate's port when that is no nginx, "" = an nginx or nobody.
    """

    listen: str
    status: str
    unit: str
    binary: str
    version: str = ""
    wanted: int = 0
    answers: int | None = None
    listens: bool | None = None
    holder: str = ""
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """The site's nginx. `why_not`: why it could not be read. `old`: addresses of the app before relctl.

    `ports`: first and last port that instances get.
    """

    proxies: tuple[Proxy, ...] = ()
    why_not: str = ""
    old: tuple[str, ...] = ()
    ports: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Past:
    """What a finished rollout showed. `failed_smoke`: why, when it was ready and its smoke check failed."""

    id: int
    release: str
    outcome: str
    kind: str = "switch"
    starting: float | None = None
    stopping: float | None = None
    failed_smoke: str = ""
    cut: int = 0


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """Today's file, as far as it can be read. `news`: see ConfigWatch. `longest`: the slowest request lately.

    `external`: the unit of an [external] that has had its time ("" = it names none), None = there is none.
    """

    path: str
    findings: tuple[str, ...] = ()
    news: str = ""
    bake: float = 600.0
    steps: tuple[int, ...] = (100,)
    step_requests: int = 0
    step_max: float = 600.0
    drain_max: float = 300.0
    gate_timeout: float = 60.0
    streams: bool = False
    smoke: int = 0
    ready_deadline: float = 60.0
    rate: float | None = None
    longest: float | None = None
    pasts: tuple[Past, ...] = ()
    external: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A file or directory as the file system has it. `mode` None: it is not there."""

    what: str
    path: str
    owner: str = ""
    group: str = ""
    mode: int | None = None
    wall: str = ""
    """The directory on the way to it that the app's user cannot pass, "" = none."""
    readable: bool = True
    """Whether the app's user may read it (a directory: look into it)."""
    writable: bool = True


@dataclass(frozen=True, slots=True)
class RightsFacts:
    """`unpacks`: the config speaks of `relctl unpack`. `groups`: those of [access] with their members, None = there is no such group."""

    user: str
    root: bool = True
    unpacks: bool = False
    releases: Place | None = None
    shared: Place | None = None
    env_file: Place | None = None
    socket: Place | None = None
    groups: tuple[tuple[str, tuple[str, ...] | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """An endpoint of the live app, asked some times in a row. `body`: its first characters."""

    path: str
    ok: bool
    times: tuple[float, ...] = ()
    body: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """`listens`: the address it has its port on, "" = not known. `restarts`: since it was started first."""

    name: str
    listens: str = ""
    restarts: int = 0
    detail: str = ""
    ready: bool = True


@dataclass(frozen=True, slots=True)
class AppFacts:
    """The live slot. `nowhere`: what a path answers that cannot exist. `peers`: whom the app talks to.

    `errors`: the fraction of `requests` that failed in the last seconds.
    """

    release: str = ""
    external: bool = False
    readiness: str = ""
    """The path; "" = a connection or a command."""
    connects_only: bool = False
    liveness: str = ""
    ready: Asked | None = None
    live: Asked | None = None
    nowhere: Asked | None = None
    peers: tuple[str, ...] = ()
    instances: tuple[InstanceFacts, ...] = ()
    errors: float | None = None
    requests: int = 0
    growth: float | None = None
    memory: int | None = None
    stop_signal: str = "SIGTERM"
    stop_timeout: float = 30.0
    pasts: tuple[Past, ...] = ()
