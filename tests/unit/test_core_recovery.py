"""reld was killed, or the machine was rebooted, in each phase: facts are corrected, and it goes on."""

from __future__ import annotations

import pytest

from reld.core import commands as c
from reld.core.events import End
from reld.core.model import InstanceState, Kind, Outcome, Phase
from reld.core.recovery import Observed, recover
from tests.unit.core_driver import FORWARD, Driver, steady, switching

PHASES = (*FORWARD, Phase.REVERTING)
UNCOMMITTED = FORWARD[:7]


@pytest.mark.parametrize("phase", PHASES)
def test_a_restart_of_reld_goes_on_in_the_same_phase(phase):
    driver = switching(phase)
    driver.wait(1.0).reld_restarts()
    if phase is Phase.PREPARING:
        assert driver.ended().last.outcome is Outcome.FAILED
        assert "reld was restarted during the checks" in driver.last.reason
        return
    assert driver.phase is phase
    driver.rest()
    back = phase is Phase.REVERTING
    assert driver.last.outcome is (Outcome.ABORTED if back else Outcome.DONE)
    assert driver.live.release == ("v1" if back else "v2")
    assert driver.live.fit


@pytest.mark.parametrize("phase", PHASES)
def test_a_reboot_goes_back_before_the_commit_and_on_after_it(phase):
    driver = switching(phase)
    driver.machine_reboots().rest()
    committed = phase in (Phase.DRAINING, Phase.STOPPING, Phase.FINISHING)
    assert driver.live.release == ("v2" if committed else "v1")
    assert driver.live.fit
    if phase in (Phase.SHIFTING, Phase.BAKING, Phase.COMMITTING):
        assert driver.last.outcome is Outcome.ROLLED_BACK
        assert "rebooted" in driver.last.reason
    if phase in UNCOMMITTED[1:4]:
        assert driver.last.outcome is Outcome.FAILED


def test_a_reboot_after_the_gate_took_the_commit_goes_on_with_it():
    driver = switching(Phase.COMMITTING)
    flying = driver.state.gate.in_flight
    driver.machine_reboots(serving=flying.generation).rest()
    assert (driver.last.outcome, driver.live.release) == (Outcome.DONE, "v2")


def test_after_a_reboot_live_starts_on_the_ports_that_the_gate_names():
    driver = steady()
    before = [i.address for i in driver.live.instances]
    driver.machine_reboots().rest()
    assert [i.address for i in driver.live.instances] == before
    assert driver.state.gate.verified.routing.default.addresses == tuple(before)


def test_the_commit_that_the_gate_took_while_reld_was_away_flips_live():
    driver = switching(Phase.COMMITTING)
    driver.reld_restarts(serving=driver.state.gate.in_flight.generation)
    assert driver.phase is Phase.DRAINING
    assert driver.live.release == "v2"


def test_a_reload_that_the_gate_does_not_answer_is_suspect_and_loaded_again():
    driver = switching(Phase.COMMITTING)
    first = driver.state.gate.in_flight
    driver.reld_restarts()
    assert driver.state.gate.suspects == (first,)
    assert driver.state.gate.in_flight.generation > first.generation
    assert driver.phase is Phase.COMMITTING


def test_a_generation_that_nobody_knows_is_replaced():
    driver = steady()
    driver.reld_restarts(serving=77)
    assert driver.state.gate.in_flight is not None
    driver.rest()
    assert not driver.state.gate.suspects


def test_a_gate_that_was_made_from_other_settings_is_loaded_anew():
    driver = steady()
    before = driver.state.gate.verified
    driver.reld_restarts(outdated=True).rest()
    assert not driver.state.gate.suspects
    assert driver.state.gate.verified.generation > before.generation
    assert driver.state.gate.verified.routing == before.routing


def test_in_a_rollout_the_next_reload_brings_the_settings():
    driver = switching(Phase.SHIFTING)
    driver.reld_restarts(outdated=True)
    assert driver.state.gate.in_flight is None
    assert not driver.state.gate.suspects


