"""What the API asks of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from reld.api.hub import Subscription
from reld.api.maintenance import MaintenanceRequest
from reld.api.peers import Caller
from reld.api.replay import ReplayRequest
from reld.api.requests import Approval, LogRequest, RolloutRequest, Steer
from reld.core.model import State
from reld.newlines.news import News


@dataclass(frozen=True, slots=True)
class SlotVitals:
    """What is measured of one slot lately; None: not known.

    Traffic: `rate` in requests per second, `errors` the fraction of first attempts that failed
    (0 … 1), `p50`, `p95` and `p99` of the time to the first byte in milliseconds.
    Resources of all its processes together: `rss_bytes`; `cpu_percent` of one core; `open_files`,
    `processes`; `peers`: connections to each remote address; `trend_bytes_per_minute`: how fast its
    memory grows; `warning`: what a person should look at, in one line.
    """

    rate: float | None = None
    errors: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    rss_bytes: int | None = None
    cpu_percent: float | None = None
    open_files: int | None = None
    processes: int | None = None
    peers: Mapping[str, int] | None = None
    trend_bytes_per_minute: float | None = None
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a status needs and the state has not.

    `now` is CLOCK_BOOTTIME, `offset` is what makes wall-clock time (seconds since 1970) of it.
    `slots`: by colour ("blue", "green"); one that is missing has not been measured. `damage`: what
    happened to the database, until a person mends it. `config`: what the config file says that does
    not hold yet, in one line. `new_lines`: by rollout, where it is known.
    `follow`: the followed link, as the status shows it.
    """

    now: float
    offset: float
    slots: Mapping[str, SlotVitals] = field(default_factory=dict)
    damage: str = ""
    config: str = ""
    new_lines: Mapping[int, News] = field(default_factory=dict)
    follow: Mapping[str, Any] | None = None

    def slot(self, color: str) -> SlotVitals:
        return self.slots.get(color, SlotVitals())


class Service(Protocol):
    """Methods that may refuse raise reld.errors.Refused, or one of its subclasses."""

    def state(self) -> State: ...

    def vitals(self) -> Vitals: ...

    async def begin(self, request: RolloutRequest, caller: Caller) -> dict[str, Any]:
        """The body that answers POST /v1/rollouts.

        202 is sent when it has an id and is neither "attached" nor "already"; else 200.
        """
        ...

    async def steer(self, steer: Steer, caller: Caller) -> dict[str, Any]:
        """{"id", "message"}. Raises api.requests.NotFound for a rollout that never was."""
        ...

    async def approve(self, approval: Approval, caller: Caller) -> dict[str, Any]:
        """{"id", "message"}. Raises api.requests.NotFound for a rollout that never was."""
        ...

    async def audits(self, limit: int) -> list[dict[str, Any]]:
        """Who wanted to change what, newest first."""
        ...

    async def mend(self, caller: Caller) -> dict[str, Any]:
        """{"mended": bool, "message", "rollouts", "audit", "backups"}."""
        ...

    async def maintain(self, request: MaintenanceRequest, caller: Caller) -> dict[str, Any]:
        """{"already", "in_effect", "message", "maintenance"}: `relctl maintenance on|off`."""
        ...

    def subscribe(self, last: int = 0) -> Subscription:
        """Events from this moment on, as published in a Hub, and the newest `last` of before."""
        ...

    async def rollouts(self, limit: int) -> list[dict[str, Any]]:
        """Newest first, the running one included."""
        ...

    async def rollout(self, number: int) -> dict[str, Any] | None:
        """The receipt object ("outcome" null while it runs); None: there is no such rollout."""
        ...

    async def replay(self, request: ReplayRequest) -> dict[str, Any]:
        """{"id", "seconds", "outcome", "found", "settings"}.

        Raises api.requests.NotFound for a rollout that never was, Refused without its counts.
        """
        ...

    async def check(self) -> dict[str, Any]:
        """{"app", "findings": [{"area", "level", "text", "mend"}]}; within some seconds, whatever hangs."""
        ...

    async def plan(self, request: RolloutRequest, caller: Caller) -> dict[str, Any]:
        """What a switch would do and meet now, see planning.page; nothing is changed."""
        ...

    async def releases(self) -> list[dict[str, Any]]:
        """Newest first."""
        ...

    async def runbook(self) -> str:
        """The team's own page about releases: Markdown."""
        ...

    async def new_lines(self, number: int | None) -> dict[str, Any]:
        """What the candidate of a rollout wrote that the old release never did; None: the newest.

        Raises api.requests.NotFound for a rollout that never was.
        """
        ...

    async def metrics(self) -> bytes:
        """The text that Prometheus reads, see metrics.page."""
        ...

    def told(self) -> list[dict[str, Any]]:
        """The targets of [[notify]]: {"target", "on", "told", "lost", "waiting", "trouble"}."""
        ...

    async def tell_all(self) -> dict[str, Any]:
        """A test message to those of the config file as it is now.

        {"targets": [{"target", "told", "answer", "seconds"}], "pending": other ones are in use}.
        """
        ...

    def log_lines(self, request: LogRequest) -> AsyncIterator[dict[str, Any]]:
        """{"release", "slot", "line"}; ends unless it follows."""
        ...
