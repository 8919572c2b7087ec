"""The phase × event table of the design: what drives a rollout on, and what turns it."""

from __future__ import annotations

import pytest

from reld.core import events as ev
from reld.core.commands import Begin
from reld.core.effects import Kill, Reload, RunHook, Spawn, todo
from reld.core.events import End
from reld.core.maintenance import Maintain
from reld.core.model import Counts, Exit, InstanceState, Kind, Maintenance, Outcome, Phase
from tests.unit.core_driver import FORWARD, POLICY, Driver, steady, switching, with_policy

WITH_CANDIDATE = FORWARD[1:7]
"""starting … committing: a candidate runs and may fail."""


def ended_as(driver):
    return driver.ended().last.outcome


# waits for → next


def test_a_switch_goes_through_its_phases_in_order():
    driver = steady()
    driver.phases.clear()
    driver.begin(Kind.SWITCH, "v2").rest()
    assert tuple(driver.phases) == FORWARD
    assert driver.last.outcome is Outcome.DONE
    assert driver.live.release == "v2"


def test_a_switch_takes_all_its_steps_and_bakes():
    driver = switching(Phase.SHIFTING)
    shares = []
    while driver.state.rollout is not None and driver.phase is Phase.SHIFTING:
        shares.append(driver.rollout.wanted_share)
        step = driver.rollout.step
        driver.until(lambda s, n=step: s.rollout.step != n or s.rollout.phase is Phase.BAKING)
    assert shares == [5, 50, 100]
    began = driver.now
    driver.to(Phase.COMMITTING)
    assert driver.now - began >= POLICY.bake


def test_each_phase_waits_for_its_own_thing():
    """Whatever else happens, a phase does not end before what it waits for."""
    for phase, effect in (
        (Phase.PREPARING, "Prepare"),
        (Phase.STARTING, "Spawn"),
        (Phase.PROVING, "Smoke"),
        (Phase.ADMITTING, "Reload"),
        (Phase.SHIFTING, "MoveLanes"),
        (Phase.COMMITTING, "Reload"),
        (Phase.REVERTING, "Reload"),
        (Phase.STOPPING, "Stop"),
        (Phase.FINISHING, "RunHook"),
    ):
        driver = switching(phase)
        assert effect in {type(e).__name__ for e in todo(driver.state)}, phase
        assert driver.wait(0.1).phase is phase


# guard


@pytest.mark.parametrize(
    ("phase", "becomes", "outcome"),
    [
        (Phase.STARTING, Phase.STOPPING, Outcome.FAILED),
        (Phase.PROVING, Phase.STOPPING, Outcome.FAILED),
        (Phase.ADMITTING, Phase.REVERTING, Outcome.FAILED),
        (Phase.SHIFTING, Phase.REVERTING, Outcome.ROLLED_BACK),
        (Phase.BAKING, Phase.REVERTING, Outcome.ROLLED_BACK),
        (Phase.COMMITTING, Phase.REVERTING, Outcome.ROLLED_BACK),
    ],
)
def test_an_exit_of_a_candidate_instance_turns_the_rollout(phase, becomes, outcome):
    driver = switching(phase)
    driver.until(lambda s: driver.candidate.instances[0].started_at > 0)
    driver.exits(driver.candidate.instances[0])
    assert (driver.phase, driver.rollout.outcome) == (becomes, outcome)
    assert "exited (killed by signal 9)" in driver.rollout.reason
    assert ended_as(driver) is outcome
    assert driver.live.release == "v1"


def test_a_candidate_that_cannot_be_spawned_has_failed():
    driver = switching(Phase.STARTING)
    driver.tell(ev.SpawnFailed(driver.candidate.instances[0].number, "command not found"))
    assert driver.phase is Phase.STOPPING
    assert "command not found" in driver.rollout.reason
    assert ended_as(driver) is Outcome.FAILED


