"""Eject: the way out is a rollout to plain units that reld asks and never signals."""

from __future__ import annotations

import pytest

from reld.core import commands as c
from reld.core import effects as fx
from reld.core import events as ev
from reld.core.effects import todo
from reld.core.events import End
from reld.core.model import InstanceState, Kind, Outcome, Phase
from tests.unit.core_driver import FORWARD, POLICY, Driver, steady

SEEN = tuple(phase for phase in FORWARD if phase is not Phase.BAKING)
"""There is nothing to compare with itself: it does not bake."""
BEFORE_TRAFFIC = (Phase.STARTING, Phase.PROVING)
WITH_UNITS = SEEN[1:6]


def ejecting(phase: Phase | None = None) -> Driver:
    driver = steady().begin(Kind.SWITCH, "v2").rest()
    driver.phases.clear()
    refusal = driver.ask(c.Begin(Kind.EJECT, None, POLICY, unit="web", port=8000))
    assert refusal is None
    return driver if phase is None else driver.to(phase)


def wanted(driver, kind):
    return [effect for effect in todo(driver.state) if isinstance(effect, kind)]


def test_the_live_release_goes_through_all_phases_to_plain_units_and_its_instances_stop():
    driver = ejecting()
    old = {i.number for i in driver.live.instances}
    driver.rest()
    assert tuple(driver.phases) == SEEN
    assert driver.last.outcome is Outcome.DONE
    assert (driver.last.from_, driver.last.to) == ("v2", "v2")
    live = driver.live
    assert (live.release, live.external, live.unit) == ("v2", True, "web")
    assert not old & {i.number for s in driver.state.slots for i in s.instances}
    assert not wanted(driver, (fx.RunUnits, fx.RemoveUnits, fx.Spawn, fx.Stop, fx.Kill))


def test_it_goes_straight_to_all_of_the_traffic_and_has_as_many_units_as_there_are_instances():
    driver = ejecting(Phase.SHIFTING)
    assert driver.rollout.policy.steps == (100,)
    assert len(driver.candidate.instances) == len(driver.old.instances)


def test_the_units_are_seen_to_from_the_start_to_the_commit_and_never_signalled():
    for phase in SEEN:
        driver = ejecting(phase)
        assert bool(wanted(driver, fx.RunUnits)) is (phase in WITH_UNITS), phase
        if driver.state.slot(driver.rollout.candidate) is not None:
            numbers = {i.number for i in driver.candidate.instances}
            signals = wanted(driver, (fx.Spawn, fx.Stop, fx.Kill, fx.AwaitExit))
            assert not numbers & {effect.number for effect in signals}


def test_every_unit_must_be_ready_before_any_gets_traffic():
    driver = ejecting(Phase.STARTING)
    first, second = driver.candidate.instances
    for _ in range(POLICY.slot.ready_successes):
        driver.tell(ev.ReadinessProbed(first.number, passed=True))
    assert driver.phase is Phase.STARTING
    for _ in range(POLICY.slot.ready_successes):
        driver.tell(ev.ReadinessProbed(second.number, passed=True))
    assert driver.phase is Phase.PROVING


@pytest.mark.parametrize("phase", WITH_UNITS)
def test_a_unit_that_does_not_run_turns_it_back_and_all_units_are_removed(phase):
    driver = ejecting(phase)
    driver.tell(ev.UnitsFailed(driver.rollout.id, "web.service exited"))
    assert not wanted(driver, fx.RunUnits)
    driver.to(Phase.STOPPING)
    assert wanted(driver, fx.RemoveUnits)
    assert driver.live.release == "v2"
    assert not driver.live.external
    driver.rest()
    moved = phase not in (*BEFORE_TRAFFIC, Phase.ADMITTING)
    assert driver.last.outcome is (Outcome.ROLLED_BACK if moved else Outcome.FAILED)
    assert driver.last.reason == "web.service exited"
    assert [s.external for s in driver.state.slots] == [False]


