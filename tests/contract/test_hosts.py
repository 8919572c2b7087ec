"""What reld's engine may rely on, whichever host it runs on: the machine or the simulated one.

The simulation proves something about reld only as far as its host behaves as the machine does. So
both keep this contract, test by test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from reld.core import effects as fx
from reld.core import events as ev
from reld.core.model import Exit, Kind, Outcome, Phase, Rollout, State
from reld.core.policy import Policy
from reld.errors import StoreError
from tests.contract.host_disks import Disk, RealDisk, SimulatedDisk
from tests.contract.host_real import Real
from tests.contract.host_simulated import Simulated
from tests.contract.host_stage import Stage


@pytest.fixture(params=[Simulated, Real], ids=["simulated", "real"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = request.param()
    yield stage
    stage.close()


@pytest.fixture(params=[SimulatedDisk, RealDisk], ids=["simulated", "real"])
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    disk = request.param()
    yield disk
    disk.close()


# releases


def test_prepare_gives_every_instance_an_address_of_its_own_that_no_config_in_force_names(
    stage: Stage,
) -> None:
    stage.go_live("v1", instances=2)
    stage.hold(fx.Spawn)
    live = stage.addresses()
    number = stage.begin("v2", instances=3)
    addresses = stage.told(ev.Prepared, lambda e: e.rollout == number).addresses
    assert len(set(addresses)) == len(addresses) == 3
    assert not live & set(addresses)


def test_a_release_that_cannot_be_prepared_is_told_with_the_reason(stage: Stage) -> None:
    number = stage.begin("v1", "missing")
    failed = stage.told(ev.PrepareFailed)
    assert failed.rollout == number
    assert failed.detail


@pytest.mark.parametrize("fault", ["", "fails_smoke"])
def test_smoke_checks_are_told_as_they_went(stage: Stage, fault: str) -> None:
    number = stage.begin("v1", fault)
    ended = stage.told(ev.SmokeEnded)
    assert (ended.rollout, ended.passed) == (number, not fault)
    assert bool(ended.detail) is bool(fault)


@pytest.mark.parametrize("fault", ["", "fails_hook"])
def test_a_hook_is_told_by_its_name_and_attempt_as_it_went(stage: Stage, fault: str) -> None:
    stage.hold(fx.Spawn)
    number = stage.begin("v1", fault, hooks=("before_start",))
    ended = stage.told(ev.HookEnded)
    assert (ended.rollout, ended.name, ended.attempt) == (number, "before_start", 1)
    assert ended.passed is not bool(fault)


# instances


def test_a_spawned_process_is_held_and_does_not_answer(stage: Stage) -> None:
    stage.hold(fx.Release)
    stage.begin("v1")
    number = stage.told(ev.Spawned).number
    assert stage.alive(number)
    assert not stage.answers(number)


def test_a_process_that_was_spawned_too_late_to_be_wanted_ends(stage: Stage) -> None:
    stage.hold(fx.Spawn)
    stage.begin_to(Phase.STARTING, "v1")
    work = stage.perform(fx.Spawn(stage.candidate().number), wanted=False)
    stage.until(lambda: work.ended)
    assert [type(event) for event in work.events] == [ev.Spawned]
    stage.until(lambda: not stage.alive(stage.candidate().number))


def test_a_held_process_ends_when_its_rollout_is_given_up(stage: Stage) -> None:
    stage.hold(fx.Release)
    stage.begin("v1")
    number = stage.told(ev.Spawned).number
    stage.abort()
    stage.told(ev.TreeEmpty, lambda e: e.number == number)
    assert not stage.alive(number)


def test_a_process_that_was_let_go_runs_and_becomes_ready(stage: Stage) -> None:
    stage.at_each(ev.LetGo, lambda e: stage.alive(e.number))
    number = stage.begin_ready("v1").number
    assert stage.report(ev.LetGo, lambda e: e.number == number).seen
    assert stage.answers(number)


def test_readiness_probes_tell_each_miss_with_its_reason_and_each_pass(stage: Stage) -> None:
    stage.begin("v1", "never_ready")
    number = stage.told(ev.LetGo).number
    missed = stage.told(ev.ReadinessProbed, lambda e: e.number == number)
    assert not missed.passed
    assert missed.detail
    stage.mend(number)
    stage.told(ev.ReadinessProbed, lambda e: e.number == number and e.passed)


def test_liveness_probes_tell_passes_and_misses(stage: Stage) -> None:
    number = stage.begin_ready("v1").number
    stage.told(ev.LivenessProbed, lambda e: e.number == number and e.passed)
    stage.sicken(number)
    assert stage.told(ev.LivenessProbed, lambda e: not e.passed).number == number


def test_an_exit_is_told_once_with_its_number_and_not_before_it_happened(stage: Stage) -> None:
    stage.at_each(ev.Exited, lambda e: stage.alive(e.number))
    stage.hold(fx.Kill)
    number = stage.begin_ready("v1").number
    work = stage.perform(fx.AwaitExit(number))
    stage.told(ev.LivenessProbed, lambda e: e.number == number)
    assert not work.events
    stage.crash(number)
    stage.until(lambda: work.ended)
    assert [(r.event.number, r.event.exit, r.seen) for r in work.reports] == [
        (number, Exit(signal=9), False)
    ]


def test_the_exit_of_a_process_that_nobody_knows_is_told_as_unknown(stage: Stage) -> None:
    stage.hold(fx.Spawn)
    stage.begin_to(Phase.STARTING, "v1")
    number = stage.candidate().number
    work = stage.perform(fx.AwaitExit(number))
    stage.until(lambda: work.ended)
    assert work.events == [ev.Exited(number, Exit())]


def test_stop_signals_once_and_does_not_wait_for_the_end(stage: Stage) -> None:
    number = stage.begin_ready("v1", "stubborn").number
    stage.abort()
    assert stage.told(ev.Signalled).number == number
    stage.until(lambda: stage.signals(number))
    work = stage.perform(fx.CheckLive(number))
    stage.until(lambda: work.events)
    assert stage.signals(number) == 1
    assert stage.alive(number)


def test_a_process_that_obeys_its_stop_signal_ends_and_is_told(stage: Stage) -> None:
    number = stage.begin_ready("v1").number
    stage.abort()
    stage.told(ev.Exited, lambda e: e.number == number)
    assert not stage.between.reports(ev.Exited)[1:]


def test_after_a_kill_nothing_of_the_instance_is_alive(stage: Stage) -> None:
    stage.at_each(ev.TreeEmpty, lambda e: stage.alive(e.number))
    number = stage.begin_ready("v1", "family", stop_timeout=0.1).number
    stage.abort()
    assert stage.report(ev.TreeEmpty, lambda e: e.number == number).seen is False


def test_a_kill_of_what_never_ran_finds_nothing(stage: Stage) -> None:
    stage.hold(fx.Spawn)
    stage.begin_to(Phase.STARTING, "v1")
    number = stage.candidate().number
    work = stage.perform(fx.Kill(number))
    stage.until(lambda: work.ended)
    assert work.events == [ev.TreeEmpty(number)]


def test_a_cancelled_effect_reports_nothing_more(stage: Stage) -> None:
    stage.begin("v1", "never_ready")
    number = stage.told(ev.LetGo).number
    first = stage.perform(fx.ProveReady(number))
    stage.until(lambda: len(first.events) >= 2)
    stage.cancel(first)
    told = len(first.events)
    second = stage.perform(fx.ProveReady(number))
    stage.until(lambda: len(second.events) >= 4)
    assert len(first.events) == told


def test_an_effect_whose_report_is_not_wanted_ends_by_itself(stage: Stage) -> None:
    stage.begin("v1", "never_ready")
    number = stage.told(ev.LetGo).number
    work = stage.perform(fx.ProveReady(number), wanted=False)
    stage.until(lambda: work.ended)
    assert len(work.events) == 1


# traffic


def test_a_reload_ends_with_its_own_generation_and_verified_means_that_the_gate_serves_it(
    stage: Stage,
) -> None:
    stage.at_each(ev.ReloadEnded, lambda e: (stage.served(), stage.who()))
    stage.go_live("v1")
    works = [w for w in stage.between.works if isinstance(w.effect, fx.Reload)]
    assert works
    for work in works:
        generation = work.effect.generation
        assert work.events == [ev.ReloadEnded(generation, ev.End.VERIFIED)]
        assert work.reports[0].seen == (generation, {"v1"})


def test_a_refused_reload_changes_nothing(stage: Stage) -> None:
    stage.go_live("v1")
    before = stage.served(), stage.who()
    stage.begin("v2")
    stage.refuse_reloads()
    ended = stage.told(ev.ReloadEnded, lambda e: e.end is not ev.End.VERIFIED)
    assert ended.end is ev.End.REFUSED
    assert ended.detail
    assert (stage.served(), stage.who()) == before


def test_lanes_are_told_as_moved_when_the_share_is_really_dealt(stage: Stage) -> None:
    stage.at_each(ev.LanesMoved, lambda e: (stage.share(e.rollout), stage.who(40)))
    stage.go_live("v1")
    stage.begin_at_half("v2")
    assert stage.report(ev.LanesMoved).seen == (50, {"v1", "v2"})
    stage.promote()
    assert stage.report(ev.LanesMoved, lambda e: e.share == 100).seen == (100, {"v2"})
    stage.abort()
    assert stage.report(ev.LanesMoved, lambda e: e.share == 0).seen == (0, {"v1"})


def test_moving_back_to_nothing_works_without_lanes(stage: Stage) -> None:
    work = stage.perform(fx.MoveLanes(99, 0))
    stage.until(lambda: work.ended)
    assert work.events == [ev.LanesMoved(99, 0)]
    assert not stage.share(99)


def test_lanes_are_told_as_removed_when_they_are_gone(stage: Stage) -> None:
    stage.at_each(ev.LanesRemoved, lambda e: stage.share(e.rollout))
    stage.go_live("v1")
    number = stage.begin_at_half("v2")
    stage.abort()
    assert stage.report(ev.LanesRemoved, lambda e: e.rollout == number).seen is None


def test_the_shield_is_as_it_was_told(stage: Stage) -> None:
    stage.at_each(ev.ShieldSet, lambda e: stage.shielded(e.rollout))
    stage.go_live("v1")
    number = stage.begin_at_half("v2")
    for on in (False, True, True):
        work = stage.perform(fx.SetShield(number, on))
        stage.until(lambda w=work: w.ended)
        assert [(r.event, r.seen) for r in work.reports] == [(ev.ShieldSet(number, on), on)]


def test_the_mirror_is_as_it_was_told(stage: Stage) -> None:
    stage.at_each(ev.ShadowSet, lambda e: stage.mirrors(e.rollout))
    stage.go_live("v1")
    number = stage.begin("v2", shadow=0.5, step_time=600.0, step_max=900.0)
    assert stage.report(ev.ShadowSet, lambda e: e.rollout == number).seen is True
    off = stage.perform(fx.SetShadow(number, False))
    stage.until(lambda: off.ended)
    assert [(r.event, r.seen) for r in off.reports] == [(ev.ShadowSet(number, False), False)]


def test_a_drain_counts_the_workers_from_before_the_asked_generation(stage: Stage) -> None:
    stage.go_live("v1")
    stage.visit()
    number = stage.begin_at_half("v2")
    stage.promote()
    stage.until(lambda: stage.state.rollout and stage.state.rollout.phase is Phase.BAKING)
    stage.promote()
    counted = stage.told(ev.DrainCounted, lambda e: e.workers)
    assert (counted.rollout, counted.since) == (number, stage.served())
    assert stage.state.rollout is not None
    assert stage.state.rollout.leaving is not None
    earlier = stage.perform(fx.CountDrain(number, stage.state.rollout.leaving, 0))
    stage.until(lambda: earlier.events)
    assert (earlier.events[0].since, earlier.events[0].workers) == (0, 0)
    stage.cancel(earlier)
    stage.leave()
    stage.told(ev.DrainCounted, lambda e: e.since and e.workers == 0)


# the sensor, and the old slot


def test_a_judge_tells_for_its_rollout_what_was_read_up_to_a_time_that_only_grows(
    stage: Stage,
) -> None:
    stage.at_each(ev.Judged, lambda _: stage.now())
    stage.go_live("v1")
    number = stage.begin_at_half("v2")
    stage.who(20)
    work = next(w for w in stage.between.works if w.effect == fx.Judge(number))
    stage.until(lambda: len(work.events) >= 3)
    times = [report.event.read_to for report in work.reports]
    assert times == sorted(set(times))
    assert all(report.event.read_to <= report.seen for report in work.reports)
    totals = [report.event.blue.total + report.event.green.total for report in work.reports]
    assert totals == sorted(totals)
    assert {report.event.rollout for report in work.reports} == {number}


def test_an_old_slot_that_is_sick_does_not_pass_when_it_is_asked(stage: Stage) -> None:
    stage.go_live("v1")
    old = stage.live().instances[0].number
    number = stage.begin_at_half("v2")
    healthy = stage.perform(fx.AskOld(number))
    stage.until(lambda: healthy.ended)
    assert healthy.events == [ev.OldAsked(number, True)]
    stage.sicken(old)
    for _ in range(5):
        asked = stage.perform(fx.AskOld(number))
        stage.until(lambda a=asked: a.ended)
        assert (asked.events[0].rollout, asked.events[0].passed) == (number, False)


def test_own_requests_of_a_rehearsal_are_told_as_totals_that_go_on_where_they_were(
    stage: Stage,
) -> None:
    stage.go_live("v1")
    number = stage.rehearse()
    first = stage.told(ev.Asked)
    assert (first.rollout, first.failed, first.lost) == (number, 0, 0)
    assert first.asked > 0
    again = stage.perform(fx.AskGate(number))
    stage.until(lambda: again.events)
    assert again.events[0].asked > first.asked
    stage.abort()
    stage.until(lambda: stage.state.rollout is None)
    assert stage.state.rehearsed is not None


# savers

FIRST = State("web", "boot", next_rollout=7)
SECOND = replace(FIRST, next_rollout=8)
ENDED = Rollout(
    7, Kind.SWITCH, Phase.FINISHING, 20.0, 10.0, Policy(), to="v2", outcome=Outcome.DONE
)


def test_what_was_saved_last_is_read_back_with_the_receipts_of_what_ended(disk: Disk) -> None:
    disk.save(FIRST)
    disk.save(SECOND, ENDED)
    assert disk.kept() == (SECOND, [7])


def test_a_save_that_failed_left_the_older_state_and_no_receipt(disk: Disk) -> None:
    disk.save(FIRST)
    with disk.broken(), pytest.raises(StoreError):
        disk.save(SECOND, ENDED)
    assert disk.kept() == (FIRST, [])


def test_a_save_that_failed_can_be_tried_again(disk: Disk) -> None:
    disk.save(FIRST)
    with disk.broken(), pytest.raises(StoreError):
        disk.save(SECOND, ENDED)
    disk.save(SECOND, ENDED)
    disk.save(SECOND, ENDED)
    assert disk.kept() == (SECOND, [7])
