"""What can happen. Every event names its subject by a natural key; a stale key changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reld.core.model import Counts, Exit, Followed, Identity, Mirrored
from reld.core.policy import WorkerPolicy
from reld.core.verdict.finding import Finding


class End(StrEnum):
    """How a reload ended. Refused: nothing was changed. Unknown: it may still take effect."""

    VERIFIED = "verified"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """`warning`: what is no reason not to go on, but people should know. `workers`: those of the
    release's own settings, which for a rollback are not today's; None: as the policy has them.
    """

    rollout: int
    addresses: tuple[str, ...]
    warning: str = ""
    workers: tuple[WorkerPolicy, ...] | None = None


@dataclass(frozen=True, slots=True)
class PrepareFailed:
    rollout: int
    detail: str


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process waits at its launch pipe."""

    number: int
    identity: Identity


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    number: int
    detail: str


@dataclass(frozen=True, slots=True)
class PortTaken:
    """A stranger listens where the instance was to be started. `instead`: a free address that is
    ours now, "" = there is none.
    """

    number: int
    detail: str
    instead: str = ""


@dataclass(frozen=True, slots=True)
class LetGo:
    """The held process became the app."""

    number: int


@dataclass(frozen=True, slots=True)
class Exited:
    number: int
    exit: Exit
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReadinessProbed:
    number: int
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LivenessProbed:
    number: int
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Signalled:
    number: int


@dataclass(frozen=True, slots=True)
class TreeEmpty:
    number: int


@dataclass(frozen=True, slots=True)
class SmokeEnded:
    rollout: int
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class HookEnded:
    rollout: int
    name: str
    attempt: int
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReloadEnded:
    generation: int
    end: End
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LanesMoved:
    """The gate was asked, and obeys."""

    rollout: int
    share: int


@dataclass(frozen=True, slots=True)
class LanesStuck:
    rollout: int
    detail: str


@dataclass(frozen=True, slots=True)
class LanesRemoved:
    rollout: int


@dataclass(frozen=True, slots=True)
class DrainCounted:
    """Connections to the leaving slot's ports, and gate workers that may still open some.

    `streams`: long ones (websockets, event streams) among the connections, None = it cannot be told.
    """

    rollout: int
    since: int
    connections: int
    workers: int
    streams: int | None = None


@dataclass(frozen=True, slots=True)
class StreamsClosed:
    """So many more were closed, and so many are left."""

    rollout: int
    closed: int
    left: int


@dataclass(frozen=True, slots=True)
class StreamsStay:
    """They cannot be closed one by one, for this reason."""

    rollout: int
    detail: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The request log was read up to `read_to` (CLOCK_BOOTTIME seconds), and this is what it says."""

    rollout: int
    read_to: float
    blue: Counts
    green: Counts
    finding: Finding = Finding()
    rate: float | None = None
    warning: str = ""
    turned_away: int = 0
    mirrored: Mirrored = Mirrored()
    longest: float = 0.0  # seconds, of a rehearsal: see `Rehearsal`


@dataclass(frozen=True, slots=True)
class Asked:
    """Requests of a rehearsal's own that are over so far, see `Rehearsal`."""

    rollout: int
    asked: int
    failed: int
    lost: int


@dataclass(frozen=True, slots=True)
class OldAsked:
    """The candidate is in doubt: whether the warm old slot passes its checks."""

    rollout: int
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ShieldSet:
    rollout: int
    on: bool


@dataclass(frozen=True, slots=True)
class ShadowSet:
    """The gate mirrors, or does not any more."""

    rollout: int
    on: bool


@dataclass(frozen=True, slots=True)
class UnitsFailed:
    """A plain unit of an eject cannot be started, or does not run any more."""

    rollout: int
    detail: str


@dataclass(frozen=True, slots=True)
class UnitsRemoved:
    """`detail`: what could not be removed; empty: nothing is left."""

    rollout: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StoreTrouble:
    """The state cannot be written (empty: it can again)."""

    detail: str


@dataclass(frozen=True, slots=True)
class ActiveTold:
    """Why the file that says which slot is live is not right (empty: it is)."""

    trouble: str = ""


@dataclass(frozen=True, slots=True)
class LinkNoted:
    """What the followed link says was seen to; None: no link is followed any more."""

    followed: Followed | None


@dataclass(frozen=True, slots=True)
class GateTrouble:
    """What is wrong with the gate's process (empty: nothing)."""

    detail: str


Event = (
    Tick
    | Prepared
    | PrepareFailed
    | Spawned
    | SpawnFailed
    | PortTaken
    | LetGo
    | Exited
    | ReadinessProbed
    | LivenessProbed
    | Signalled
    | TreeEmpty
    | SmokeEnded
    | HookEnded
    | ReloadEnded
    | LanesMoved
    | LanesStuck
    | LanesRemoved
    | DrainCounted
    | StreamsClosed
    | StreamsStay
    | Judged
    | Asked
    | OldAsked
    | ShieldSet
    | ShadowSet
    | UnitsFailed
    | UnitsRemoved
    | StoreTrouble
    | ActiveTold
    | LinkNoted
    | GateTrouble
)