def test_a_failed_check_fails_the_rollout_before_anything_starts():
    driver = switching(Phase.PREPARING)
    driver.tell(ev.PrepareFailed(driver.rollout.id, "no such directory"))
    assert ended_as(driver) is Outcome.FAILED
    assert driver.last.reason == "no such directory"


def test_a_failed_before_start_hook_fails_the_rollout():
    driver = switching(Phase.PREPARING)
    driver.until(lambda s: bool(s.rollout.hooks))
    driver.tell(ev.HookEnded(driver.rollout.id, "before_start", 1, passed=False, detail="exit 1"))
    assert ended_as(driver) is Outcome.FAILED
    assert "before_start: exit 1" in driver.last.reason


def test_a_failed_smoke_check_fails_the_rollout():
    driver = switching(Phase.PROVING)
    driver.tell(ev.SmokeEnded(driver.rollout.id, passed=False, detail="login: 500"))
    assert ended_as(driver) is Outcome.FAILED
    assert "login: 500" in driver.last.reason


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.BAKING, Phase.COMMITTING])
def test_a_candidate_that_is_not_alive_is_left(phase):
    driver = switching(phase)
    number = driver.candidate.instances[1].number
    for _ in range(3):
        assert driver.phase is phase
        driver.tell(ev.LivenessProbed(number, passed=False, detail="timed out"))
    assert (driver.phase, driver.rollout.outcome) == (Phase.REVERTING, Outcome.ROLLED_BACK)


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.BAKING])
def test_readiness_lost_counts_only_while_the_old_slot_has_it(phase):
    both, alone = switching(phase), switching(phase)
    for driver, slots in ((alone, "candidate"), (both, "both")):
        if slots == "both":
            unready(driver, driver.old.instances[0].number)
        unready(driver, driver.candidate.instances[0].number)
    assert both.phase is phase
    assert alone.phase is Phase.REVERTING


def unready(driver, number):
    for _ in range(3):
        driver.tell(ev.ReadinessProbed(number, passed=False, detail="503"))


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.BAKING])
def test_cornered_holds_says_so_and_goes_back_when_the_old_slot_is_fit(phase):
    driver = switching(phase)
    driver.exits(driver.old.instances[0])
    said = "it said nothing\nits last lines:\n  s3cret"
    driver.tell(ev.Exited(driver.candidate.instances[0].number, Exit(signal=9), said))
    assert driver.phase is phase
    assert driver.rollout.waiting.endswith(
        ": it said nothing, but v1 is not fit: going back when it is"
    )
    driver.until(lambda s: driver.old.fit)
    assert driver.phase is Phase.REVERTING
    assert ended_as(driver) is Outcome.ROLLED_BACK


def test_cornered_while_committing_goes_on_and_says_so():
    driver = switching(Phase.COMMITTING)
    driver.exits(driver.old.instances[0])
    driver.exits(driver.candidate.instances[0])
    assert driver.phase is Phase.COMMITTING
    assert "v1 is not fit" in driver.rollout.waiting
    assert ended_as(driver) is Outcome.DONE
    assert driver.rest().live.fit


# the live slot's instance exits


@pytest.mark.parametrize("phase", [*FORWARD, Phase.REVERTING])
def test_the_live_slot_is_nursed_in_every_phase(phase):
    driver = switching(phase)
    color, victim = driver.live.color, driver.live.instances[0]
    driver.exits(victim)
    assert driver.phase is phase
    driver.until(
        lambda s: driver.slot(color).fit and driver.slot(color).instances[0] != victim,
        without=(Reload,),
    )
    nursed = driver.slot(color).instances[0]
    assert (nursed.address, nursed.restarts) == (victim.address, 1)


