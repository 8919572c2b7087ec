"""Whole lives: the first release, stop and start, restart, rollback, contract, an external app."""

from __future__ import annotations

import pytest

from reld.core import commands as c
from reld.core import events as ev
from reld.core.effects import ProveReady, todo
from reld.core.events import End
from reld.core.model import Kind, Outcome, Phase
from tests.unit.core_driver import POLICY, Driver, steady, switching, with_policy


def goods(driver):
    return [g.release for g in driver.state.good]


def test_the_first_release_goes_from_proving_to_committing():
    driver = Driver().begin(Kind.SWITCH, "v1").rest()
    assert Phase.ADMITTING not in driver.phases
    assert driver.phases[-1] is Phase.FINISHING
    assert Phase.DRAINING not in driver.phases
    assert (driver.live.release, goods(driver)) == ("v1", ["v1"])


def test_the_first_release_is_nursed_while_its_hooks_run():
    driver = Driver().begin(Kind.SWITCH, "v1").to(Phase.FINISHING)
    driver.exits(driver.live.instances[0]).rest()
    assert driver.live.fit
    assert driver.last.outcome is Outcome.DONE


@pytest.mark.parametrize("end", [End.REFUSED, End.UNKNOWN])
def test_a_first_release_that_the_gate_does_not_take_has_failed(end):
    driver = Driver().begin(Kind.SWITCH, "v1").to(Phase.COMMITTING).reload_ends(end)
    assert driver.rollout.outcome is Outcome.FAILED
    driver.rest()
    assert driver.last.outcome is Outcome.FAILED
    assert (driver.state.slots, goods(driver)) == ((), [])


@pytest.mark.parametrize("end", [End.REFUSED, End.UNKNOWN])
def test_a_switch_that_the_gate_does_not_admit_has_failed(end):
    driver = switching(Phase.ADMITTING).reload_ends(end)
    assert driver.rollout.outcome is Outcome.FAILED
    assert driver.phase is (Phase.REVERTING if end is End.UNKNOWN else Phase.STOPPING)
    driver.rest()
    assert driver.live.release == "v1"
    assert driver.state.gate.trouble == ""


@pytest.mark.parametrize("end", [End.REFUSED, End.UNKNOWN])
def test_a_commit_that_the_gate_does_not_take_is_tried_again_with_both_slots_warm(end):
    driver = switching(Phase.COMMITTING).reload_ends(end).wait(100.0).reload_ends(end)
    assert driver.phase is Phase.COMMITTING
    assert "both slots stay warm" in driver.rollout.waiting
    assert driver.old.fit
    assert driver.candidate.fit
    driver.rest()
    assert (driver.last.outcome, driver.live.release) == (Outcome.DONE, "v2")


@pytest.mark.parametrize("end", [End.REFUSED, End.UNKNOWN])
def test_going_back_is_tried_again_until_the_gate_takes_it(end):
    driver = switching(Phase.REVERTING).reload_ends(end)
    assert driver.phase is Phase.REVERTING
    assert "going back" in driver.rollout.waiting
    assert driver.candidate.fit
    driver.rest()
    assert driver.live.release == "v1"


@pytest.mark.parametrize("end", [End.REFUSED, End.UNKNOWN])
def test_a_steady_reload_is_tried_again(end):
    driver = steady()
    driver.exits(driver.live.instances[0]).reload_ends(end)
    driver.until(lambda s: driver.live.fit).rest()
    assert not driver.state.gate.suspects


def test_two_unknown_reloads_both_stay_suspect_until_a_newer_one_is_verified():
    driver = switching(Phase.COMMITTING).reload_ends(End.UNKNOWN)
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    driver.wait(1.0).reload_ends(End.UNKNOWN)
    assert driver.phase is Phase.REVERTING
    named = {s.routing.default.release for s in driver.state.gate.suspects}
    assert named == {"v1", "v2"}
    assert driver.candidate.fit
    driver.rest()
    assert not driver.state.gate.suspects


