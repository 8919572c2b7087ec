"""A rollout's own copy of how it is judged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VerdictSettings:
    """`false_alarm` and `max_error_rate` are fractions of 1; `max_p95` and `warmup` seconds.

    `routes`: names of the routes that are judged apart. `planned`: seconds that the watch is meant to
    last (the restarts of the test are spread over it). `act` False: judge, and do not go back.
    """

    false_alarm: float = 0.001
    max_error_rate: float | None = None
    max_p95: float | None = None
    warmup: float = 60.0
    routes: tuple[str, ...] = ()
    planned: float = 1200.0
    act: bool = True
