"""The state of one app: all that reld knows and must not forget.

Every value is frozen; `machine.step` makes the next state from the last. Times (`at`, `since`, `…_at`,
`until`) are absolute seconds of CLOCK_BOOTTIME: the state holds deadlines, never "now".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from reld.core.policy import Policy, SlotPolicy
from reld.core.units import plain_name
from reld.core.verdict.finding import Finding


class Color(StrEnum):
    BLUE = "blue"
    GREEN = "green"

    @property
    def other(self) -> Color:
        return Color.GREEN if self is Color.BLUE else Color.BLUE


class Kind(StrEnum):
    SWITCH = "switch"
    ROLLBACK = "rollback"
    RESTART = "restart"
    START = "start"
    STOP = "stop"
    CONTRACT = "contract"
    EJECT = "eject"  # to plain units that run without reld


class Phase(StrEnum):
    PREPARING = "preparing"
    STARTING = "starting"
    PROVING = "proving"
    ADMITTING = "admitting"
    SHIFTING = "shifting"
    BAKING = "baking"
    COMMITTING = "committing"
    REVERTING = "reverting"
    DRAINING = "draining"
    STOPPING = "stopping"
    FINISHING = "finishing"


class Outcome(StrEnum):
    DONE = "done"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"


class InstanceState(StrEnum):
    WANTED = "wanted"  # to be spawned once `spawn_at` is reached
    HELD = "held"  # a process waits at its launch pipe; its identity is being persisted
    STARTING = "starting"  # runs, has not been ready since it was started
    READY = "ready"
    UNREADY = "unready"  # was ready, misses its readiness probes
    STOPPING = "stopping"  # the stop signal is wanted or sent
    KILLING = "killing"  # stop_timeout is over: SIGKILL for the whole tree
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process, beyond doubt: a pid alone is reused, wall-clock start times are moved by NTP.

    `start_ticks` is field 22 of /proc/PID/stat (clock ticks since boot).
    """

    pid: int
    start_ticks: int
    boot_id: str


SHUTDOWN = "the machine is going down"
OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended; both None = not known (it was adopted, its parent was not us).

    `cause`: what else is known of it, such as SHUTDOWN or OUT_OF_MEMORY.
    """

    code: int | None = None
    signal: int | None = None
    cause: str = ""

    def __str__(self) -> str:
        if self.signal is not None:
            what = f"killed by signal {self.signal}"
        else:
            what = "exit status unknown" if self.code is None else f"exit code {self.code}"
        return f"{what} ({self.cause})" if self.cause else what


@dataclass(frozen=True, slots=True)
class Instance:
    """One process of a slot. A respawn is a new instance (new number) on the same port."""

    number: int
    index: int
    address: str
    state: InstanceState = InstanceState.WANTED
    identity: Identity | None = None
    spawn_at: float = 0.0
    started_at: float = 0.0
    deadline: float | None = None
    ready_streak: int = 0
    misses: int = 0
    live_misses: int = 0
    restarts: int = 0
    backoff: float = 0.1
    robbed: bool = False  # a stranger listens at its address
    signalled: bool = False
    adopted: bool = False
    exit: Exit | None = None
    detail: str = ""

    @property
    def runs(self) -> bool:
        return self.exit is None and self.state not in (
            InstanceState.WANTED,
            InstanceState.EXITED,
        )

    @property
    def was_ready(self) -> bool:
        """Ready since it was started: it may be named by the gate."""
        return self.state in (InstanceState.READY, InstanceState.UNREADY)


@dataclass(frozen=True, slots=True)
class Slot:
    """The instances of one release. `snapshot` is the id of the rollout that took its settings.

    `external`: reld did not start them and never signals them. `unit`: the plain units that `eject`
    made for them have names that begin so.
    """

    color: Color
    release: str
    snapshot: int
    policy: SlotPolicy
    instances: tuple[Instance, ...]
    external: bool = False
    unit: str = ""

    @property
    def units(self) -> tuple[str, ...]:
        """Names of the plain units that run it; none unless it was ejected."""
        if not self.unit:
            return ()
        ports = [int(i.address.rpartition(":")[2]) for i in self.instances]
        return tuple(plain_name(self.unit, port, len(ports)) for port in ports)

    @property
    def fit(self) -> bool:
        """Every instance runs and was ready since it was started."""
        if self.external and not self.unit:
            return not self.dead
        return all(i.was_ready for i in self.instances)

    @property
    def dead(self) -> bool:
        """No instance runs; an external app, whose process nobody here knows: it does not answer."""
        if self.external:
            return all(i.state is not InstanceState.READY for i in self.instances)
        return not any(i.runs for i in self.instances)


@dataclass(frozen=True, slots=True)
class Target:
    """What a gate config says of one slot: where its instances answer. No address: nowhere, now."""

    color: Color
    release: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Routing:
    """Who gets requests. `default` None: nobody, the gate answers 503. `rollout` names the lanes."""

    default: Target | None = None
    candidate: Target | None = None
    rollout: int | None = None

    def names(self, color: Color) -> bool:
        return any(t is not None and t.color is color for t in (self.default, self.candidate))


@dataclass(frozen=True, slots=True)
class Loaded:
    generation: int
    routing: Routing


@dataclass(frozen=True, slots=True)
class Gate:
    """What the gate serves, as far as it can be known.

    `suspects`: every reload whose end is unknown, until a newer generation is verified.
    """

    verified: Loaded = Loaded(0, Routing())
    in_flight: Loaded | None = None
    suspects: tuple[Loaded, ...] = ()
    deadline: float | None = None
    retry_at: float = 0.0
    failures: int = 0
    trouble: str = ""

    @property
    def possible(self) -> tuple[Loaded, ...]:
        """Every config that a request may meet now."""
        flying = () if self.in_flight is None else (self.in_flight,)
        return (self.verified, *self.suspects, *flying)


class HookState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Hook:
    name: str
    state: HookState
    attempt: int
    deadline: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """When a phase began (CLOCK_BOOTTIME seconds)."""

    phase: Phase
    at: float


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests that a slot answered since the rollout began; `errors` reached a user.

    `failures`: first attempts that failed; `saved`: those of them that the other slot made good.
    """

    total: int = 0
    errors: int = 0
    failures: int = 0
    saved: int = 0