def test_a_gate_that_never_answers_does_not_fill_the_state():
    driver = switching(Phase.COMMITTING)
    for _ in range(50):
        driver.reload_ends(End.UNKNOWN).wait(100.0)
    assert len(driver.state.gate.suspects) == 1


def test_a_fix_ships_past_a_dead_live_slot():
    driver = switching(Phase.PROVING)
    driver.dies(driver.rollout.old)
    driver.until(lambda s: s.rollout.phase is not Phase.PROVING)
    assert driver.phase is Phase.COMMITTING
    driver.rest()
    assert driver.live.release == "v2"


def test_stop_takes_the_app_out_drains_and_stops_it_and_start_brings_it_back():
    driver = steady()
    driver.phases.clear()
    driver.begin(Kind.STOP).rest()
    assert driver.phases == [
        Phase.COMMITTING,
        Phase.DRAINING,
        Phase.STOPPING,
    ]
    assert (driver.state.live, driver.state.slots) == (None, ())
    driver.begin(Kind.START).rest()
    assert driver.live.release == "v1"


@pytest.mark.parametrize("end", [End.REFUSED, End.UNKNOWN])
def test_a_stop_that_the_gate_does_not_take_has_failed_and_the_app_goes_on(end):
    driver = steady().begin(Kind.STOP).reload_ends(end)
    if driver.state.rollout is not None:
        assert driver.phase is Phase.REVERTING
        if end is End.UNKNOWN:
            assert driver.wait(20.0).rollout.waiting
    driver.rest()
    assert driver.last.outcome is Outcome.FAILED
    assert driver.live.fit


def test_a_stop_is_not_undone():
    driver = steady().begin(Kind.STOP)
    for phase in (Phase.COMMITTING, Phase.DRAINING, Phase.STOPPING):
        driver.to(phase)
        assert driver.ask(c.Abort(driver.rollout.id, "no")) is not None
        assert not c.can_go_back(driver.state)


def test_restart_puts_the_same_release_into_the_other_slot():
    driver = steady()
    before = driver.state.live
    driver.begin(Kind.RESTART).rest()
    assert (driver.live.release, driver.state.live) == ("v1", before.other)
    assert goods(driver) == ["v1"]


def test_a_rollback_is_proven_and_goes_straight_to_all_traffic():
    driver = steady().begin(Kind.SWITCH, "v2").rest()
    driver.phases.clear()
    driver.begin(Kind.ROLLBACK)
    assert (driver.rollout.policy.steps, driver.rollout.policy.bake) == ((100,), 0.0)
    driver.rest()
    assert Phase.PROVING in driver.phases
    assert driver.live.release == "v1"


def test_rollbacks_walk_down_the_stack_of_good_releases():
    driver = steady("v1")
    for release in ("v2", "v3"):
        driver.begin(Kind.SWITCH, release).rest()
    for live in ("v2", "v1"):
        driver.begin(Kind.ROLLBACK).rest()
        assert driver.live.release == live
    assert goods(driver) == ["v1"]
    refusal = driver.ask(c.Begin(Kind.ROLLBACK, None, POLICY))
    assert refusal is not None
    assert "no earlier good release" in refusal.message


def test_a_rollback_to_a_release_outside_the_stack_leaves_no_way_back_to_the_bad_one():
    driver = steady("v1")
    for release in ("v2", "v3"):
        driver.begin(Kind.SWITCH, release).rest()
    driver.begin(Kind.ROLLBACK, "v0").rest()
    assert goods(driver) == ["v1", "v2", "v0"]


def test_contract_seals_older_releases_and_only_force_goes_back():
    driver = steady("v1").begin(Kind.SWITCH, "v2").rest().begin(Kind.CONTRACT).rest()
    assert driver.last.outcome is Outcome.DONE
    assert [g.sealed for g in driver.state.good] == [True, False]
    refusal = driver.ask(c.Begin(Kind.ROLLBACK, None, POLICY))
    assert refusal is not None
    assert refusal.why is c.Why.OPERATOR
    assert driver.ask(c.Begin(Kind.ROLLBACK, None, POLICY, force=True)) is None


