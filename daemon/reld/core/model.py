"""The state of one app: all that reld knows and must not forget.

Every value is frozen; `machine.step` makes the next state from the last. Times (`at`, `since`, `…_at`,
`until`) are absolute seconds of CLOCK_BOOTTIME: the state holds deadlines, never "now".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from reld.core.policy import Policy, SlotPolicy
from reld.core.rehearsed import Rehearsal, Rehearsed
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
    REHEARSAL = "rehearsal"  # the live release through the other slot, and back


class Phase(StrEnum):
    PREPARING = "preparing"
    STARTING = "starting"
    PROVING = "proving"
    ADMITTING = "admitting"
    SHIFTING = "shifting"
    BAKING = "baking"
    COMMITTING = "committing"
    RETURNING = "returning"  # the old slot gets its instances back first, see `Rollout.surge`
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
    PARKED = "parked"  # not there on purpose: another release has its place


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
    """One process of a slot. A respawn is a new instance (new number) on the same port.

    `worker`: the name of the worker that it is; then it has no address and is never asked anything:
    it is ready once it has run for a moment. `near`: an address of its slot, which tells its marker
    from one of another app of the same name.
    """

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
    spare: bool = False  # one too many for now: leaves the gate, drains, stops, is parked
    signalled: bool = False
    adopted: bool = False
    exit: Exit | None = None
    detail: str = ""
    worker: str = ""
    near: str = ""

    @property
    def runs(self) -> bool:
        return self.exit is None and self.state not in (
            InstanceState.WANTED,
            InstanceState.EXITED,
            InstanceState.PARKED,
        )

    @property
    def was_ready(self) -> bool:
        """Ready since it was started: it may be named by the gate."""
        return self.state in (InstanceState.READY, InstanceState.UNREADY)


@dataclass(frozen=True, slots=True)
class Slot:
    """The instances and workers of one release. `snapshot`: id of the rollout that took its settings.

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
    workers: tuple[Instance, ...] = ()

    @property
    def processes(self) -> tuple[Instance, ...]:
        """Instances and workers."""
        return self.instances + self.workers

    def stop_timeout(self, process: Instance) -> float:
        """Seconds between its stop signal and SIGKILL."""
        if process.worker:
            return self.policy.worker(process.worker).stop_timeout
        return self.policy.stop_timeout

    def stop_signal(self, process: Instance) -> str:
        if process.worker:
            return self.policy.worker(process.worker).stop_signal
        return self.policy.stop_signal

    @property
    def units(self) -> tuple[str, ...]:
        """Names of the plain units that run it; none unless it was ejected."""
        if not self.unit:
            return ()
        ports = [int(i.address.rpartition(":")[2]) for i in self.instances]
        return tuple(plain_name(self.unit, port, len(ports)) for port in ports)

    @property
    def crew(self) -> tuple[Instance, ...]:
        """The instances that should run now."""
        return tuple(i for i in self.instances if not i.spare)

    @property
    def fit(self) -> bool:
        """Every instance that should run does, and was ready since it was started."""
        if self.external and not self.unit:
            return not self.dead
        return all(i.was_ready for i in self.crew)

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


LONGEST_HOLD = 30.0
"""Seconds: with the app's own time it is still less than the minute that a site's nginx waits."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The gate answers 503 to all but the health paths and the clients in `allow` (networks).

    `page`: the name of the kept page; empty = the one that all 503s of the gate have.
    """

    page: str = ""
    allow: tuple[str, ...] = ()
    hold: float = 0.0  # seconds that requests wait instead, and then go on; 0: they do not


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Who closed the gate, when (wall clock, for people) and what for. `until`: when a hold is over."""

    closed: Closed = Closed()
    since: str = ""
    actor: str = ""
    reason: str = ""
    until: float = 0.0


OWN_ROUTE = ".rehearsal"
"""Requests of reld's own have this route in the request log; no route of a config begins with a dot."""


