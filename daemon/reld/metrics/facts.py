"""What the metrics need and no state has: counted and measured where it happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: upper bounds of the histogram's buckets; one more has all that was slower."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What one slot did as one release since reld came; nothing of it ever gets less.

    `total`, `errors`, `saved`, `attempts`, `failures`: as in `nginx.counting.Seen`. `times`: how many
    times to the first byte are in each bucket of BOUNDS (not cumulative), `seconds`: their sum.
    """

    slot: str
    release: str
    total: int = 0
    errors: int = 0
    saved: int = 0
    attempts: int = 0
    failures: int = 0
    times: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Feed:
    """The gate's request log as it arrives.

    `last_line`: when one was read last (seconds since 1970; None: not yet). `turned_away`: requests
    that the gate answered 503 by itself. `silent`: why nothing can be judged; "" = it works.
    """

    last_line: float | None = None
    lines: int = 0
    nonsense: int = 0
    turned_away: int = 0
    thinned: bool = False
    silent: str = ""


@dataclass(frozen=True, slots=True)
class Disk:
    """`place`: what is kept there. `free`: bytes that any user may still fill; `size`: bytes."""

    place: str
    free: int
    size: int


@dataclass(frozen=True, slots=True)
class Addressee:
    """One that is told what happens. `name` has no secret in it."""

    name: str
    told: int = 0
    lost: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """`outcomes`: rollouts that ended, by kind and outcome. `probes`: seconds that the last readiness
    probe took, by instance number. `started`: when reld came (seconds since 1970).
    """

    started: float = 0.0
    answered: tuple[Answered, ...] = ()
    feed: Feed = Feed()
    outcomes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    probes: Mapping[int, float] = field(default_factory=dict)
    disks: tuple[Disk, ...] = ()
    addressees: tuple[Addressee, ...] = ()
