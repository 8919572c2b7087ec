"""The config of one app: every key of the file, and every default, in this one place.

Durations are seconds (float), sizes are bytes (int). `config_file.load` makes a `Config` out of a
file and has checked it: what is here can be trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reld.core.policy import WARM, Policy, SlotPolicy, StreamPolicy, WorkerPolicy
from reld.core.verdict.settings import VerdictSettings

COMMAND_PLACEHOLDERS = ("port", "socket", "slot", "release", "instance", "directory")
WORKER_PLACEHOLDERS = ("slot", "release", "instance", "directory")
HOOK_PLACEHOLDERS = ("release", "directory")  # a hook belongs to no instance
HOOKS = ("before_start", "after_switch", "after_retire", "on_rollback", "contract")

# What a smoke call without `within` may take, and what the checks may take on top (seconds).
SMOKE_CALL = 10.0
SMOKE_SLACK = 10.0
# Looking at a release directory, at ports and at memory takes no longer (seconds).
PREPARE = 60.0

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports from `first` to `last`, both included."""

    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def overlaps(self, other: PortRange) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True, slots=True)
class Kept:
    """What an app of this machine has written down as its own: it was there first."""

    range: PortRange
    gate: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class App:
    """What to run. `command` and `directory` are templates for `fill`."""

    command: tuple[str, ...]
    directory: str
    user: str | None = None  # None: reld's own user (never root)
    host: str = "localhost"
    instances: int = 1
    env_file: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    stop_signal: str = "SIGTERM"
    stop_timeout: float = 30.0
    memory_max: int | None = None  # of each instance, as long as systemd keeps them
    tasks_max: int | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that instances may get. The gate's status port may be one of them: it is taken."""

    range: PortRange


@dataclass(frozen=True, slots=True)
class Readiness:
    """Exactly one of `path`, `tcp` and `command` is set; `command` is a template for `fill`."""

    path: str | None = None
    tcp: bool = False
    command: tuple[str, ...] = ()
    interval: float = 0.2
    timeout: float = 2.0
    successes: int = 2
    deadline: float = 60.0


@dataclass(frozen=True, slots=True)
class Liveness:
    """`path` None: an instance lives when its process runs and its port accepts."""

    path: str | None = None
    interval: float = 5.0
    timeout: float = 2.0
    failures: int = 3


@dataclass(frozen=True, slots=True)
class Smoke:
    """One check before the first user; `path` or `command` (a template for `fill`), never both."""

    name: str
    path: str | None = None
    command: tuple[str, ...] = ()
    method: str = "GET"
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    status: tuple[int, ...] = (200,)
    contains: str | None = None
    within: float | None = None
    times: int = 1
    warm: int = 0


@dataclass(frozen=True, slots=True)
class Rollout:
    """How traffic moves: steps in percent, times in seconds, requests on both slots together."""

    steps: tuple[int, ...] = (5, 25, 50, 95, 100)
    step_time: float = 60.0
    step_requests: int = 300
    step_max: float = 600.0
    bake: float = 600.0
    drain: float = 30.0
    drain_max: float = 300.0
    surge: int = 0  # processes more than usual while two releases change places; 0 = a whole slot
    strategy: str = WARM
    shadow: float = 0.0  # fraction of the GETs that are mirrored before the first step; 0 = none
    side_by_side: bool | None = None  # declared: two releases can use the same data; None = not
    approve_after: tuple[int, ...] = ()  # see `config_steps`


@dataclass(frozen=True, slots=True)
class Verdict:
    """`false_alarm` and `max_error_rate` are fractions of 1, `max_p95` and `warmup` seconds."""

    false_alarm: float = 0.001
    max_error_rate: float | None = None
    max_p95: float | None = None
    warmup: float = 60.0
    on_unproven: str = "promote"
    shield: bool = True


@dataclass(frozen=True, slots=True)
class Worker:
    """A background process of the release; `command` is a template for `fill`. See `core.workers`."""

    name: str
    command: tuple[str, ...]
    instances: int = 1
    stop_timeout: float = 30.0
    stop_signal: str = "SIGTERM"
    handover: str = "overlap"


@dataclass(frozen=True, slots=True)
class Route:
    """Requests that are judged apart; `match` is a regex that Python and nginx read alike.

    `success`: the only statuses that are none of a failure (a broken login answers 200); empty: all
    below 500. A 4xx stays a refusal.
    """

    name: str
    match: str
    success: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Static:
    """Files that the gate serves itself: paths below `url` from `dir` in the releases' directories.

    `cache`: seconds that browsers may keep them without asking; 0 = nothing is said of it.
    """

    url: str
    dir: str
    cache: float = 0.0


@dataclass(frozen=True, slots=True)
class Gate:
    """reld's own nginx. `load` fills in `status` (the last port of the range)."""

    listen: str = "127.0.0.1:8080"
    status: str = ""
    keepalive: int = 16
    timeout: float = 60.0
    split: str = "request"
    assets: tuple[str, ...] = ()
    static: tuple[Static, ...] = ()
    websockets: StreamPolicy | None = None
    unavailable_page: str | None = None


