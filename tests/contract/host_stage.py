"""One stage for both hosts, the simulated one and the real machine.

reld's own engine runs on each; `Between` stands between it and the host, holds back the work that a
test wants to do later, and notes what is reported. The tests look at the world through a stage, never
at what reld believes.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

from reld.core import events as ev
from reld.core.commands import Abort, Begin, Command, Promote
from reld.core.effects import Effect, Smoke
from reld.core.model import Instance, Kind, Phase, Slot, State
from reld.core.policy import Policy, SlotPolicy
from reld.core.rehearsed import Rehearsal
from reld.core.verdict.settings import VerdictSettings
from reld.engine import Engine, Host, Post

POLICY = Policy(
    slot=SlotPolicy(ready_deadline=30.0, stop_timeout=20.0),
    steps=(50, 100),
    step_time=3600.0,
    step_max=7200.0,
    bake=3600.0,
    drain=0.1,
    drain_max=60.0,
    step_requests=0,
    verdict=VerdictSettings(act=False),
)
"""Goes on to the next step only when it is told to."""


@dataclass
class Report:
    event: Any
    wanted: bool
    seen: Any = None  # of the world, in the moment when it was reported


@dataclass
class Work:
    """One call of `perform`."""

    effect: Effect
    reports: list[Report] = field(default_factory=list)
    ended: bool = False
    task: asyncio.Task[None] | None = None

    @property
    def events(self) -> list[Any]:
        return [report.event for report in self.reports]


class Between:
    """An engine.Host that notes what another one does."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.works: list[Work] = []
        self.held: dict[type, asyncio.Event] = {}
        self.looks: dict[type, Callable[[Any], Any]] = {}

    async def perform(self, effect: Effect, post: Post) -> None:
        if type(effect) in self.held:
            await self.held[type(effect)].wait()
        await self.noted(Work(effect), post)

    async def noted(self, work: Work, post: Post) -> None:
        self.works.append(work)

        def told(event: ev.Event) -> bool:
            look = self.looks.get(type(event))
            report = Report(event, wanted=True, seen=look(event) if look else None)
            work.reports.append(report)
            report.wanted = post(event)
            return report.wanted

        await self._host.perform(work.effect, told)
        work.ended = True

    def reports(self, kind: type) -> list[Report]:
        return [r for work in self.works for r in work.reports if isinstance(r.event, kind)]