def test_units_that_are_not_ready_in_time_fail_it():
    driver = ejecting(Phase.STARTING).wait(POLICY.slot.ready_deadline)
    assert driver.phase is Phase.STOPPING
    assert driver.rest().last.outcome is Outcome.FAILED


@pytest.mark.parametrize("phase", SEEN[:6])
def test_an_abort_goes_back_and_nothing_of_the_units_is_left(phase):
    driver = ejecting(phase)
    assert driver.ask(c.Abort(driver.rollout.id, "by hand")) is None
    driver.rest()
    assert driver.last.outcome is Outcome.ABORTED
    assert not driver.live.external
    assert driver.last.unit_gone == (None if phase is Phase.PREPARING else "")


def test_what_cannot_be_removed_is_told():
    driver = ejecting(Phase.PROVING)
    driver.tell(ev.SmokeEnded(driver.rollout.id, passed=False, detail="login: 500"))
    driver.tell(ev.UnitsRemoved(driver.rollout.id, "web.service was changed by somebody"))
    driver.rest()
    assert "login: 500; web.service was changed by somebody" in driver.last.reason


def test_a_systemd_that_does_not_answer_holds_it_for_a_minute_only():
    driver = ejecting(Phase.PROVING)
    driver.tell(ev.SmokeEnded(driver.rollout.id, passed=False, detail="login: 500"))
    began = driver.now
    driver.until(lambda s: s.rollout is None, without=(fx.RemoveUnits,))
    assert driver.now - began == pytest.approx(60 + POLICY.slot.stop_timeout, abs=1)
    assert "could not be removed in time" in driver.last.reason


@pytest.mark.parametrize("phase", WITH_UNITS)
def test_a_reboot_before_the_commit_goes_back_and_removes_the_units(phase):
    driver = ejecting(phase)
    driver.machine_reboots()
    driver.rest()
    assert driver.last.outcome in (Outcome.ROLLED_BACK, Outcome.FAILED)
    assert (driver.live.release, driver.live.external) == ("v2", False)
    assert driver.last.unit_gone == ""


@pytest.mark.parametrize("phase", [Phase.DRAINING, Phase.STOPPING])
def test_a_reboot_after_the_commit_ends_it_with_the_units(phase):
    driver = ejecting(phase)
    driver.machine_reboots()
    driver.rest()
    assert driver.last.outcome is Outcome.DONE
    assert driver.live.unit == "web"


@pytest.mark.parametrize("phase", SEEN[1:])
def test_a_restart_of_reld_changes_nothing(phase):
    driver = ejecting(phase)
    driver.reld_restarts()
    assert driver.rest().last.outcome is Outcome.DONE
    assert driver.live.unit == "web"


def test_a_gate_that_refuses_moves_nothing():
    driver = ejecting(Phase.ADMITTING).reload_ends(End.REFUSED)
    driver.rest()
    assert driver.last.outcome is Outcome.FAILED
    assert not driver.last.moved
    assert not driver.live.external


def test_it_is_refused_without_a_live_app_of_relds_own_and_twice_is_once():
    assert "nothing is live" in Driver().ask(c.Begin(Kind.EJECT, None, POLICY)).message
    driver = ejecting().rest()
    eject = c.Begin(Kind.EJECT, None, POLICY, unit="web", port=8000)
    assert "already runs without reld" in c.already(driver.state, eject)
    foreign = Driver("127.0.0.1:8000").rest()
    assert "not started by reld" in foreign.ask(eject).message


def test_the_way_in_again_is_a_switch_even_of_the_same_release():
    driver = ejecting().rest()
    assert not c.already(driver.state, c.Begin(Kind.SWITCH, "v2", POLICY))
    driver.begin(Kind.SWITCH, "v2").rest()
    assert driver.last.outcome is Outcome.DONE
    assert not driver.live.external
    assert all(i.state is InstanceState.READY for i in driver.live.instances)


def test_the_release_before_stays_the_way_back():
    driver = ejecting().rest()
    assert [g.release for g in driver.state.good] == ["v1", "v2"]
    driver.begin(Kind.ROLLBACK).rest()
    assert driver.live.release == "v1"