@dataclass(frozen=True, slots=True)
class Watch:
    """What the sensor said last.

    `read_to`: up to when the request log has been read (CLOCK_BOOTTIME seconds); steps are timed by
    it, so that a reld that was away reads first and judges then. `silent_at`: when silence since
    then is a trouble. `rate`: requests per second lately; None: watched for too short a time.
    `unwatched`: seconds of this step that said nothing for or against the candidate.
    """

    read_to: float = 0.0
    silent_at: float = 0.0
    finding: Finding = Finding()
    rate: float | None = None
    unwatched: float = 0.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """One numbered, durable job, with its own copy of its policy."""

    id: int
    kind: Kind
    phase: Phase
    since: float
    began: float
    policy: Policy
    actor: str = ""
    from_: str = ""
    to: str = ""
    old: Color | None = None  # live when the rollout began
    candidate: Color | None = None
    leaving: Color | None = None  # which slot draining and stopping work on
    force: bool = False
    people: tuple[int, ...] = ()  # user ids of the person who began it: also behind sudo and su
    note: str = ""
    approval: bool = False  # another person has to approve it
    approved_by: str = ""
    approval_note: str = ""
    reason: str = ""
    outcome: Outcome | None = None  # decided when it turns, told when it ends
    prepared: bool | None = None
    addresses: tuple[str, ...] = ()  # leased for the candidate
    smoke: bool | None = None
    admitted: bool = False  # the gate has named both slots
    detail: str = ""  # why prepare or smoke failed
    step: int = -1  # index into policy.steps
    share: int = 0  # lanes that the gate was seen to obey
    wanted_share: int = 0
    unsure: bool = False  # a move was begun and never confirmed: the share may be another
    step_since: float | None = None  # the share of this step was seen obeyed
    step_base: int = 0  # requests on both slots when the step began
    drain_since: float | None = None  # the leaving slot was no longer exposed
    moved: bool = False  # traffic may have reached the candidate as a candidate
    committed: bool = False  # the gate's default is where this rollout wanted it
    turning: Outcome | None = None  # a person or the guard asked to go back
    turned_at: int = 0  # the share when it turned back
    paused: bool = False
    promoted: bool = False
    full: bool = False
    unproven: bool = False
    waiting: str = ""
    skipped: tuple[int, ...] = ()  # steps that could not have shown anything
    watch: Watch = Watch()
    old_answers: bool | None = (
        None  # the warm old slot was asked, because the candidate is in doubt
    )
    asked_at: float = 0.0
    unshielded: bool = False  # the shield is off, as far as the gate's files go
    warning: str = ""  # the first thing about the candidate's resources that people should know
    observed: str = ""  # what a verdict that may not act would have gone back for
    left: int | None = None  # connections and old gate workers still to go, last count
    not_named_since: int = 0  # first verified generation that no longer names the leaving slot
    drained: bool = False
    cut: int = 0
    drain_seconds: float = 0.0
    reloads: int = 0
    hooks: tuple[Hook, ...] = ()
    old_units: tuple[str, ...] = ()  # the old slot was ejected before: its units, nobody's now
    unit: str = ""  # eject: what its plain units are called
    port: int = 0  # eject: of the first of them
    unit_trouble: str = ""  # why a unit does not run
    unit_gone: str | None = None  # its units were removed; not empty: what could not be
    blue: Counts = Counts()
    green: Counts = Counts()
    marks: tuple[Mark, ...] = ()

    @property
    def awaits_approval(self) -> bool:
        """It may not touch anything that serves before another person says so."""
        return self.approval and not self.approved_by and self.outcome is None


@dataclass(frozen=True, slots=True)
class Good:
    """A release that was committed. `sealed`: a contract migration made it no way back."""

    release: str
    snapshot: int
    sealed: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """A port that a gate config named until lately: not handed out before `until`."""

    address: str
    until: float


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes of a rollout that is over, kept until no worker that reads them lives."""

    rollout: int
    before: int  # workers of generations below this one may still read them


@dataclass(frozen=True, slots=True)
class State:
    app: str
    boot: str
    blue: Slot | None = None
    green: Slot | None = None
    gate: Gate = Gate()
    rollout: Rollout | None = None
    last: Rollout | None = None  # the last one that ended
    good: tuple[Good, ...] = ()  # newest last
    resting: tuple[Rest, ...] = ()
    old_lanes: tuple[Lanes, ...] = ()
    next_rollout: int = 1
    next_instance: int = 1
    next_generation: int = 1
    store_trouble: str = ""
    lanes_trouble: str = ""

    def slot(self, color: Color | None) -> Slot | None:
        if color is None:
            return None
        return self.blue if color is Color.BLUE else self.green

    def with_slot(self, color: Color, slot: Slot | None) -> State:
        if color is Color.BLUE:
            return replace(self, blue=slot)
        return replace(self, green=slot)

    @property
    def live(self) -> Color | None:
        """The slot that the last verified gate config serves by default."""
        target = self.gate.verified.routing.default
        return None if target is None else target.color

    @property
    def slots(self) -> tuple[Slot, ...]:
        return tuple(s for s in (self.blue, self.green) if s is not None)
