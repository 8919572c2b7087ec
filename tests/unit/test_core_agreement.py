"""A person between two steps: where it waits, who may let it go on, and what nothing can get past."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld.core import agreement
from reld.core import commands as c
from reld.core.commands import Why
from reld.core.model import Color, InstanceState, Kind, Outcome, Phase
from reld.core.policy import StreamPolicy
from tests.unit.core_driver import POLICY, Driver, steady

ALICE, BOB = (1000,), (1001,)
GATED = replace(POLICY, approve_after=(5,))


def begun(*gates: int, approvers: bool = False, **more) -> Driver:
    driver = steady()
    policy = replace(POLICY, approve_after=gates or (5,), **more)
    refusal = driver.ask(
        c.Begin(Kind.SWITCH, "v2", policy, "alice", approval=approvers, people=ALICE)
    )
    assert refusal is None, refusal
    if approvers:
        driver.until(lambda s: "approver" in s.rollout.waiting)
        assert driver.ask(c.Approve(driver.rollout.id, BOB, "bob")) is None
    return driver


def asked(driver: Driver) -> Driver:
    return driver.until(lambda s: s.rollout is not None and s.rollout.asked)


def promote(driver: Driver, people=BOB, actor="bob", **more) -> c.Refusal | None:
    more.setdefault("at", "2026-11-23T12:00:00Z")
    return driver.ask(c.Promote(driver.rollout.id, people=people, actor=actor, **more))


# how it is written


def test_steps_and_gates_in_one_row():
    assert agreement.split([5, "approve", 25, 100]) == ((5, 25, 100), (5,))
    assert agreement.split(["approve", 100, "approve"]) == ((100,), (0, 100))
    assert agreement.joined(replace(POLICY, steps=(5, 100), approve_after=(0, 5))) == (
        "approve",
        5,
        "approve",
        100,
    )


@pytest.mark.parametrize("row", [[5, "approve", "approve", 100], ["no", 100], [5, "", 100]])
def test_a_row_that_makes_no_sense(row):
    with pytest.raises(ValueError, match=r"no step|twice"):
        agreement.split(row)


# where it waits


def test_it_waits_after_the_step_without_an_end_and_says_what_to_type():
    driver = asked(begun())
    driver.wait(1_000_000.0)
    assert (driver.phase, driver.rollout.share) == (Phase.SHIFTING, 5)
    assert (
        driver.rollout.waiting == f"a person to agree after 5 %: relctl promote {driver.rollout.id}"
    )


def test_the_step_is_watched_first():
    driver = begun().to(Phase.SHIFTING).until(lambda s: s.rollout.step_since is not None)
    driver.wait(POLICY.step_time / 2)
    assert not driver.rollout.asked


def test_before_any_traffic_and_before_the_bake():
    driver = asked(begun(0, 100))
    assert (driver.phase, driver.rollout.moved) == (Phase.ADMITTING, False)
    assert "before any traffic" in driver.rollout.waiting
    assert promote(driver) is None
    asked(driver)
    assert (driver.phase, driver.rollout.share) == (Phase.SHIFTING, 100)
    assert "before the bake" in driver.rollout.waiting
    assert promote(driver) is None
    assert driver.ended().last.outcome is Outcome.DONE
    assert [one.after for one in driver.state.last.agreed] == [0, 100]


def test_who_agreed_and_when_is_kept():
    driver = asked(begun())
    assert promote(driver, note="looks well") is None
    (one,) = driver.ended().last.agreed
    assert (one.after, one.by, one.at, one.note) == (5, "bob", "2026-11-23T12:00:00Z", "looks well")


def test_without_approvers_who_began_may_agree():
    driver = asked(begun())
    assert promote(driver, ALICE, "alice") is None
    assert driver.ended().last.outcome is Outcome.DONE


def test_each_gate_asks_for_itself():
    driver = asked(begun(5, 50))
    assert promote(driver) is None
    asked(driver)
    assert driver.rollout.share == 50
    assert promote(driver) is None
    assert [one.after for one in driver.ended().last.agreed] == [5, 50]


def test_a_step_that_is_skipped_takes_its_gate_with_it_to_the_one_before():
    driver = asked(begun(5, 50))
    slow = replace(driver.rollout, watch=replace(driver.rollout.watch, rate=0.001))
    driver.state = replace(driver.state, rollout=slow)
    assert promote(driver) is None
    assert [one.after for one in driver.rollout.agreed] == [5, 50]
    assert driver.ended().last.skipped == (50,)


def test_who_hurries_skips_no_step_and_so_no_gate_behind_it():
    driver = begun(5, 50).to(Phase.SHIFTING).until(lambda s: s.rollout.step_since is not None)
    slow = replace(driver.rollout, watch=replace(driver.rollout.watch, rate=0.001))
    driver.state = replace(driver.state, rollout=slow)
    assert promote(driver) is None  # the time of the step
    assert promote(driver) is None  # the gate behind it
    assert [one.after for one in driver.rollout.agreed] == [5]
    driver.until(lambda s: s.rollout.share == 50)
    asked(driver)
    assert "after 50 %" in driver.rollout.waiting


def test_a_first_step_with_a_gate_behind_it_is_not_skipped():
    driver = begun(5).to(Phase.ADMITTING)
    slow = replace(driver.rollout, watch=replace(driver.rollout.watch, rate=0.001))
    driver.state = replace(driver.state, rollout=slow)
    asked(driver)
    assert driver.rollout.share in (0, 5)  # asked before it, or after it: never past it


# who may not


def test_with_approvers_it_takes_one_of_them_and_another_person():
    driver = asked(begun(approvers=True))
    assert driver.rollout.waiting.startswith("an approver to agree after 5 %: ")
    assert promote(driver, approver=False).why is Why.PERSON
    own = promote(driver, ALICE, "alice", approver=True)
    assert own.why is Why.PERSON
    assert "another person" in own.message
    assert promote(driver, approver=True, operator=False) is None
    assert not driver.rollout.asked


def test_an_approver_may_say_it_by_approve_too():
    driver = asked(begun(approvers=True))
    assert driver.ask(c.Approve(driver.rollout.id, ALICE, "alice")).why is Why.PERSON
    assert driver.ask(c.Approve(driver.rollout.id, BOB, "bob", "fine", "T")) is None
    (one,) = driver.rollout.agreed
    assert (one.by, one.at, one.note) == ("bob", "T", "fine")


def test_an_approver_who_promotes_before_the_approval_is_told_what_to_type():
    driver = steady()
    policy = replace(POLICY, approve_after=(5,))
    begin = c.Begin(Kind.SWITCH, "v2", policy, "alice", approval=True, people=ALICE)
    assert driver.ask(begin) is None
    driver.until(lambda s: "approver" in s.rollout.waiting)
    refusal = promote(driver, operator=False, approver=True)
    assert (refusal.why, refusal.hint) == (Why.PERSON, f"relctl approve {driver.rollout.id}")


def test_an_approver_who_is_no_operator_steers_nothing_else():
    driver = begun(approvers=True).to(Phase.SHIFTING)
    assert promote(driver, operator=False, approver=True).why is Why.PERSON
    asked(driver)
    assert promote(driver, operator=False, approver=True, full=True).why is Why.PERSON


# what does not get past


def test_a_promote_that_comes_early_ends_the_step_and_not_the_gate():
    driver = begun().to(Phase.SHIFTING).until(lambda s: s.rollout.step_since is not None)
    assert promote(driver) is None
    assert driver.rollout.asked
    assert driver.rollout.share == 5


def test_straight_to_the_end_stops_at_a_gate_that_is_not_ones_own_to_pass():
    driver = begun(50, approvers=True).to(Phase.SHIFTING)
    assert promote(driver, ALICE, "alice", full=True) is None
    asked(driver)
    assert driver.rollout.share == 50
    assert promote(driver, approver=True) is None
    assert driver.ended().last.outcome is Outcome.DONE


def test_straight_to_the_end_agrees_to_all_steps_that_are_left():
    driver = begun(5, 50).to(Phase.SHIFTING)
    assert promote(driver, full=True) is None
    assert driver.ended().last.outcome is Outcome.DONE
    assert [one.after for one in driver.state.last.agreed] == [5, 50]


def test_straight_to_the_end_does_not_agree_to_the_bake():
    driver = begun(100).to(Phase.SHIFTING)
    assert promote(driver, full=True) is None
    asked(driver)
    assert driver.rollout.share == 100


def test_a_pause_outlasts_the_agreement_of_another():
    driver = asked(begun(approvers=True))
    assert driver.ask(c.Pause(driver.rollout.id)) is None
    assert driver.ask(c.Approve(driver.rollout.id, BOB, "bob")) is None
    driver.wait(10_000.0)
    assert (driver.rollout.share, driver.rollout.paused) == (5, True)


def test_who_may_only_agree_does_not_end_a_pause():
    driver = asked(begun(approvers=True))
    assert driver.ask(c.Pause(driver.rollout.id)) is None
    assert promote(driver, approver=True, operator=False) is None
    driver.wait(10_000.0)
    assert (driver.rollout.share, driver.rollout.paused) == (5, True)
    assert [one.after for one in driver.rollout.agreed] == [5]
    assert driver.ask(c.Resume(driver.rollout.id)) is None
    assert driver.ended().last.outcome is Outcome.DONE


# what goes on meanwhile


def test_the_guard_stays_on():
    driver = asked(begun())
    driver.exits(driver.slot(driver.rollout.candidate).instances[0])
    assert driver.phase is Phase.REVERTING
    assert not driver.rollout.asked
    assert driver.ended().last.outcome is Outcome.ROLLED_BACK


@pytest.mark.parametrize("gate", [0, 5, 100])
def test_a_person_may_go_back_instead(gate):
    driver = asked(begun(gate))
    assert driver.ask(c.Abort(driver.rollout.id, "no")) is None
    assert driver.ended().last.outcome is Outcome.ABORTED


@pytest.mark.parametrize("gate", [0, 5, 100])
def test_a_dead_old_slot_leaves_nobody_to_ask_for(gate):
    driver = asked(begun(gate))
    driver.dies(driver.rollout.old)
    old = driver.slot(driver.rollout.old)
    gone = tuple(replace(i, state=InstanceState.EXITED) for i in old.instances)
    driver.state = driver.state.with_slot(old.color, replace(old, instances=gone))
    driver.until(lambda s: s.rollout is None or not s.rollout.asked)
    assert driver.state.rollout is None or driver.rollout.wanted_share == 100


@pytest.mark.parametrize("gate", [0, 5, 100])
def test_a_killed_reld_asks_on(gate):
    driver = asked(begun(gate))
    waiting = driver.rollout.waiting
    driver.reld_restarts()
    assert (driver.rollout.asked, driver.rollout.waiting) == (True, waiting)
    assert promote(driver) is None
    assert driver.ended().last.outcome is Outcome.DONE


def test_a_reboot_goes_back_as_always():
    driver = asked(begun())
    driver.machine_reboots()
    assert driver.ended().last.outcome is Outcome.ROLLED_BACK


# who is never asked


@pytest.mark.parametrize("kind", [Kind.ROLLBACK])
def test_a_way_back_asks_nobody(kind):
    driver = steady("v2")
    driver.begin(kind, "v1", replace(GATED, approve_after=(0, 100)))
    assert driver.ended().last.agreed == ()


def test_a_first_release_asks_nobody():
    driver = Driver().begin(Kind.SWITCH, "v1", replace(GATED, approve_after=(0, 5, 100)))
    assert driver.ended().last.outcome is Outcome.DONE


def test_websockets_and_shadow_and_surge_ask_all_the_same():
    more = {"streams": StreamPolicy(3.0, 4.0), "shadow": 0.5, "surge": 1}
    driver = asked(begun(0, **more))
    assert driver.phase is Phase.ADMITTING
    assert promote(driver) is None
    assert driver.ended().last.outcome is Outcome.DONE
    assert driver.state.live is Color.GREEN
