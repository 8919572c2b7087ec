"""Two copies do not fit: the old slot makes way, the new one starts, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld.core import commands as c
from reld.core import events as ev
from reld.core.effects import CountDrain, Judge, ProveReady, Spawn, todo
from reld.core.events import End
from reld.core.model import Color, InstanceState, Kind, Outcome, Phase, State
from reld.core.policy import WorkerPolicy
from reld.core.routing import exposed
from tests.unit.core_driver import Driver, steady, with_policy

ONE = with_policy(strategy="stop-first")
AWAY = (Phase.DRAINING, Phase.STOPPING, Phase.STARTING, Phase.PROVING, Phase.COMMITTING)


def switching(phase: Phase | None = None) -> Driver:
    driver = steady().begin(Kind.SWITCH, "v2", ONE)
    driver.phases.clear()
    return driver if phase is None else driver.to(phase)


def served_nobody() -> Driver:
    """The gate answers 503; nobody has counted yet what is left on the old slot."""
    return switching().until(
        lambda s: s.gate.verified.routing.default is None, without=(CountDrain,)
    )


def still_there(driver: Driver) -> Driver:
    return driver.tell(ev.DrainCounted(driver.rollout.id, driver.rollout.not_named_since, 2, 1))


def stopped(driver: Driver) -> Driver:
    """Nobody counts again until it is stopped."""
    return driver.until(
        lambda s: s.rollout is not None and s.rollout.phase is Phase.STOPPING,
        without=(CountDrain,),
    )


def running(driver: Driver) -> set[str]:
    return {s.release for s in driver.state.slots for i in s.instances if i.runs}


def came_back(driver: Driver, outcome: Outcome) -> None:
    assert driver.last.outcome is outcome
    assert driver.live.release == "v1"
    assert driver.live.fit
    assert running(driver) == {"v1"}
    assert [s.release for s in driver.state.slots] == ["v1"]


def never_both(driver: Driver) -> Driver:
    """Plays on to the end, and looks at each state on the way."""

    def over(state: State) -> bool:
        assert len(running(driver)) <= 1, state
        return state.rollout is None

    return driver.until(over)


def test_it_goes_through_its_phases_in_its_own_order() -> None:
    driver = never_both(switching())
    assert driver.phases == [
        *(Phase.DRAINING, Phase.STOPPING, Phase.STARTING, Phase.PROVING),
        *(Phase.COMMITTING, Phase.FINISHING),
    ]
    assert driver.last.outcome is Outcome.DONE
    assert driver.last.reloads == 2
    assert driver.live.release == "v2"
    assert [s.release for s in driver.rest().state.slots] == ["v2"]


def test_nobody_is_turned_away_before_somebody_counts_them() -> None:
    driver = switching().until(
        lambda s: s.rollout is not None and s.rollout.prepared is not None, without=(Judge,)
    )
    driver.until(
        lambda s: s.rollout is not None and s.rollout.phase is Phase.DRAINING, without=(Judge,)
    )
    assert driver.state.gate.in_flight is None
    driver.heard()
    assert driver.state.gate.in_flight is not None
    assert driver.state.gate.in_flight.routing.default is None


def test_a_log_that_nobody_can_read_holds_nothing_up_for_long() -> None:
    driver = switching().until(lambda s: s.gate.in_flight is not None, without=(Judge,))
    assert driver.phase is Phase.DRAINING


def test_the_old_slot_is_signalled_only_when_the_gate_serves_nobody_and_it_is_drained() -> None:
    driver = switching().until(lambda s: s.rollout is not None and s.rollout.made_way)
    assert exposed(driver.state, driver.old.color)
    driver = still_there(served_nobody()).wait(31.0)
    assert driver.phase is Phase.DRAINING
    assert all(i.state is InstanceState.READY for i in driver.old.instances)
    driver.tell(ev.DrainCounted(driver.rollout.id, driver.rollout.not_named_since, 0, 0))
    assert driver.phase is Phase.STOPPING
    assert all(i.state is InstanceState.STOPPING for i in driver.old.instances)


def test_a_gate_of_which_nobody_knows_whom_it_serves_may_have_turned_users_away() -> None:
    driver = switching().until(lambda s: s.gate.in_flight is not None)
    driver.reload_ends(End.UNKNOWN).rest()
    came_back(driver, Outcome.ROLLED_BACK)
    driver = switching().until(lambda s: s.gate.in_flight is not None)
    driver.reload_ends(End.REFUSED).rest()
    came_back(driver, Outcome.FAILED)


def test_what_both_slots_had_left_is_counted() -> None:
    driver = served_nobody()
    stopped(still_there(driver)).to(Phase.COMMITTING)
    first = driver.rollout.drain_seconds
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    driver.until(lambda s: s.rollout is not None and s.rollout.phase is Phase.DRAINING)
    driver.until(
        lambda s: s.rollout is not None and s.rollout.drain_since is not None, without=(CountDrain,)
    )
    stopped(still_there(driver))
    assert (driver.rollout.cut, driver.rollout.drain_seconds) == (4, first + ONE.drain_max)


def test_users_wait_for_nothing_but_what_is_left_of_the_drain() -> None:
    driver = served_nobody()
    began = driver.now
    driver.to(Phase.STOPPING)
    assert driver.now == began


def test_what_never_ends_is_cut_at_drain_max_and_counted() -> None:
    driver = served_nobody()
    stopped(still_there(driver))
    assert driver.rollout.drain_seconds == ONE.drain_max
    assert driver.rollout.cut == 2


def test_promote_cuts_what_is_left_once_drain_is_over() -> None:
    driver = served_nobody()
    still_there(driver)
    assert driver.ask(c.Promote(driver.rollout.id)) is None
    stopped(driver)
    assert driver.rollout.drain_seconds == ONE.drain


def test_the_candidate_is_there_only_when_the_last_process_of_the_old_one_is_gone() -> None:
    driver = switching(Phase.STOPPING)
    first, second = driver.old.instances
    driver.exits(first).tell(ev.TreeEmpty(first.number)).exits(second)
    assert driver.phase is Phase.STOPPING
    assert driver.state.slot(driver.rollout.candidate) is None
    driver.tell(ev.TreeEmpty(second.number))
    assert driver.phase is Phase.STARTING
    assert any(isinstance(effect, Spawn) for effect in todo(driver.state))


@pytest.mark.parametrize("phase", AWAY)
@pytest.mark.parametrize("outcome", [Outcome.ABORTED, Outcome.ROLLED_BACK])
def test_a_person_has_the_old_release_back_from_every_phase(phase: Phase, outcome: Outcome) -> None:
    driver = switching(phase)
    assert driver.ask(c.Abort(driver.rollout.id, "by hand", outcome)) is None
    never_both(driver)
    came_back(driver, outcome)
    assert driver.last.moved is (phase is not Phase.DRAINING)


@pytest.mark.parametrize("phase", AWAY)
def test_a_reboot_brings_the_old_release_back(phase: Phase) -> None:
    driver = switching(phase)
    driver.machine_reboots()
    never_both(driver)
    nobody_noticed = phase is Phase.DRAINING  # the gate had not been told yet
    came_back(driver, Outcome.FAILED if nobody_noticed else Outcome.ROLLED_BACK)
    assert driver.last.reason == "the machine was rebooted"


@pytest.mark.parametrize("phase", AWAY)
def test_a_reld_that_comes_back_goes_on(phase: Phase) -> None:
    driver = switching(phase)
    driver.reld_restarts()
    never_both(driver)
    assert driver.last.outcome is Outcome.DONE
    assert driver.live.release == "v2"


def test_a_commit_that_took_effect_before_the_reboot_stays() -> None:
    driver = switching(Phase.COMMITTING)
    assert driver.state.gate.in_flight is not None
    driver.machine_reboots(driver.state.gate.in_flight.generation)
    driver.rest()
    assert driver.last.outcome is Outcome.DONE
    assert driver.live.release == "v2"
    assert driver.live.fit


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.PROVING, Phase.COMMITTING])
def test_a_candidate_that_dies_is_gone_before_the_old_release_comes_back(phase: Phase) -> None:
    driver = switching(phase)
    if phase is Phase.STARTING:
        driver.until(lambda s: driver.candidate.instances[0].state is InstanceState.STARTING)
    driver.exits(driver.candidate.instances[0])
    assert driver.phase in (Phase.DRAINING, Phase.STOPPING)
    never_both(driver)
    came_back(driver, Outcome.ROLLED_BACK)
    assert "exited" in driver.last.reason


def test_a_candidate_that_is_never_ready_is_given_up_at_its_deadline() -> None:
    driver = switching(Phase.STARTING)
    began = driver.now
    driver.until(
        lambda s: s.rollout is not None and s.rollout.phase is Phase.STOPPING, without=(ProveReady,)
    )
    assert driver.now - began == pytest.approx(ONE.slot.ready_deadline)
    came_back(never_both(driver), Outcome.ROLLED_BACK)
    assert "not ready after" in driver.last.reason


def test_a_failed_smoke_check_brings_the_old_release_back() -> None:
    driver = switching(Phase.PROVING)
    driver.tell(ev.SmokeEnded(driver.rollout.id, False, "login: 500"))
    came_back(never_both(driver), Outcome.ROLLED_BACK)
    assert driver.last.reason == "smoke check failed: login: 500"


def test_the_old_release_comes_back_from_its_own_snapshot_on_its_own_ports() -> None:
    driver = switching(Phase.PROVING)
    before = driver.old
    driver.tell(ev.SmokeEnded(driver.rollout.id, False, "login: 500"))
    driver.ended()
    assert driver.live.snapshot == before.snapshot
    assert [i.address for i in driver.live.instances] == [i.address for i in before.instances]
    assert not {i.number for i in driver.live.instances} & {i.number for i in before.instances}


def test_an_old_release_that_does_not_come_back_is_nursed_on_and_holds_nobody_up() -> None:
    driver = switching(Phase.PROVING)
    driver.tell(ev.SmokeEnded(driver.rollout.id, False, "login: 500"))
    driver.to(Phase.REVERTING)
    driver.until(lambda s: s.rollout is None, without=(ProveReady,))
    assert driver.last.outcome is Outcome.ROLLED_BACK
    assert driver.last.stranded
    assert "did not come back" in driver.last.reason
    assert driver.live.release == "v1"
    assert not driver.live.fit
    driver.begin(Kind.SWITCH, "v3", ONE).ended()
    assert driver.last.outcome is Outcome.DONE
    assert driver.live.release == "v3"


def test_an_old_release_that_cannot_be_killed_is_no_reason_to_wait_for_ever() -> None:
    driver = switching(Phase.STOPPING)
    for instance in driver.old.instances:
        driver.tell(ev.Signalled(instance.number))
    driver.wait(ONE.slot.stop_timeout).wait(11.0)
    assert driver.phase is Phase.REVERTING
    came_back(driver.ended(), Outcome.ROLLED_BACK)
    assert "cannot be killed" in driver.last.reason


def test_a_gate_that_refuses_to_serve_nobody_costs_nobody_anything() -> None:
    driver = switching().until(lambda s: s.gate.in_flight is not None)
    driver.reload_ends(End.REFUSED)
    assert driver.last.outcome is Outcome.FAILED
    assert "the gate does not take the new config" in driver.last.reason
    assert not driver.last.moved
    came_back(driver, Outcome.FAILED)


def test_a_gate_that_refuses_the_new_release_is_asked_again() -> None:
    driver = switching(Phase.COMMITTING).reload_ends(End.REFUSED)
    assert driver.phase is Phase.COMMITTING
    assert "it is tried again" in driver.rollout.waiting
    driver.ended()
    assert driver.last.outcome is Outcome.DONE


def test_a_dead_live_slot_makes_way_at_once() -> None:
    driver = steady()
    driver.dies(driver.state.live)
    driver.begin(Kind.SWITCH, "v2", ONE)
    never_both(driver)
    assert driver.last.outcome is Outcome.DONE


def test_a_first_release_has_nobody_to_wait_for() -> None:
    driver = Driver().begin(Kind.SWITCH, "v1", ONE)
    assert not driver.rollout.stop_first
    assert driver.rest().live.release == "v1"


def test_a_rollback_and_a_restart_are_stop_first_too() -> None:
    driver = never_both(switching())
    never_both(driver.begin(Kind.ROLLBACK, None, ONE))
    assert (driver.last.stop_first, driver.live.release) == (True, "v1")
    never_both(driver.begin(Kind.RESTART, None, ONE))
    assert driver.last.stop_first


def test_an_app_that_reld_did_not_start_is_not_stopped_first() -> None:
    driver = Driver("127.0.0.1:8000")
    driver.until(lambda s: s.live is not None)
    refusal = driver.ask(c.Begin(Kind.SWITCH, "v2", ONE))
    assert refusal is not None
    assert "was not started by reld" in refusal.message
    assert "warm" in refusal.hint


def test_what_waits_for_a_person_waits_while_the_old_release_serves() -> None:
    driver = steady()
    assert driver.ask(c.Begin(Kind.SWITCH, "v2", ONE, approval=True, people=(1,))) is None
    driver.until(lambda s: s.rollout is not None and "approver" in s.rollout.waiting)
    assert driver.phase is Phase.PREPARING
    assert driver.live.release == "v1"
    driver.reld_restarts()
    assert driver.phase is Phase.PREPARING
    assert driver.ask(c.Pause(driver.rollout.id)) is None
    assert driver.ask(c.Approve(driver.rollout.id, (2,), "bob")) is None
    assert "paused" in driver.rollout.waiting
    assert driver.ask(c.Resume(driver.rollout.id)) is None
    assert driver.phase is Phase.DRAINING


@pytest.mark.parametrize("phase", AWAY)
def test_nobody_pauses_while_users_get_503(phase: Phase) -> None:
    driver = switching(phase)
    refusal = driver.ask(c.Pause(driver.rollout.id))
    assert refusal is not None
    assert "users get 503" in refusal.message


@pytest.mark.parametrize("phase", AWAY)
def test_the_log_is_read_in_every_phase(phase: Phase) -> None:
    driver = switching(phase)
    assert Judge(driver.rollout.id) in todo(driver.state)


def test_the_number_of_those_who_were_turned_away_only_grows() -> None:
    driver = switching(Phase.STARTING)
    told = ev.Judged(driver.rollout.id, driver.now, driver.rollout.blue, driver.rollout.green)
    driver.tell(replace(told, turned_away=7)).tell(told)
    assert driver.rollout.turned_away == 7


def test_the_live_slot_flips_with_the_verified_reload_and_the_old_slot_is_gone() -> None:
    driver = switching(Phase.COMMITTING)
    old = driver.old
    driver.reload_ends(End.VERIFIED)
    assert driver.live.release == "v2"
    assert driver.state.slot(old.color) is None
    assert {r.address for r in driver.state.resting} == {i.address for i in old.instances}
    assert driver.state.live is Color.GREEN


def test_the_hooks_of_the_end_run_one_after_the_other() -> None:
    driver = switching(Phase.FINISHING)
    assert [h.name for h in driver.rollout.hooks] == ["before_start", "after_switch"]
    driver.tell(ev.HookEnded(driver.rollout.id, "after_switch", 1, passed=True))
    assert [h.name for h in driver.rollout.hooks][2:] == ["after_retire"]


def test_its_workers_leave_with_the_old_release_and_come_back_with_it() -> None:
    slot = replace(ONE.slot, workers=(WorkerPolicy("queue"),))
    policy = replace(ONE, slot=slot)
    driver = steady(policy=policy)
    assert workers(driver) == {"v1"}
    driver.begin(Kind.SWITCH, "v2", policy)
    driver.until(lambda s: s.rollout is not None and s.rollout.phase is Phase.STARTING)
    assert workers(driver) == set()
    driver.to(Phase.PROVING).tell(ev.SmokeEnded(driver.rollout.id, False, "login: 500"))
    driver.until(lambda s: s.rollout is None and workers(driver) != set())
    assert workers(driver) == {"v1"}
    came_back(driver, Outcome.ROLLED_BACK)


def workers(driver: Driver) -> set[str]:
    return {s.release for s in driver.state.slots for w in s.workers if w.runs}