class Stage(ABC):
    """What a test does and sees.

    Faults that a release may have: "missing" (no directory), "never_ready" (it runs and passes no
    probe), "stubborn" (it ignores its stop signal), "family" (so do its two children, one in a session
    of its own), "fails_smoke", "fails_hook" (before_start).
    """

    engine: Engine
    between: Between

    # what a test does

    @abstractmethod
    def until(self, condition: Callable[[], Any], words: str = "") -> None:
        """Time passes until it is so; AssertionError when it never is."""

    @abstractmethod
    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]: ...

    @abstractmethod
    def install(self, release: str, faults: frozenset[str]) -> None:
        """Puts it where `prepare` looks, with these faults."""

    @abstractmethod
    def crash(self, number: int) -> None:
        """SIGKILL by somebody else."""

    @abstractmethod
    def sicken(self, number: int) -> None:
        """It runs on and passes no probe."""

    @abstractmethod
    def mend(self, number: int) -> None: ...

    @abstractmethod
    def refuse_reloads(self) -> None: ...

    @abstractmethod
    def visit(self) -> None:
        """A request to the old slot begins that lasts until `leave`."""

    @abstractmethod
    def leave(self) -> None: ...

    @abstractmethod
    def close(self) -> None: ...

    # what a test sees: the truth of the world

    @abstractmethod
    def now(self) -> float: ...

    @abstractmethod
    def alive(self, number: int) -> bool:
        """Anything of this instance, its children too."""

    @abstractmethod
    def answers(self, number: int) -> bool:
        """Would its readiness probe pass?"""

    @abstractmethod
    def signals(self, number: int) -> int:
        """How many stop signals it got. For releases that are "stubborn" only."""

    @abstractmethod
    def served(self) -> int:
        """The generation in force."""

    @abstractmethod
    def who(self, requests: int = 1) -> set[str]:
        """The releases that answer that many requests to the gate."""

    @abstractmethod
    def share(self, rollout: int) -> int | None:
        """None: it has no lanes."""

    @abstractmethod
    def shielded(self, rollout: int) -> bool: ...

    @abstractmethod
    def mirrors(self, rollout: int) -> bool: ...

    # made of these

    @property
    def state(self) -> State:
        return self.engine.state

    def hold(self, kind: type) -> None:
        """Work of this kind is not begun by the engine until `let`."""
        self.between.held[kind] = asyncio.Event()

    def let(self, kind: type) -> None:
        self.between.held.pop(kind).set()

    def at_each(self, kind: type, look: Callable[[Any], Any]) -> None:
        """What `look` sees in the moment when such an event is reported goes into the report."""
        self.between.looks[kind] = look

    def perform(self, effect: Effect, *, wanted: bool = True) -> Work:
        """Has the host do it, beside the engine. `wanted`: the answer to each report."""
        work = Work(effect)
        work.task = self.start(self.between.noted(work, lambda _: wanted))
        return work

    def cancel(self, work: Work) -> None:
        assert work.task is not None
        work.task.cancel()

    def told(self, kind: type, when: Callable[[Any], Any] = lambda _: True) -> Any:
        """The first event of this kind for which it is true; time passes until there is one."""
        return self.report(kind, when).event

    def report(self, kind: type, when: Callable[[Any], Any] = lambda _: True) -> Report:
        def found() -> list[Report]:
            return [r for r in self.between.reports(kind) if r.wanted and when(r.event)]

        self.until(found, f"no {kind.__name__} was reported")
        return found()[0]

    def command(self, command: Command) -> None:
        refusals: list[Any] = []

        async def ask() -> None:
            refusals.append(self.engine.command(command))

        self.start(ask())
        self.until(lambda: refusals)
        assert refusals == [None], refusals

    def begin(self, release: str, *faults: str, **policy: Any) -> int:
        """A switch begins; its number. What SlotPolicy knows goes there."""
        self.install(release, frozenset(faults))
        ours = {k: v for k, v in policy.items() if hasattr(POLICY.slot, k)}
        rest = {k: v for k, v in policy.items() if k not in ours}
        chosen = replace(POLICY, slot=replace(POLICY.slot, **ours), **rest)
        self.command(Begin(Kind.SWITCH, release, chosen))
        assert self.state.rollout is not None
        return self.state.rollout.id

    def go_live(self, release: str, **policy: Any) -> None:
        self.begin(release, **policy)
        self.until(lambda: self.state.rollout is None and not self.state.old_lanes)
        assert self.live().release == release, self.state.last

    def rehearse(self) -> int:
        """What is live gets half of the traffic in the other slot, for a long time."""
        wish = Rehearsal(50, 600.0, token="0123456789abcdef" * 2)
        self.command(Begin(Kind.REHEARSAL, None, POLICY, rehearsal=wish))
        assert self.state.rollout is not None
        return self.state.rollout.id

    def begin_at_half(self, release: str) -> int:
        """A switch that has its first share, and stays there."""
        number = self.begin(release)
        self.until(lambda: self.state.rollout and self.state.rollout.step_since is not None)
        return number

    def begin_to(self, phase: Phase, release: str, *faults: str, **policy: Any) -> int:
        number = self.begin(release, *faults, **policy)
        self.until(lambda: self.state.rollout and self.state.rollout.phase is phase)
        return number

    def begin_ready(self, release: str, *faults: str, **policy: Any) -> Instance:
        """Its one instance is ready, and nothing more happens to it."""
        self.hold(Smoke)
        self.begin_to(Phase.PROVING, release, *faults, **policy)
        return self.candidate()

    def promote(self) -> None:
        assert self.state.rollout is not None
        self.command(Promote(self.state.rollout.id))

    def abort(self) -> None:
        assert self.state.rollout is not None
        self.command(Abort(self.state.rollout.id, "by hand"))

    def candidate(self) -> Instance:
        assert self.state.rollout is not None
        slot = self.state.slot(self.state.rollout.candidate)
        assert slot is not None
        return slot.instances[0]

    def addresses(self) -> set[str]:
        return {i.address for s in self.state.slots for i in s.instances}

    def live(self) -> Slot:
        slot = self.state.slot(self.state.live)
        assert slot is not None
        return slot

    def instance(self, number: int) -> Instance:
        return next(i for s in self.state.slots for i in s.instances if i.number == number)


# the simulated host