def test_a_failed_contract_seals_nothing():
    driver = steady("v1").begin(Kind.SWITCH, "v2").rest().begin(Kind.CONTRACT)
    driver.tell(ev.HookEnded(driver.rollout.id, "contract", 1, passed=False, detail="exit 1"))
    assert (driver.last.outcome, driver.last.reason) == (Outcome.FAILED, "contract: exit 1")
    assert not any(g.sealed for g in driver.state.good)


def test_going_back_is_impossible_once_the_old_slot_is_not_fit_and_the_new_one_is_live():
    driver = switching(Phase.COMMITTING)
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    driver.exits(driver.old.instances[0]).reload_ends(End.VERIFIED)
    driver.rest()
    assert driver.last.outcome is Outcome.DONE
    assert "could not go back" in driver.last.reason
    assert (driver.live.release, goods(driver)) == ("v2", ["v1", "v2"])


def test_an_external_app_is_live_first_and_never_signalled():
    driver = Driver("127.0.0.1:8000").rest()
    assert driver.live.external
    driver.begin(Kind.SWITCH, "v1")
    names: set[str] = set()

    def ended(state):
        names.update(type(e).__name__ for e in todo(state) if getattr(e, "number", 0) == 1)
        return state.rollout is None

    driver.until(ended)
    assert names <= {"ProveReady", "CheckReady"}
    assert driver.live.release == "v1"
    assert [s.release for s in driver.state.slots] == ["v1"]


def test_an_external_app_takes_the_traffic_back():
    driver = Driver("127.0.0.1:8000").rest().begin(Kind.SWITCH, "v1").to(Phase.BAKING)
    driver.exits(driver.candidate.instances[0]).rest()
    assert driver.last.outcome is Outcome.ROLLED_BACK
    assert driver.live.external


def test_an_external_app_that_does_not_answer_is_nothing_to_protect():
    driver = Driver("127.0.0.1:8000").begin(Kind.SWITCH, "v1")
    for _ in range(500):
        if driver.state.rollout is None:
            break
        answers = [
            a
            for e in sorted(todo(driver.state), key=repr)
            if e != ProveReady(1) and (a := driver._success(e)) is not None
        ]
        driver.tell(answers[0]) if answers else driver.wait(1.0)
    assert Phase.ADMITTING not in driver.phases
    assert driver.live.release == "v1"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_instance_must_be_ready(count):
    policy = with_policy(slot=type(POLICY.slot)(instances=count))
    driver = Driver().begin(Kind.SWITCH, "v1", policy).to(Phase.PROVING)
    assert len(driver.candidate.instances) == count
    assert driver.candidate.fit
    assert len({i.address for i in driver.candidate.instances}) == count


def test_one_sick_live_instance_at_a_time_is_restarted_and_never_a_healthy_one():
    driver = steady()
    sick, healthy = driver.live.instances
    for _ in range(3):
        driver.tell(ev.LivenessProbed(sick.number, passed=False, detail="timed out"))
    assert driver.live.instances[0].state == "ready"  # the gate leaves it first
    driver.reload_ends(End.VERIFIED)
    assert [i.state for i in driver.live.instances] == ["stopping", "ready"]
    for _ in range(3):
        driver.tell(ev.LivenessProbed(healthy.number, passed=False, detail="timed out"))
    assert [i.state for i in driver.live.instances] == ["stopping", "ready"]


def test_a_sick_old_slot_is_not_signalled_while_the_commit_may_be_in_force():
    driver = switching(Phase.COMMITTING, with_policy(slot=type(POLICY.slot)(instances=1)))
    old = driver.old.instances[0]
    for _ in range(3):
        driver.tell(ev.LivenessProbed(old.number, passed=False, detail="timed out"))
    assert driver.old.instances[0].state == "ready"