def test_a_steady_live_slot_is_nursed():
    driver = steady()
    driver.dies(driver.state.live).until(lambda s: driver.live.fit)
    assert [i.restarts for i in driver.live.instances] == [1, 1]


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.BAKING])
def test_an_old_slot_that_is_not_fit_holds(phase):
    driver = switching(phase)
    driver.until(lambda s: s.rollout.share == s.rollout.wanted_share)
    driver.exits(driver.old.instances[0])
    driver.wait(POLICY.bake + POLICY.step_max)
    assert driver.phase is phase
    assert "v1 is not fit" in driver.rollout.waiting
    driver.until(lambda s: driver.old.fit)
    assert "not fit" not in driver.rollout.waiting
    assert ended_as(driver) is Outcome.DONE


def test_a_dead_old_slot_means_the_last_step_now():
    driver = switching(Phase.SHIFTING)
    driver.dies(driver.rollout.old)
    assert (driver.rollout.step, driver.rollout.wanted_share) == (2, 100)


def test_a_dead_old_slot_does_not_hold_the_bake():
    driver = switching(Phase.BAKING)
    driver.dies(driver.rollout.old).wait(POLICY.bake).heard(Counts(1_000, 0))
    assert driver.phase is Phase.COMMITTING


# deadlines


@pytest.mark.parametrize(
    ("phase", "seconds", "becomes", "outcome", "words"),
    [
        (Phase.PREPARING, 120.0, None, Outcome.FAILED, "checks did not end in time"),
        (Phase.STARTING, 60.0, Phase.STOPPING, Outcome.FAILED, "not ready after 60 s"),
        (Phase.PROVING, 120.0, Phase.STOPPING, Outcome.FAILED, "smoke checks did not end"),
        (Phase.ADMITTING, 30.0, Phase.REVERTING, Outcome.FAILED, "did not take the new config"),
    ],
)
def test_a_deadline_ends_the_rollout_before_traffic(phase, seconds, becomes, outcome, words):
    driver = switching(phase)
    if phase is Phase.STARTING:
        driver.until(lambda s: driver.candidate.instances[1].runs)
    began = driver.now
    assert driver.wait(seconds - 1).phase is phase
    driver.wait(began + seconds - driver.now)
    if becomes is not None:
        assert driver.phase is becomes
    assert ended_as(driver) is outcome
    assert words in driver.last.reason


def test_a_hook_that_never_ends_is_over_in_the_end():
    driver = switching(Phase.FINISHING)
    driver.until(lambda s: s.rollout is None, without=(RunHook,))
    assert driver.last.outcome is Outcome.DONE
    assert {h.detail for h in driver.last.hooks if h.name == "after_retire"} == {"hook timed out"}


def test_a_slot_that_cannot_be_killed_is_locked_and_told():
    driver = switching(Phase.STOPPING)
    driver.until(lambda s: s.rollout is None, without=(Kill,))
    assert driver.last.outcome is Outcome.DONE
    assert not any(h.name == "after_retire" for h in driver.last.hooks)
    refusal = driver.ask(Begin(Kind.SWITCH, "v3", POLICY))
    assert refusal is not None
    assert "slot blue is locked" in refusal.message
    driver.rest()
    assert driver.state.blue is None


def test_a_stop_starts_nothing_in_a_slot_that_serves_nobody():
    driver = Driver().begin(Kind.SWITCH, "v1").to(Phase.STARTING)
    driver.until(lambda s: all(i.identity for i in s.slots[0].instances))
    driver.dies(driver.rollout.candidate).until(lambda s: s.rollout is None, without=(Kill,))
    first, second = driver.state.slots[0].instances
    driver.tell(ev.TreeEmpty(first.number))
    driver.tell(Maintain(Maintenance(actor="anna")))  # the gate has something to do
    assert driver.ask(Begin(Kind.STOP, None, POLICY)) is None
    assert driver.phase is Phase.COMMITTING
    driver.wait(1.0)
    assert not any(isinstance(e, Spawn) for e in todo(driver.state))
    driver.tell(ev.TreeEmpty(second.number)).rest()
    assert driver.state.slots == ()


