"""The core against the simulated machine, with Hypothesis choosing and shrinking the trouble."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reld.core import commands as c
from reld.core import events as ev
from reld.core.machine import MOST_TURNS, alarm, settle, step
from reld.core.model import Counts, Exit, Identity, Kind, Outcome
from reld.core.policy import STOP_FIRST, WARM
from tests.sim.invariants import check_tidy
from tests.sim.stories import FAST, QUIET_TIME, WORKERS
from tests.sim.world import Faults, World
from tests.unit.core_driver import Driver, switching
from tests.unit.test_core_recovery import PHASES

CHANCES = st.sampled_from((0.0, 0.1, 0.4))
POLICIES = st.builds(
    lambda steps, bake, silent, requests, hooks, strategy, surge, workers: replace(
        FAST,
        steps=steps,
        bake=bake,
        on_unproven=silent,
        step_requests=requests,
        hooks=FAST.hooks if hooks else (),
        strategy=strategy,
        surge=surge,
        slot=replace(FAST.slot, instances=2 + surge, workers=workers),
    ),
    st.sampled_from(((5, 50, 100), (100,))),
    st.sampled_from((0.0, 5.0)),
    st.sampled_from(("promote", "hold", "rollback")),
    st.sampled_from((0, 10, 100_000)),
    st.booleans(),
    st.sampled_from((WARM, STOP_FIRST)),
    st.sampled_from((0, 0, 1)),
    st.sampled_from(WORKERS),
)


class Machine(RuleBasedStateMachine):
    """Every invariant is the world's own: it raises where one is broken."""

    def __init__(self):
        super().__init__()
        self.world = World(1)

    @rule(
        kind=st.sampled_from([*Kind]),
        release=st.sampled_from(("v1", "v2", "v3")),
        policy=POLICIES,
        named=st.booleans(),
        approval=st.booleans(),
    )
    def begin(self, kind, release, policy, named, approval):
        named_one = release if named or kind is Kind.SWITCH else None
        begin = c.Begin(
            kind, named_one, policy, "alice", approval=approval, people=(1000,), unit="web"
        )
        if not c.already(self.world.state, begin):
            self.world.command(begin)

    @rule(
        which=st.sampled_from(
            ("pause", "resume", "promote", "full", "abort", "rollback", "approve", "own")
        ),
    )
    def steer(self, which):
        rollout = self.world.state.rollout
        number = 1 if rollout is None else rollout.id
        steers = {
            "pause": c.Pause(number),
            "resume": c.Resume(number),
            "promote": c.Promote(number),
            "full": c.Promote(number, full=True),
            "abort": c.Abort(number, "by hand"),
            "rollback": c.Abort(number, "rollback", Outcome.ROLLED_BACK),
            "approve": c.Approve(number, (1001,), "bob"),
            "own": c.Approve(number, (1000,), "alice"),
        }
        self.world.command(steers[which])

    @rule(seconds=st.sampled_from((0.0, 0.01, 0.1, 0.5, 3.0, 20.0, 70.0)))
    def time_passes(self, seconds):
        self.world.run(seconds)

    @rule(which=st.integers(0, 7), sick=st.booleans())
    def a_process_changes(self, which, sick):
        there = [p for p in self.world.processes.values() if p.alive and not p.held]
        if there:
            there[which % len(there)].sick = sick

    @rule(which=st.integers(0, 7))
    def a_process_dies(self, which):
        there = [p for p in self.world.processes.values() if p.alive and not p.held]
        if there:
            self.world.die(there[which % len(there)])

    @rule()
    def reld_is_killed(self):
        self.world.kill_reld()

    @precondition(lambda self: not self.world.up)
    @rule()
    def reld_starts(self):
        self.world.start_reld()
        self.world.run(0.0)  # its first Tick

    @rule()
    def the_machine_reboots(self):
        self.world.reboot()
        self.world.start_reld()
        self.world.run(0.0)

    @rule()
    def the_disk_freezes_or_thaws(self):
        self.world.frozen_disk = not self.world.frozen_disk

    @rule(refused=CHANCES, unknown=CHANCES, never=CHANCES, lanes=CHANCES, other=CHANCES)
    def luck_changes(self, refused, unknown, never, lanes, other):
        self.world.faults = Faults(
            reload_refused=refused,
            reload_unknown=unknown,
            never_ready=never,
            lanes_stuck=lanes,
            spawn_fails=other,
            smoke_fails=other,
            hook_fails=other,
            stubborn=other,
            prepare_fails=other,
            stale_results=0.3,
            disk_fails=other / 2,
            judged_bad=other,
            deaf=other,
        )

    @invariant()
    def the_state_is_at_rest(self):
        if self.world.up:
            assert settle(self.world.state, self.world.looked_at) == self.world.state

    def teardown(self):
        try:
            self.comes_to_rest()
        finally:
            self.world.close()

    def comes_to_rest(self):
        self.world.calm()
        for _ in range(int(QUIET_TIME / 10)):
            self.world.run(10.0)
            rollout = self.world.state.rollout
            if rollout is None and self.world.quiet:
                break
            if rollout is not None and rollout.waiting:
                self.world.command(c.Approve(rollout.id, (1001,), "bob"))
                self.world.command(c.Resume(rollout.id))
                self.world.command(c.Promote(rollout.id))
        self.world.run(60.0)
        check_tidy(self.world)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=200,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

