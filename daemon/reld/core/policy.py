"""A rollout's own copy of its settings: a config edit never changes a rollout that runs."""

from __future__ import annotations

from dataclasses import dataclass

from reld.core.verdict.settings import VerdictSettings


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


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that a rollout decides by. Times in seconds, steps in percent.

    `prepare_deadline` and `smoke_deadline` bound work whose length only the shell knows; the shell
    computes them from the config.
    """

    slot: SlotPolicy = SlotPolicy()
    steps: tuple[int, ...] = (5, 25, 50, 95, 100)
    step_time: float = 60.0
    step_requests: int = 300
    step_max: float = 600.0
    bake: float = 600.0
    drain: float = 30.0
    drain_max: float = 300.0
    on_unproven: str = "promote"
    verdict: VerdictSettings = VerdictSettings()
    prepare_deadline: float = 120.0
    smoke_deadline: float = 120.0
    reload_deadline: float = 15.0
    hook_timeout: float = 900.0
    hooks: tuple[str, ...] = ()
    """Names of the hooks that are configured."""