def test_a_stop_brings_no_process_of_a_locked_slot_back():
    driver = switching(Phase.STOPPING).until(lambda s: s.rollout is None, without=(Kill,))
    first = driver.state.blue.instances[0]
    driver.tell(ev.TreeEmpty(first.number))
    assert driver.ask(Begin(Kind.STOP, None, POLICY)) is None
    for phase in (Phase.DRAINING, Phase.STOPPING):
        driver.until(lambda s, phase=phase: s.rollout.phase is phase, without=(Kill,))
        driver.wait(0.01)
        assert driver.state.blue.instances[0].number == first.number
        assert not any(isinstance(e, Spawn) for e in todo(driver.state))


@pytest.mark.parametrize("phase", [Phase.COMMITTING, Phase.REVERTING])
def test_a_reload_that_never_ends_counts_as_unknown_and_shows(phase):
    driver = switching(phase)
    driver.wait(61.0)
    assert driver.phase is phase
    assert driver.rollout.waiting
    assert driver.state.gate.suspects


@pytest.mark.parametrize(
    ("on_unproven", "phase", "unproven"),
    [
        ("promote", Phase.SHIFTING, True),
        ("hold", Phase.SHIFTING, False),
        ("rollback", Phase.REVERTING, False),
    ],
)
def test_silence_ends_a_step_as_the_policy_says(on_unproven, phase, unproven):
    driver = switching(Phase.SHIFTING, with_policy(on_unproven=on_unproven))
    id_ = driver.rollout.id
    driver.tell(ev.LanesMoved(id_, 5)).wait(POLICY.step_max).heard()
    assert (driver.phase, driver.rollout.unproven) == (phase, unproven)
    assert driver.rollout.step == (1 if on_unproven == "promote" else 0)
    if on_unproven == "hold":
        assert "relctl promote" in driver.rollout.waiting


def test_lanes_that_do_not_move_are_tried_again_and_shown():
    driver = switching(Phase.SHIFTING)
    driver.tell(ev.LanesStuck(driver.rollout.id, "permission denied"))
    assert driver.phase is Phase.SHIFTING
    assert "permission denied" in driver.rollout.waiting
    driver.ended()
    assert driver.state.lanes_trouble == ""


# draining


def test_the_drain_lasts_at_least_its_time_and_at_most_its_longest():
    driver = switching(Phase.DRAINING)
    began = driver.now
    count = ev.DrainCounted(driver.rollout.id, driver.rollout.not_named_since, 3, 0)
    driver.tell(count).wait(POLICY.drain)
    assert driver.phase is Phase.DRAINING
    driver.wait(POLICY.drain_max - POLICY.drain - 1.0)
    assert driver.phase is Phase.DRAINING
    driver.wait(began + POLICY.drain_max - driver.now)
    assert (driver.phase, driver.rollout.cut) == (Phase.STOPPING, 3)


def test_old_gate_workers_count_as_not_drained():
    driver = switching(Phase.DRAINING)
    count = ev.DrainCounted(driver.rollout.id, driver.rollout.not_named_since, 0, 1)
    assert driver.tell(count).wait(POLICY.drain + 1).phase is Phase.DRAINING


def test_nothing_is_stopped_while_it_is_exposed_whatever_the_time():
    driver = switching(Phase.COMMITTING).reload_ends(End.UNKNOWN)
    assert driver.phase is Phase.COMMITTING
    driver.wait(10_000.0)
    assert all(i.state is InstanceState.READY for i in driver.old.instances)


def test_a_new_slot_that_dies_while_the_old_one_is_warm_is_left():
    driver = switching(Phase.DRAINING)
    driver.dies(driver.rollout.candidate)
    assert (driver.phase, driver.rollout.outcome) == (Phase.REVERTING, Outcome.ROLLED_BACK)
    driver.rest()
    assert driver.live.release == "v1"
    assert [g.release for g in driver.state.good] == ["v1"]
