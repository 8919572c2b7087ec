"""A rollout's own copy of its settings: a config edit never changes a rollout that runs."""

from __future__ import annotations

from dataclasses import dataclass

from reld.core.verdict.settings import VerdictSettings


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """How one kind of worker moves from release to release, and is stopped. Times in seconds."""

    name: str
    instances: int = 1
    stop_timeout: float = 30.0
    stop_signal: str = "SIGTERM"
    handover: str = "overlap"  # or "stop-first"

    @property
    def stop_first(self) -> bool:
        """Never beside the one of another release."""
        return self.handover == "stop-first"


WARM, STOP_FIRST = "warm", "stop-first"
"""Strategies: both slots run side by side, or one of them at a time, see `stop_first`."""


@dataclass(frozen=True, slots=True)
class SlotPolicy:
    """How the instances of one slot are started, asked and stopped. Times in seconds."""

    instances: int = 1
    ready_successes: int = 2
    ready_deadline: float = 60.0
    ready_misses: int = 3
    live_failures: int = 3
    stop_timeout: float = 30.0
    stop_signal: str = "SIGTERM"
    workers: tuple[WorkerPolicy, ...] = ()

    def has(self, worker: str) -> bool:
        return any(w.name == worker for w in self.workers)

    def worker(self, name: str) -> WorkerPolicy:
        """Of a name that is not there: the defaults."""
        return next((w for w in self.workers if w.name == name), WorkerPolicy(name))


@dataclass(frozen=True, slots=True)
class StreamPolicy:
    """What becomes of long connections (websockets, event streams) of a slot that leaves. Seconds."""

    keep: float = 300.0
    close_over: float = 30.0

    @property
    def lasts(self) -> float:
        return self.keep + self.close_over


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that a rollout decides by. Times in seconds, steps in percent.

    `prepare_deadline` and `smoke_deadline` bound work whose length only the shell knows; the shell
    computes them from the config.
    """

    slot: SlotPolicy = SlotPolicy()
    steps: tuple[int, ...] = (5, 25, 50, 95, 100)
    approve_after: tuple[int, ...] = ()  # a person must agree after those, see `agreement`
    step_time: float = 60.0
    step_requests: int = 300
    step_max: float = 600.0
    bake: float = 600.0
    drain: float = 30.0
    drain_max: float = 300.0
    surge: int = 0
    shadow: float = 0.0  # fraction of the GETs that are mirrored before the first step
    streams: StreamPolicy | None = None  # None: they are cut when the drain ends
    on_unproven: str = "promote"
    verdict: VerdictSettings = VerdictSettings()
    prepare_deadline: float = 120.0
    smoke_deadline: float = 120.0
    reload_deadline: float = 15.0
    gate_timeout: float = 60.0  # how long the gate waits for an answer of the app
    hook_timeout: float = 900.0
    strategy: str = WARM
    hooks: tuple[str, ...] = ()
    """Names of the hooks that are configured."""