def test_a_process_that_is_gone_is_the_guards_business_in_a_candidate():
    driver = switching(Phase.BAKING).reld_restarts(alive=False)
    assert all(i.state is InstanceState.KILLING for i in driver.candidate.instances)
    driver.rest()
    assert driver.live.release == "v1"
    assert driver.live.fit


def test_a_child_that_was_let_go_unrecorded_is_adopted():
    driver = switching(Phase.STARTING).until(lambda s: s.green.instances[0].state == "held")
    driver.reld_restarts()
    assert driver.candidate.instances[0].state is InstanceState.STARTING
    assert driver.rest().last.outcome is Outcome.DONE


def test_lanes_that_somebody_moved_back_while_reld_was_away_are_a_revert():
    driver = switching(Phase.SHIFTING).until(lambda s: s.rollout.share == 50)
    driver.reld_restarts(share=0)
    assert driver.phase is Phase.REVERTING
    driver.rest()
    assert driver.last.outcome is Outcome.ROLLED_BACK


def test_lanes_that_were_moved_and_not_recorded_are_taken_as_they_are():
    driver = switching(Phase.SHIFTING).until(lambda s: s.rollout.wanted_share == 50)
    driver.reld_restarts(share=50)
    assert (driver.phase, driver.rollout.share) == (Phase.SHIFTING, 50)


def test_a_hook_that_had_not_ended_runs_again_and_is_told_so():
    driver = switching(Phase.BAKING)
    assert [(h.name, h.attempt) for h in driver.rollout.hooks][-1] == ("after_switch", 1)
    driver.reld_restarts()
    assert [(h.name, h.attempt) for h in driver.rollout.hooks][-1] == ("after_switch", 2)


def test_an_app_that_was_not_asked_to_go_yet_gets_its_whole_time():
    driver = switching(Phase.STOPPING).wait(29.0).reld_restarts()
    assert driver.wait(29.0).phase is Phase.STOPPING
    assert {i.state for i in driver.old.instances} == {InstanceState.STOPPING}


@pytest.mark.parametrize("typed", [None, c.Pause(2), c.Abort(2, "by hand")])
def test_from_every_prefix_of_a_rollout_recovery_comes_to_rest(typed):
    states = []

    class Remembering(Driver):
        def tell(self, event):
            super().tell(event)
            states.append((self.state, self.now))
            return self

    driver = Remembering().begin(Kind.SWITCH, "v1").rest().begin(Kind.SWITCH, "v2").rest()
    assert driver.last.outcome is Outcome.DONE
    for state, now in states:
        for boot in ("boot-1", "boot-2"):
            alive = frozenset(i.number for s in state.slots for i in s.instances if i.runs)
            share = None if state.rollout is None else state.rollout.share
            flying = state.gate.in_flight
            for serving in {state.gate.verified.generation, flying and flying.generation}:
                again = Driver()
                again.now = now if boot == "boot-1" else 5.0
                again.port = 21_050
                found = Observed(boot, alive if boot == "boot-1" else frozenset(), serving, share)
                again.state = recover(state, found, again.now)
                if typed is not None and again.state.rollout is not None:
                    again.ask(typed)
                if isinstance(typed, c.Pause) and again.state.rollout is not None:
                    again.ask(c.Resume(2))
                again.rest()
                live = again.state.slot(again.state.live)
                assert live is None or live.fit
                assert len(again.state.slots) == (0 if live is None else 1)


@pytest.mark.parametrize("phase", PHASES)
def test_recovering_twice_is_recovering_once(phase):
    driver = switching(phase)
    driver.wait(1.0).reld_restarts()
    if driver.state.rollout is None or driver.state.gate.in_flight is not None:
        return
    if any(h.state == "running" for h in driver.rollout.hooks):
        return
    once = driver.state
    assert driver.reld_restarts().state == once


def test_a_refused_stop_survives_a_restart():
    driver = steady().begin(Kind.STOP).reload_ends(End.UNKNOWN).reld_restarts().rest()
    assert driver.live.fit