FOREIGN = 9_999


def foreign_events():
    number, rollout, generation = FOREIGN, FOREIGN, FOREIGN
    passed = st.booleans()
    return st.one_of(
        st.just(ev.Prepared(rollout, ("127.0.0.1:1",))),
        st.just(ev.PrepareFailed(rollout, "x")),
        st.just(ev.Spawned(number, Identity(1, 1, "boot-1"))),
        st.just(ev.SpawnFailed(number, "x")),
        st.just(ev.LetGo(number)),
        st.just(ev.Exited(number, Exit(code=1))),
        st.builds(ev.ReadinessProbed, st.just(number), passed),
        st.builds(ev.LivenessProbed, st.just(number), passed),
        st.just(ev.Signalled(number)),
        st.just(ev.TreeEmpty(number)),
        st.builds(ev.SmokeEnded, st.just(rollout), passed),
        st.builds(ev.HookEnded, st.just(rollout), st.just("after_switch"), st.just(1), passed),
        st.builds(ev.ReloadEnded, st.just(generation), st.sampled_from([*ev.End])),
        st.builds(ev.LanesMoved, st.just(rollout), st.integers(0, 100)),
        st.just(ev.LanesRemoved(rollout)),
        st.builds(ev.DrainCounted, st.just(rollout), *[st.integers(0, 9)] * 3),
        st.just(ev.Judged(rollout, 1.0, Counts(1, 1), Counts(1, 1))),
        st.builds(ev.OldAsked, st.just(rollout), passed),
        st.builds(ev.ShieldSet, st.just(rollout), passed),
        st.builds(ev.ShadowSet, st.just(rollout), passed),
        st.just(c.Pause(rollout)),
        st.just(c.Promote(rollout)),
        st.just(c.Approve(rollout, (0,), "x")),
        st.just(c.Abort(rollout, "x")),
    )


IN_EACH_PHASE = {phase: switching(phase) for phase in PHASES}


@given(phase=st.sampled_from(PHASES), event=foreign_events())
def test_what_is_said_of_a_stranger_changes_nothing(phase, event):
    driver = IN_EACH_PHASE[phase]
    assert step(driver.state, event, driver.now) == driver.state


@given(event=foreign_events())
def test_what_is_said_of_a_stranger_changes_nothing_while_steady(event):
    driver = Driver().begin(Kind.SWITCH, "v1").rest()
    assert step(driver.state, event, driver.now) == driver.state


@given(phase=st.sampled_from(PHASES), seconds=st.floats(0.0, 100_000.0))
def test_time_alone_never_needs_more_turns_than_there_are(phase, seconds):
    driver = IN_EACH_PHASE[phase]
    at = driver.now + seconds
    state = step(driver.state, ev.Tick(), at)
    assert step(state, ev.Tick(), at) == state
    due = alarm(state, at)
    assert due is None or due > at
    assert MOST_TURNS >= 100
