"""Every command in every phase: what is refused, with which exit class, and what the rest does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld.core import commands as c
from reld.core import events as ev
from reld.core.commands import Why
from reld.core.effects import MoveLanes, moves_lanes_back, todo
from reld.core.events import End
from reld.core.model import Color, Kind, Outcome, Phase
from tests.unit.core_driver import FORWARD, POLICY, Driver, steady, switching

PHASES = (*FORWARD, Phase.REVERTING)
PAUSABLE = FORWARD[:6]
PROMOTABLE = (Phase.SHIFTING, Phase.BAKING, Phase.DRAINING)
NO_WAY_BACK = (Phase.STOPPING, Phase.FINISHING)


def steers(number):
    return c.Pause(number), c.Resume(number), c.Promote(number), c.Abort(number, "by hand")


@pytest.mark.parametrize("kind", [*Kind])
@pytest.mark.parametrize("phase", PHASES)
def test_a_second_rollout_is_refused_as_busy_in_every_phase(phase, kind):
    driver = switching(phase)
    refusal = c.refuse(driver.state, c.Begin(kind, "v3", POLICY))
    assert refusal is not None
    assert refusal.why is Why.BUSY
    assert f"rollout {driver.rollout.id} (v2) is {phase}" in refusal.message
    if kind is Kind.STOP:
        assert "relctl abort" in refusal.hint


def test_nothing_is_steered_while_nothing_runs():
    for command in steers(1):
        refusal = c.refuse(steady().state, command)
        assert refusal is not None
        assert refusal.why is Why.REFUSED


@pytest.mark.parametrize("phase", PHASES)
def test_another_rollout_is_never_steered(phase):
    driver = switching(phase)
    for command in steers(driver.rollout.id + 1):
        assert c.refuse(driver.state, command) is not None


# pause


@pytest.mark.parametrize("phase", PHASES)
def test_pause_is_taken_until_the_commit(phase):
    driver = switching(phase)
    refusal = driver.ask(c.Pause(driver.rollout.id))
    assert (refusal is None) is (phase in PAUSABLE)
    assert driver.rollout.paused is (phase in PAUSABLE)


@pytest.mark.parametrize(
    ("typed", "holds"),
    [
        (Phase.PREPARING, Phase.PROVING),
        (Phase.STARTING, Phase.PROVING),
        (Phase.PROVING, Phase.PROVING),
        (Phase.ADMITTING, Phase.ADMITTING),
        (Phase.SHIFTING, Phase.SHIFTING),
        (Phase.BAKING, Phase.BAKING),
    ],
)
def test_a_pause_holds_says_so_and_resume_goes_on(typed, holds):
    driver = switching(typed)
    assert driver.ask(c.Pause(driver.rollout.id)) is None
    driver.until(lambda s: "paused" in s.rollout.waiting)
    assert driver.phase is holds
    driver.wait(10_000.0)
    assert driver.phase is holds
    assert driver.ask(c.Resume(driver.rollout.id)) is None
    assert driver.state.rollout is None or "paused" not in driver.rollout.waiting
    assert driver.ended().last.outcome is Outcome.DONE


@pytest.mark.parametrize("phase", PAUSABLE[1:])
def test_the_guard_stays_while_paused(phase):
    driver = switching(phase)
    driver.until(lambda s: driver.candidate.instances[0].runs)
    driver.ask(c.Pause(driver.rollout.id))
    driver.exits(driver.candidate.instances[0])
    assert driver.phase in (Phase.STOPPING, Phase.REVERTING)


def test_what_the_gate_does_in_a_pause_does_not_fail_an_admitted_rollout():
    driver = switching(Phase.ADMITTING)
    driver.ask(c.Pause(driver.rollout.id))
    driver.until(lambda s: "paused" in s.rollout.waiting)
    driver.wait(3_600.0).exits(driver.old.instances[0])
    driver.reload_ends(End.REFUSED)
    assert driver.phase is Phase.ADMITTING
    driver.ask(c.Resume(driver.rollout.id))
    assert driver.ended().last.outcome is Outcome.DONE


# promote


@pytest.mark.parametrize("phase", PHASES)
def test_promote_is_taken_where_there_is_a_wait_to_end(phase):
    driver = switching(phase)
    assert (driver.ask(c.Promote(driver.rollout.id)) is None) is (phase in PROMOTABLE)


def test_promote_ends_one_step_and_clears_a_pause():
    driver = switching(Phase.SHIFTING).until(lambda s: s.rollout.share == 5)
    driver.ask(c.Pause(driver.rollout.id))
    driver.ask(c.Promote(driver.rollout.id))
    assert (driver.rollout.step, driver.rollout.paused) == (1, False)
    driver.until(lambda s: s.rollout.share == 50)
    assert driver.rollout.step == 1


def test_promote_full_goes_to_all_traffic_and_still_bakes():
    driver = switching(Phase.SHIFTING)
    driver.ask(c.Promote(driver.rollout.id, full=True))
    assert driver.rollout.wanted_share == 100
    driver.to(Phase.BAKING)
    assert driver.wait(1.0).phase is Phase.BAKING


def test_promote_ends_the_bake():
    driver = switching(Phase.BAKING)
    driver.ask(c.Promote(driver.rollout.id))
    assert driver.phase is Phase.COMMITTING


def test_promote_never_turns_the_guard_off():
    driver = switching(Phase.BAKING)
    driver.exits(driver.old.instances[0])
    driver.exits(driver.candidate.instances[0])
    driver.ask(c.Promote(driver.rollout.id))
    assert driver.phase is Phase.BAKING


def test_promote_ends_the_wait_for_long_connections_but_not_the_drain():
    driver = switching(Phase.DRAINING)
    driver.ask(c.Promote(driver.rollout.id))
    count = ev.DrainCounted(driver.rollout.id, driver.rollout.not_named_since, 2, 0)
    driver.tell(count).wait(POLICY.drain - 1.0)
    assert driver.phase is Phase.DRAINING
    driver.wait(1.0)
    assert (driver.phase, driver.rollout.cut) == (Phase.STOPPING, 2)


# abort and rollback


@pytest.mark.parametrize("outcome", [Outcome.ABORTED, Outcome.ROLLED_BACK])
@pytest.mark.parametrize("phase", FORWARD[:-2])
def test_abort_and_rollback_go_back_until_the_old_slot_stops(phase, outcome):
    driver = switching(phase)
    before = driver.rollout.id
    assert driver.ask(c.Abort(before, "by hand", outcome)) is None
    driver.rest()
    assert (driver.last.id, driver.last.outcome) == (before, outcome)
    assert driver.live.release == "v1"
    assert driver.live.fit


@pytest.mark.parametrize("phase", NO_WAY_BACK)
def test_abort_is_refused_once_the_old_slot_stops(phase):
    driver = switching(phase)
    assert driver.ask(c.Abort(driver.rollout.id, "by hand")) is not None
    assert not c.can_go_back(driver.state)


def test_an_abort_while_reverting_is_a_success_of_the_same_rollout():
    driver = switching(Phase.REVERTING)
    before = driver.state
    assert driver.ask(c.Abort(driver.rollout.id, "again", Outcome.ROLLED_BACK)) is None
    assert driver.state == before
    assert c.can_go_back(driver.state)


def test_an_abort_while_it_drains_after_going_back_is_refused():
    driver = switching(Phase.REVERTING).to(Phase.DRAINING)
    refusal = driver.ask(c.Abort(driver.rollout.id, "again"))
    assert refusal is not None
    assert "already going back" in refusal.message


def test_an_abort_while_draining_is_refused_when_the_old_slot_is_gone():
    driver = switching(Phase.DRAINING)
    driver.exits(driver.old.instances[0])
    refusal = driver.ask(c.Abort(driver.rollout.id, "too late"))
    assert refusal is not None
    assert "v1 is gone" in refusal.message


def test_an_abort_while_committing_waits_for_the_end_of_the_reload():
    driver = switching(Phase.COMMITTING)
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    assert driver.phase is Phase.COMMITTING
    driver.reload_ends(End.VERIFIED)
    assert driver.phase is Phase.REVERTING
    driver.rest()
    assert driver.live.release == "v1"
    assert driver.last.outcome is Outcome.ABORTED


def test_an_abort_ignores_that_it_is_cornered():
    driver = switching(Phase.BAKING)
    driver.exits(driver.old.instances[0])
    driver.exits(driver.candidate.instances[0])
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    assert driver.phase is Phase.REVERTING


def test_lanes_that_were_being_moved_are_moved_back_for_sure():
    driver = switching(Phase.SHIFTING)
    assert (driver.rollout.share, driver.rollout.wanted_share) == (0, 5)
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    back = MoveLanes(driver.rollout.id, 0)
    assert back in todo(driver.state)
    assert moves_lanes_back(back)


def test_a_running_rollback_is_not_undone_by_typing_it_twice():
    driver = steady().begin(Kind.SWITCH, "v2").rest().begin(Kind.ROLLBACK)
    driver.until(lambda s: s.rollout is None or c.can_go_back(s))
    assert driver.live.release == "v1"


# beginning


def test_a_rollback_right_after_one_that_went_back_by_itself_does_nothing():
    driver = switching(Phase.BAKING)
    driver.exits(driver.candidate.instances[0]).rest()
    assert "v1 is live" in c.already(driver.state, c.Begin(Kind.ROLLBACK, None, POLICY))


def test_what_is_live_already_needs_no_rollout():
    state = steady().state
    assert c.already(state, c.Begin(Kind.SWITCH, "v1", POLICY)) == "v1 is already live"
    assert c.already(state, c.Begin(Kind.START, None, POLICY)) == "v1 is already live"
    assert not c.already(state, c.Begin(Kind.RESTART, None, POLICY))
    assert c.already(Driver().state, c.Begin(Kind.STOP, None, POLICY))


def test_what_needs_a_live_release_is_refused_without_one():
    for kind in (Kind.RESTART, Kind.CONTRACT, Kind.ROLLBACK):
        refusal = c.refuse(Driver().state, c.Begin(kind, None, POLICY))
        assert refusal is not None
        assert "nothing is live" in refusal.message


def test_a_state_that_cannot_be_saved_begins_nothing_but_goes_back():
    driver = switching(Phase.SHIFTING).tell(ev.StoreTrouble("disk full"))
    assert driver.ask(c.Abort(driver.rollout.id, "by hand")) is None
    driver.rest()
    refusal = driver.ask(c.Begin(Kind.SWITCH, "v2", POLICY))
    assert refusal is not None
    assert (refusal.why, "disk full" in refusal.message) == (Why.OPERATOR, True)


@pytest.mark.parametrize("kind", [Kind.RESTART, Kind.STOP, Kind.CONTRACT])
@pytest.mark.parametrize("ready", [True, False])
def test_an_external_app_is_not_restarted_nor_stopped(kind, ready):
    driver = Driver("127.0.0.1:8000")
    if ready:
        driver.rest()
        assert driver.state.live is Color.BLUE
    assert driver.ask(c.Begin(kind, None, POLICY)) is not None


def test_contract_needs_its_hook():
    refusal = steady().ask(c.Begin(Kind.CONTRACT, None, replace(POLICY, hooks=())))
    assert refusal is not None
    assert "hooks.contract" in refusal.message