@dataclass(frozen=True, slots=True)
class Marked:
    """Requests of reld's own carry this token, and fail on the candidate if they are to."""

    token: str
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Routing:
    """Who gets requests. `default` None: nobody, the gate answers 503. `rollout` names the lanes."""

    default: Target | None = None
    candidate: Target | None = None
    rollout: int | None = None
    maintenance: Closed | None = None
    shadow: float = 0.0  # of the live slot's GETs, which the gate is able to mirror
    rehearsal: Marked | None = None

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
class WorkerMove:
    """A worker of a release was `what` ("started", "stopped") at (CLOCK_BOOTTIME seconds)."""

    worker: str
    release: str
    what: str
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
    `unwatched`: seconds of this step that said nothing for or against the candidate. `failing`: the
    part of the candidate's requests that failed lately, whoever made them good.
    """

    read_to: float = 0.0
    silent_at: float = 0.0
    finding: Finding = Finding()
    rate: float | None = None
    unwatched: float = 0.0
    failing: float = 0.0


@dataclass(frozen=True, slots=True)
class Mirrored:
    """GETs that the candidate was asked and no user got the answer of; times in seconds.

    `p95`, `live_p95`: of 100 of them 95 had the first byte as fast, and of the live slot's meanwhile.
    """

    total: int = 0
    failures: int = 0
    p95: float | None = None
    live_p95: float | None = None


@dataclass(frozen=True, slots=True)
class Shadow:
    """What happens before the first step, if it is wanted.

    `on`: the gate may be mirroring, as far as its files go; `since`: it was seen to. `over`: it had
    its time, or none, for `reason`. `seconds`: how long it was on.
    """

    on: bool = False
    since: float | None = None
    over: bool = False
    reason: str = ""
    seconds: float = 0.0
    mirrored: Mirrored = Mirrored()


@dataclass(frozen=True, slots=True)
class Thinning:
    """The spare instances of a slot drain. `since`: the first generation that names none of them.

    `left`: connections at the last count. `over`: they were told to stop, nothing is counted any more.
    """

    color: Color
    since: int
    at: float
    drained: bool = False
    left: int | None = None
    over: bool = False


@dataclass(frozen=True, slots=True)
class Agreed:
    """A person let it go on `after` the step to that share; 0: before the first. `at`: wall clock."""

    after: int
    by: str
    at: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Followed:
    """What the link of [releases] follow said when it was last acted on.

    `target`: the real path, empty: there was none. `rollout`: what was begun for it, None: it was only
    noted. `outcome`: how that ended, None: not yet.
    """

    link: str
    target: str
    release: str = ""
    rollout: int | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """One numbered, durable job, with its own copy of its policy.

    `surge`: the releases change places instance by instance, and so many processes more than usual
    run; 0: two whole slots. `crew_at`: when the last of such changes began.
    """

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
    stop_first: bool = False  # two copies do not fit: see `stop_first`
    made_way: bool = False  # stop-first: the gate serves nobody, the old slot leaves or has left
    turned_away: int = 0  # requests that got the announced 503 meanwhile
    stranded: bool = False  # it went back, and what serves did not get ready in time
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
    shadow: Shadow = Shadow()
    warning: str = ""  # the first thing about the candidate's resources that people should know
    observed: str = ""  # what a verdict that may not act would have gone back for
    left: int | None = None  # connections and old gate workers still to go, last count
    not_named_since: int = 0  # first verified generation that no longer names the leaving slot
    drained: bool = False
    streams: int | None = None  # long connections among them, as far as they can be told
    streams_most: int = 0
    closed: int = 0  # of them, one by one, see `pacing`
    cut: int = 0
    drain_seconds: float = 0.0
    reloads: int = 0
    hooks: tuple[Hook, ...] = ()
    surge: int = 0
    thinning: Thinning | None = None
    crew_at: float = 0.0
    old_units: tuple[str, ...] = ()  # the old slot was ejected before: its units, nobody's now
    unit: str = ""  # eject: what its plain units are called
    port: int = 0  # eject: of the first of them
    unit_trouble: str = ""  # why a unit does not run
    unit_gone: str | None = None  # its units were removed; not empty: what could not be
    blue: Counts = Counts()
    green: Counts = Counts()
    marks: tuple[Mark, ...] = ()
    worker_moves: tuple[WorkerMove, ...] = ()
    rehearsal: Rehearsal | None = None
    on_duty: str = ""  # who watches it, for people
    asked: bool = False  # it waits for a person between two steps, see `agreement`
    agreed: tuple[Agreed, ...] = ()

    @property
    def thins(self) -> Thinning | None:
        """What drains, while instances change places."""
        return self.thinning if self.phase in (Phase.SHIFTING, Phase.RETURNING) else None

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
    away: float = 0.0  # seconds that a stop-first rollout would take, as far as known; 0: it is not
    active_trouble: str = ""
    maintenance: Maintenance | None = None
    rehearsed: Rehearsed | None = None  # the last rehearsal
    follow: Followed | None = None

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
