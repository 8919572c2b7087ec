"""Two people for what changes the app: where it waits in each phase, and who gets it on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld.core import commands as c
from reld.core.approval import needed
from reld.core.commands import Why
from reld.core.model import Good, HookState, Kind, Outcome, Phase
from tests.unit.core_driver import FORWARD, POLICY, Driver, steady

ALICE, BOB, ROOT = (1000,), (1001,), (0,)
WAITS = "an approver: relctl approve {}"


def begun(kind: Kind = Kind.SWITCH, release: str | None = "v2", people=ALICE, **more) -> Driver:
    driver = more.pop("driver", None) or steady()
    refusal = driver.ask(
        c.Begin(kind, release, POLICY, "alice", approval=True, people=people, note="a fix")
    )
    assert refusal is None, refusal
    return driver


def approve(driver: Driver, people=BOB, note: str = "") -> c.Refusal | None:
    return driver.ask(c.Approve(driver.rollout.id, people, "bob", note))


def waiting(driver: Driver) -> bool:
    return driver.rollout.waiting == WAITS.format(driver.rollout.id)


# what waits


@pytest.mark.parametrize(
    ("kind", "release", "waits"),
    [
        (Kind.SWITCH, "v2", True),
        (Kind.RESTART, "", True),
        (Kind.CONTRACT, "", True),
        (Kind.EJECT, "", True),
        (Kind.ROLLBACK, "v1", False),
        (Kind.ROLLBACK, "never-good", True),
        (Kind.START, "", False),
        (Kind.STOP, "", False),
    ],
)
def test_what_needs_an_approver(kind, release, waits):
    state = replace(steady().state, good=(Good("v1", 1), Good("v1.1", 2)))
    assert needed(state, kind, release) is waits


def test_nothing_waits_where_nobody_approves():
    driver = steady()
    driver.ask(c.Begin(Kind.SWITCH, "v2", POLICY, people=ALICE))
    assert driver.ended().last.outcome is Outcome.DONE


@pytest.mark.parametrize("kind", [Kind.SWITCH, Kind.RESTART])
def test_it_is_proven_and_then_waits_without_an_end(kind):
    driver = begun(kind, "v2" if kind is Kind.SWITCH else None).until(waiting_in)
    driver.wait(1_000_000.0)
    assert driver.phase is Phase.PROVING
    assert waiting(driver)
    assert driver.rollout.reloads == 0
    assert driver.live.release == "v1"


def waiting_in(state) -> bool:
    return "approver" in state.rollout.waiting


def test_a_first_release_waits_before_it_is_committed():
    driver = begun(release="v1", driver=Driver()).until(waiting_in)
    assert driver.phase is Phase.PROVING
    assert approve(driver) is None
    assert driver.phase is Phase.COMMITTING
    assert driver.ended().last.outcome is Outcome.DONE


def test_a_contract_waits_before_its_hook_runs():
    driver = begun(Kind.CONTRACT, None)
    assert (driver.phase, driver.rollout.hooks) == (Phase.FINISHING, ())
    assert waiting(driver)
    assert approve(driver) is None
    assert driver.rollout.hooks[0].state is HookState.RUNNING
    assert driver.rollout.waiting == ""
    assert driver.ended().last.outcome is Outcome.DONE


# approve, in each phase


@pytest.mark.parametrize("phase", FORWARD)
def test_an_approval_is_taken_until_it_was_given(phase):
    driver = begun()
    if FORWARD.index(phase) > FORWARD.index(Phase.PROVING):
        driver.until(waiting_in)
        approve(driver)
    driver.to(phase)
    early = FORWARD.index(phase) <= FORWARD.index(Phase.PROVING)
    refusal = approve(driver)
    assert (refusal is None) is early
    if refusal is not None:
        assert "bob has approved it already" in refusal.message


def test_an_early_approval_leaves_nothing_to_wait_for():
    driver = begun()
    assert approve(driver, note="seen in staging") is None
    assert driver.ended().last.outcome is Outcome.DONE
    assert (driver.last.approved_by, driver.last.approval_note) == ("bob", "seen in staging")
    assert driver.last.note == "a fix"


@pytest.mark.parametrize(
    ("began", "agrees", "may"),
    [
        (ALICE, BOB, True),
        (ALICE, ALICE, False),
        (ALICE, ROOT, True),
        (ROOT, ROOT, False),
        (ROOT, BOB, True),
        (ALICE, (1000, 1001), False),  # su
        ((1000, 1001), BOB, False),
    ],
)
def test_only_another_person_can_approve(began, agrees, may):
    driver = begun(people=began).until(waiting_in)
    refusal = approve(driver, agrees)
    assert (refusal is None) is may
    assert driver.phase is (Phase.ADMITTING if may else Phase.PROVING)
    if refusal is not None:
        assert refusal.why is Why.PERSON


def test_what_needs_no_approval_cannot_be_approved():
    driver = steady()
    driver.ask(c.Begin(Kind.SWITCH, "v2", POLICY, people=ALICE))
    refusal = approve(driver)
    assert refusal is not None
    assert "needs no approval" in refusal.message


def test_another_rollout_is_never_approved():
    driver = begun()
    assert driver.ask(c.Approve(driver.rollout.id + 1, BOB, "bob")) is not None


# no way round it, and the ways out


@pytest.mark.parametrize("which", ["resume", "promote", "full", "pause and resume"])
def test_nothing_else_gets_it_on(which):
    driver = begun().until(waiting_in)
    number = driver.rollout.id
    commands = {
        "resume": [c.Resume(number)],
        "promote": [c.Promote(number)],
        "full": [c.Promote(number, full=True)],
        "pause and resume": [c.Pause(number), c.Resume(number)],
    }
    for command in commands[which]:
        driver.ask(command)
    driver.wait(10_000.0)
    assert driver.phase is Phase.PROVING
    assert waiting(driver)


def test_a_pause_holds_what_is_approved():
    driver = begun().until(waiting_in)
    driver.ask(c.Pause(driver.rollout.id))
    approve(driver)
    assert driver.wait(100.0).phase is Phase.PROVING
    driver.ask(c.Resume(driver.rollout.id))
    assert driver.ended().last.outcome is Outcome.DONE


@pytest.mark.parametrize("outcome", [Outcome.ABORTED, Outcome.ROLLED_BACK])
def test_whoever_operates_ends_the_wait_by_going_back(outcome):
    driver = begun().until(waiting_in)
    assert driver.ask(c.Abort(driver.rollout.id, "by hand", outcome)) is None
    assert driver.ended().last.outcome is outcome
    assert driver.live.release == "v1"


def test_a_contract_that_nobody_approves_can_be_aborted_and_its_hook_never_runs():
    driver = begun(Kind.CONTRACT, None)
    assert driver.ask(c.Abort(driver.rollout.id, "by hand")) is None
    assert (driver.last.outcome, driver.last.hooks) == (Outcome.ABORTED, ())
    assert not any(good.sealed for good in driver.state.good)


def test_a_contract_that_was_approved_is_not_undone():
    driver = begun(Kind.CONTRACT, None)
    approve(driver)
    assert driver.ask(c.Abort(driver.rollout.id, "by hand")) is not None


def test_a_second_rollout_is_told_of_both_ways_out():
    driver = begun().until(waiting_in)
    refusal = c.refuse(driver.state, c.Begin(Kind.SWITCH, "v3", POLICY))
    assert refusal is not None
    assert refusal.hint == "relctl approve 2, relctl abort 2, or add --wait-lock"


def test_the_guard_stays_while_it_waits():
    driver = begun().until(waiting_in)
    driver.exits(driver.candidate.instances[0])
    assert driver.ended().last.outcome is Outcome.FAILED


def test_a_dead_live_slot_is_no_reason_to_go_on_unapproved():
    driver = begun().until(waiting_in)
    driver.dies(driver.rollout.old)
    assert driver.wait(1.0).phase is Phase.PROVING
    assert approve(driver) is None
    assert driver.phase is not Phase.PROVING


def test_a_restart_of_reld_forgets_neither_the_wait_nor_the_approval():
    driver = begun().until(waiting_in)
    driver.reld_restarts().wait(1.0)
    assert waiting(driver)
    approve(driver)
    driver.reld_restarts()
    assert driver.ended().last.approved_by == "bob"