@dataclass(frozen=True, slots=True)
class External:
    """The app that runs today: "host:port" or "unix:/path", and the unit that a person disables."""

    address: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Hooks:
    """Commands in a rollout's life, templates for `fill`; an empty one is not configured."""

    before_start: tuple[str, ...] = ()
    after_switch: tuple[str, ...] = ()
    after_retire: tuple[str, ...] = ()
    on_rollback: tuple[str, ...] = ()
    contract: tuple[str, ...] = ()
    timeout: float = 900.0

    @property
    def configured(self) -> tuple[str, ...]:
        return tuple(name for name in HOOKS if getattr(self, name))


@dataclass(frozen=True, slots=True)
class Access:
    """Users, and groups with an @ before them."""

    operators: tuple[str, ...] = ("@relctl",)
    viewers: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Releases:
    """What `relctl unpack` does, how many of the releases that it made stay, and a link to follow.

    `shared`: paths in each release that are links to the directory `shared` beside the releases.
    `keep`: the newest ones that are not pruned, 0 = all. `max_size`: bytes that an archive may unpack
    to. `unpack_timeout`: seconds for unpacking and building together. `follow`: a symlink that names
    the release to be live, see `core.following`.
    """

    build: tuple[tuple[str, ...], ...] = ()
    shared: tuple[str, ...] = ()
    keep: int = 5
    max_size: int = 2 << 30
    unpack_timeout: float = 600.0
    follow: str | None = None


@dataclass(frozen=True, slots=True)
class Metrics:
    """`textfile`: written for node_exporter; None: it is not."""

    textfile: str | None = None


@dataclass(frozen=True, slots=True)
class Notify:
    """Somebody who is told: `url` or `command`, never both. Addresses and headers are secrets.

    `on`: what of. `user`: who the command runs as, never root; None: see `telling.command`.
    `secret_file`: what is in it signs each message.
    """

    url: str | None = field(default=None, repr=False)
    command: tuple[str, ...] = field(default=(), repr=False)
    on: tuple[str, ...] = ("start", "verdict", "end", "trouble")
    format: str = "json"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    secret_file: str | None = None
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """One app. `name` is the stem of the file's name."""

    name: str
    path: Path
    app: App
    ports: Ports
    readiness: Readiness
    liveness: Liveness = Liveness()
    smoke: tuple[Smoke, ...] = ()
    rollout: Rollout = Rollout()
    verdict: Verdict = Verdict()
    route: tuple[Route, ...] = ()
    worker: tuple[Worker, ...] = ()
    gate: Gate = Gate()
    external: External | None = None
    hooks: Hooks = Hooks()
    access: Access = Access()
    releases: Releases = Releases()
    metrics: Metrics = Metrics()
    notify: tuple[Notify, ...] = ()


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values into `{port}`-like placeholders; `{{` and `}}` are literal braces.

    Raises ValueError for a placeholder without a value and for a lone brace; `load` has refused
    both already.
    """

    def put(found: re.Match[str]) -> str:
        if (name := found[1]) is None:
            if len(found[0]) == 1:
                raise ValueError(f"lone {found[0]}")
            return found[0][0]
        if name not in values:
            raise ValueError(f"unknown placeholder {found[0]}")
        return values[name]

    return _BRACES.sub(put, template)


def named(templates: Iterable[str]) -> frozenset[str]:
    """Names of the placeholders in them."""
    every = (found for text in templates for found in _BRACES.finditer(text))
    return frozenset(found[1] for found in every if found[1])


def worker_policies(workers: tuple[Worker, ...]) -> tuple[WorkerPolicy, ...]:
    """What the core has to know of them."""
    return tuple(
        WorkerPolicy(w.name, w.instances, w.stop_timeout, w.stop_signal, w.handover)
        for w in workers
    )


def policy(config: Config) -> Policy:
    """The copy of its settings that a rollout which begins now carries."""
    app, rollout, streams = config.app, config.rollout, config.gate.websockets
    calls = sum((s.times + s.warm) * (s.within or SMOKE_CALL) for s in config.smoke)
    return Policy(
        slot=SlotPolicy(
            instances=app.instances,
            ready_successes=config.readiness.successes,
            ready_deadline=config.readiness.deadline,
            live_failures=config.liveness.failures,
            stop_timeout=app.stop_timeout,
            stop_signal=app.stop_signal,
            workers=worker_policies(config.worker),
        ),
        steps=rollout.steps,
        approve_after=rollout.approve_after,
        step_time=rollout.step_time,
        step_requests=rollout.step_requests,
        step_max=rollout.step_max,
        bake=rollout.bake,
        drain=rollout.drain,
        # Long enough for the last of them; what a person has set is, or was refused.
        drain_max=max(rollout.drain_max, streams.lasts) if streams else rollout.drain_max,
        surge=rollout.surge,
        shadow=rollout.shadow,
        strategy=rollout.strategy,
        streams=streams,
        gate_timeout=config.gate.timeout,
        on_unproven=config.verdict.on_unproven,
        verdict=VerdictSettings(
            false_alarm=config.verdict.false_alarm,
            max_error_rate=config.verdict.max_error_rate,
            max_p95=config.verdict.max_p95,
            warmup=config.verdict.warmup,
            routes=tuple(route.name for route in config.route),
            planned=rollout.step_time * (len(rollout.steps) - 1) + rollout.bake,
        ),
        prepare_deadline=PREPARE,
        smoke_deadline=calls + SMOKE_SLACK,
        hook_timeout=config.hooks.timeout,
        hooks=config.hooks.configured,
    )
