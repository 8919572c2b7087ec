"""Brings a state where a test wants it, through `step` alone: a world in which everything succeeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reld.core import commands as c
from reld.core import effects as fx
from reld.core import events as ev
from reld.core.effects import Effect, todo
from reld.core.events import End
from reld.core.machine import alarm, first_state, step
from reld.core.model import (
    Color,
    Counts,
    Exit,
    Identity,
    Instance,
    Kind,
    Phase,
    Rollout,
    Slot,
    State,
)
from reld.core.policy import Policy, SlotPolicy
from reld.core.recovery import Observed, recover
from reld.core.verdict.finding import Finding

POLICY = Policy(
    slot=SlotPolicy(instances=2),
    steps=(5, 50, 100),
    hooks=("before_start", "after_switch", "after_retire", "on_rollback", "contract"),
)
PLENTY = 1_000
"""Requests that each slot has answered, whenever somebody counts."""

FORWARD = (
    Phase.PREPARING,
    Phase.STARTING,
    Phase.PROVING,
    Phase.ADMITTING,
    Phase.SHIFTING,
    Phase.BAKING,
    Phase.COMMITTING,
    Phase.DRAINING,
    Phase.STOPPING,
    Phase.FINISHING,
)


class Driver:
    def __init__(self, external: str | None = None) -> None:
        self.state: State = first_state("web", "boot-1", external)
        self.now = 1_000.0
        self.port = 21_000
        self.phases: list[Phase] = []
        self.finding = Finding()
        self.old_passes = True

    # what a test says

    def tell(self, event: ev.Event | c.Command) -> Driver:
        before = self.state.rollout
        self.state = step(self.state, event, self.now)
        rollout = self.state.rollout
        if rollout is not None and (before is None or before.phase is not rollout.phase):
            self.phases.append(rollout.phase)
        return self

    def ask(self, command: c.Command) -> c.Refusal | None:
        """Like the API: refused, or done."""
        refusal = c.refuse(self.state, command)
        if refusal is None:
            self.tell(command)
        return refusal

    def begin(self, kind: Kind, release: str | None = None, policy: Policy = POLICY) -> Driver:
        refusal = self.ask(c.Begin(kind, release, policy))
        assert refusal is None, refusal
        return self

    def wait(self, seconds: float) -> Driver:
        self.now += seconds
        return self.tell(ev.Tick())

    def heard(self, counted: Counts | None = None, **more: Any) -> Driver:
        """The sensor has read the log up to now; `more` goes into its finding."""
        self.finding = replace(self.finding, **more)
        counts = counted or self.rollout.blue
        return self.tell(ev.Judged(self.rollout.id, self.now, counts, counts, self.finding))

    def reload_ends(self, end: End) -> Driver:
        assert self.state.gate.in_flight is not None
        return self.tell(ev.ReloadEnded(self.state.gate.in_flight.generation, end, "no answer"))

    def exits(self, instance: Instance) -> Driver:
        return self.tell(ev.Exited(instance.number, Exit(signal=9)))

    def dies(self, color: Color | None) -> Driver:
        """All instances of the slot, and what they leave behind."""
        for instance in self.slot(color).instances:
            self.exits(instance)
        return self

    def reld_restarts(
        self,
        *,
        alive: bool = True,
        serving: int | None = None,
        share: int | None = None,
        outdated: bool = False,
    ) -> Driver:
        numbers = {i.number for s in self.state.slots for i in s.processes if i.runs}
        if serving is None:
            serving = self.state.gate.verified.generation
        if share is None:
            share = self.state.rollout.share if self.state.rollout else None
        known = frozenset(numbers if alive else ())
        found = Observed("boot-1", known, serving, share, outdated)
        self.state = recover(self.state, found, self.now)
        return self

    def machine_reboots(self, serving: int | None = None) -> Driver:
        self.now = 20.0
        if serving is None:
            serving = self.state.gate.verified.generation
        self.state = recover(self.state, Observed("boot-2", frozenset(), serving), self.now)
        return self

    # where it goes

    def until(self, reached: Callable[[State], bool], *, without: tuple[type, ...] = ()) -> Driver:
        """Everything succeeds, at once, and time passes, until it is so."""
        for _ in range(2_000):
            if reached(self.state):
                return self
            answer = self._answer(without)
            if answer is not None:
                self.tell(answer)
                continue
            due = alarm(self.state, self.now)
            assert due is not None, f"nothing will ever happen: {self.state}"
            self.wait(max(due - self.now, 0.001))
        raise AssertionError(f"never so: {self.state.rollout}")

    def to(self, phase: Phase) -> Driver:
        return self.until(lambda s: s.rollout is not None and s.rollout.phase is phase)

    def rest(self) -> Driver:
        return self.until(
            lambda s: s.rollout is None and self._answer() is None and alarm(s, self.now) is None
        )

    def ended(self) -> Driver:
        return self.until(lambda s: s.rollout is None)

    def _answer(self, without: tuple[type, ...] = ()) -> ev.Event | None:
        for effect in sorted(todo(self.state), key=repr):
            answer = None if isinstance(effect, without) else self._success(effect)
            if answer is not None:
                return answer
        return None

    def _success(self, effect: Effect) -> ev.Event | None:
        match effect:
            case fx.Prepare(rollout=number):
                count = self.rollout.policy.slot.instances
                self.port += count
                ports = range(self.port - count, self.port)
                return ev.Prepared(number, tuple(f"127.0.0.1:{p}" for p in ports))
            case fx.Spawn(number=number):
                return ev.Spawned(number, Identity(number + 100, number, self.state.boot))
            case fx.Release(number=number):
                return ev.LetGo(number)
            case fx.ProveReady(number=number):
                return ev.ReadinessProbed(number, passed=True)
            case fx.Stop(number=number):
                return ev.Exited(number, Exit(code=0))
            case fx.Kill(number=number):
                return ev.TreeEmpty(number)
            case fx.Smoke(rollout=number):
                return ev.SmokeEnded(number, passed=True)
            case fx.RunHook(rollout=number, name=name, attempt=attempt):
                return ev.HookEnded(number, name, attempt, passed=True)
            case fx.Reload(generation=generation):
                return ev.ReloadEnded(generation, End.VERIFIED)
            case fx.MoveLanes(rollout=number, share=share):
                return ev.LanesMoved(number, share)
            case fx.RemoveLanes(rollout=number):
                return ev.LanesRemoved(number)
            case fx.CountDrain(rollout=number, since=since):
                drains = self.rollout.thinning or self.rollout
                return None if drains.drained else ev.DrainCounted(number, since, 0, 0)
            case fx.Judge(rollout=number):
                base = self.rollout.step_base + PLENTY
                counted = Counts(base, 0)
                enough = self.rollout.blue.total + self.rollout.green.total >= base
                if enough and self.rollout.watch.read_to >= self.now - 1.0:
                    return None
                return ev.Judged(number, self.now, counted, counted, self.finding)
            case fx.AskOld(rollout=number):
                return ev.OldAsked(number, self.old_passes)
            case fx.SetShield(rollout=number, on=on):
                return ev.ShieldSet(number, on)
            case fx.SetShadow(rollout=number, on=on):
                return ev.ShadowSet(number, on)
            case fx.RemoveUnits(rollout=number):
                return ev.UnitsRemoved(number)
            case _:
                return None

    # what is so

    @property
    def rollout(self) -> Rollout:
        assert self.state.rollout is not None
        return self.state.rollout

    @property
    def phase(self) -> Phase:
        return self.rollout.phase

    @property
    def last(self) -> Rollout:
        assert self.state.last is not None
        return self.state.last

    def slot(self, color: Color | None) -> Slot:
        slot = self.state.slot(color)
        assert slot is not None
        return slot

    @property
    def old(self) -> Slot:
        return self.slot(self.rollout.old)

    @property
    def candidate(self) -> Slot:
        return self.slot(self.rollout.candidate)

    @property
    def live(self) -> Slot:
        return self.slot(self.state.live)


def steady(release: str = "v1", policy: Policy = POLICY) -> Driver:
    """That release is live, nothing else goes on."""
    return Driver().begin(Kind.SWITCH, release, policy).rest()


def switching(phase: Phase, policy: Policy = POLICY) -> Driver:
    """v1 is live, and a switch to v2 has just come into the phase."""
    driver = steady(policy=policy).begin(Kind.SWITCH, "v2", policy)
    if phase is not Phase.REVERTING:
        return driver.to(phase)
    driver.to(Phase.SHIFTING).until(lambda s: s.rollout is not None and s.rollout.share == 5)
    assert driver.ask(c.Abort(driver.rollout.id, "by hand")) is None
    return driver


def with_policy(**changes: object) -> Policy:
    return replace(POLICY, **changes)  # type: ignore[arg-type]
