"""A rehearsal: the live release through the other slot and back, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld import rehearsing as beginning
from reld.api.requests import Options
from reld.core import commands as c
from reld.core import events as ev
from reld.core.effects import AskGate, Judge, RunHook, todo
from reld.core.maintenance import Maintain
from reld.core.model import (
    OWN_ROUTE,
    Counts,
    Exit,
    Kind,
    Maintenance,
    Marked,
    Mirrored,
    Outcome,
    Phase,
)
from reld.core.policy import STOP_FIRST, SlotPolicy, WorkerPolicy
from reld.core.rehearsal import FIND_WITHIN
from reld.core.rehearsal_result import advice
from reld.core.rehearsed import Rehearsal
from reld.core.verdict.finding import Finding, Verdict
from tests.unit.core_driver import POLICY, Driver, steady, with_policy

WISH = Rehearsal(share=5, time=20.0, token="f" * 32, began="2026-11-24T00:10:00Z")
FAILING = replace(WISH, fails=True)
LIFE = (
    Phase.PREPARING,
    Phase.STARTING,
    Phase.PROVING,
    Phase.ADMITTING,
    Phase.SHIFTING,
    Phase.REVERTING,
    Phase.DRAINING,
    Phase.STOPPING,
    Phase.FINISHING,
)


def rehearsing(wish: Rehearsal = WISH, driver: Driver | None = None, policy=POLICY) -> Driver:
    """v1 is live, and a rehearsal has begun."""
    driver = driver or steady(policy=policy)
    driver.phases.clear()
    assert driver.ask(c.Begin(Kind.REHEARSAL, None, policy, rehearsal=wish)) is None
    return driver


def at_its_share(wish: Rehearsal = WISH) -> Driver:
    """The gate obeys, and requests of its own are sent."""
    driver = rehearsing(wish)
    return driver.until(lambda s: AskGate(s.rollout.id) in todo(s))


def result(driver: Driver):
    found = driver.rest().state.rehearsed
    assert found is not None
    return found


def test_it_goes_forth_and_back_and_the_live_slot_stays_live():
    driver = rehearsing()
    live, good = driver.state.live, driver.state.good
    driver.rest()
    assert tuple(driver.phases) == LIFE
    assert (driver.last.outcome, driver.last.reason) == (Outcome.DONE, "")
    assert (driver.state.live, driver.state.good) == (live, good)
    assert [s.color for s in driver.state.slots] == [live]


def test_it_stays_at_its_share_for_its_time_and_no_longer():
    driver = at_its_share()
    began = driver.now
    assert driver.rollout.share == 5
    driver.to(Phase.REVERTING)
    assert driver.now - began == pytest.approx(20.0, abs=1.1)
    assert driver.rollout.wanted_share == 0


def test_no_hook_of_the_config_runs():
    driver = rehearsing()
    ran = []

    def over(state):
        ran.extend(e for e in todo(state) if isinstance(e, RunHook))
        return state.rollout is None

    driver.until(over)
    assert ran == []
    aborted = at_its_share()
    aborted.ask(c.Abort(aborted.rollout.id, "by hand"))
    assert aborted.ended().last.hooks == ()


def test_its_workers_stay_where_they_are():
    policy = with_policy(slot=SlotPolicy(workers=(WorkerPolicy("queue"),)))
    driver = rehearsing(policy=policy)
    driver.rest()
    assert driver.last.worker_moves == ()
    assert [w.worker for w in driver.live.workers] == ["queue"]


def test_it_runs_as_the_live_slot_does_and_keeps_todays_times():
    driver = steady()
    today = with_policy(
        slot=SlotPolicy(instances=4, stop_signal="SIGQUIT", stop_timeout=7.0, ready_deadline=9.0)
    )
    rehearsing(driver=driver, policy=today)
    slot = driver.rollout.policy.slot
    assert (slot.instances, slot.stop_signal) == (2, "SIGTERM")
    assert (slot.stop_timeout, slot.ready_deadline) == (7.0, 9.0)


def test_it_needs_no_approval_and_says_what_it_is():
    driver = steady()
    begin = c.Begin(Kind.REHEARSAL, None, POLICY, approval=True, rehearsal=WISH)
    assert driver.ask(begin) is None
    assert not driver.rollout.approval
    assert (driver.rollout.from_, driver.rollout.to) == ("v1", "v1")


# what it measures


def test_what_was_measured_stays_when_it_is_over():
    driver = at_its_share()
    driver.tell(ev.Asked(driver.rollout.id, 100, 0, 0))
    found = result(driver)
    assert (found.release, found.at, found.id) == ("v1", WISH.began, driver.last.id)
    assert (found.outcome, found.lost, found.found) == ("done", 0, None)
    for seconds in (
        found.seconds_to_ready,
        found.seconds_to_roll_back,
        found.seconds_to_drain,
        found.seconds_to_stop,
    ):
        assert seconds is not None
    assert [line.partition(" =")[0] for line in found.advice] == [
        "[rollout] drain",
        "[rollout] drain_max",
        "[readiness] deadline",
        "[app] stop_timeout",
    ]
    driver.begin(Kind.SWITCH, "v2").rest()
    assert driver.state.rehearsed == found


def test_the_way_back_is_timed_from_the_decision_to_the_last_lane():
    driver = at_its_share()
    driver.ask(c.Promote(driver.rollout.id))
    assert driver.phase is Phase.REVERTING
    driver.wait(0.25).tell(ev.LanesMoved(driver.rollout.id, 0))
    assert result(driver).seconds_to_roll_back == 0.25


def test_the_log_is_read_to_its_end_before_the_account_is_made():
    driver = rehearsing().to(Phase.FINISHING)
    assert Judge(driver.rollout.id) in todo(driver.state)
    driver.wait(1.0)
    last = ev.Judged(driver.rollout.id, driver.now, Counts(900), Counts(50), longest=4.5)
    driver.tell(last)
    found = result(driver)
    assert found.longest_request == 4.5


def test_without_a_word_of_the_log_it_ends_all_the_same():
    driver = rehearsing().to(Phase.FINISHING)
    driver.wait(3.0)
    assert driver.state.rollout is None


# what it finds


def lost_by(**more: int) -> Driver:
    driver = at_its_share()
    driver.tell(ev.Asked(driver.rollout.id, **({"asked": 9, "failed": 0, "lost": 0} | more)))
    return driver.ended()


def test_a_lost_request_is_what_it_ends_with():
    driver = lost_by(lost=1)
    assert (driver.last.outcome, driver.last.reason) == (Outcome.ROLLED_BACK, "1 request lost")
    assert driver.state.rehearsed.lost == 1


def test_an_app_that_fails_wherever_it_is_asked_lost_nothing():
    driver = at_its_share()
    number, new = driver.rollout.id, driver.rollout.candidate
    some = {"blue": Counts(1000, 20), "green": Counts(1000, 20)} | {str(new): Counts(50, 1)}
    judged = ev.Judged(number, driver.now, some["blue"], some["green"])
    driver.tell(judged)
    # The log as it stands is all that there is.
    driver.until(lambda s: s.rollout is None, without=(Judge,))
    assert driver.last.outcome is Outcome.DONE


def test_what_was_cut_is_what_it_ends_with_and_what_is_advised():
    driver = rehearsing().to(Phase.DRAINING)
    number, since = driver.rollout.id, driver.rollout.not_named_since
    driver.tell(ev.DrainCounted(number, since, 3, 0))
    driver.wait(POLICY.drain_max)
    driver.ended()
    assert driver.last.outcome is Outcome.ROLLED_BACK
    assert driver.last.reason == "3 connections were cut when drain_max (300 s) was over"
    assert any(
        '[rollout] drain_max = "10m": 3 were cut' in a for a in driver.state.rehearsed.advice
    )


def test_a_copy_that_dies_goes_back():
    driver = at_its_share()
    said = "boom\nits last lines:\n  s3cret"
    driver.tell(ev.Exited(driver.candidate.instances[0].number, Exit(signal=9), said))
    assert driver.ended().last.outcome is Outcome.ROLLED_BACK
    assert driver.last.reason.endswith(said)
    assert driver.state.rehearsed.reason == driver.last.reason.partition("\n")[0]


def test_a_copy_that_does_not_get_ready_has_failed_and_gets_more_time_advised():
    driver = rehearsing().to(Phase.STARTING)
    driver.wait(60.0)
    driver.ended()
    assert driver.last.outcome is Outcome.FAILED
    found = driver.state.rehearsed
    assert found.seconds_to_ready is None
    assert found.advice == ('[readiness] deadline = "2m": it was not ready within 60 s',)


def test_a_verdict_against_the_copy_goes_back():
    driver = at_its_share()
    driver.heard(verdict=Verdict.WORSE, sentence="the copy of v1 is slower")
    assert driver.ended().last.outcome is Outcome.ROLLED_BACK
    assert driver.state.rehearsed.reason == "the copy of v1 is slower"


def test_where_nobody_asked_the_copy_it_is_unproven():
    driver = rehearsing()
    driver.until(lambda s: s.rollout is None, without=(Judge,))
    assert (driver.last.outcome, driver.last.unproven) == (Outcome.DONE, True)


# failing on purpose


def test_own_requests_are_marked_for_the_gate_while_both_slots_are_named():
    driver = at_its_share(FAILING)
    routing = driver.state.gate.verified.routing
    assert routing.rehearsal == Marked("f" * 32, fails=True)
    assert OWN_ROUTE in driver.rollout.policy.verdict.routes
    driver.rest()
    assert driver.state.gate.verified.routing.rehearsal is None


def test_failing_on_purpose_it_is_done_once_the_verdict_has_found_it():
    driver = at_its_share(FAILING)
    driver.tell(ev.Asked(driver.rollout.id, 90, 6, 0))
    driver.heard(verdict=Verdict.WORSE, sentence="on .rehearsal the copy of v1 failed all of 6")
    assert driver.phase is Phase.REVERTING
    driver.finding = Finding()
    found = result(driver)
    assert (found.outcome, found.found) == ("done", True)
    assert "as it was to be found" in found.reason


def test_a_verdict_that_does_not_come_is_what_it_ends_with():
    driver = at_its_share(FAILING)
    driver.tell(ev.Asked(driver.rollout.id, 1800, 90, 0))
    began = driver.now
    driver.to(Phase.REVERTING)
    assert driver.now - began == pytest.approx(FIND_WITHIN, abs=1.1)
    found = result(driver)
    assert (found.outcome, found.found) == ("rolled_back", False)
    assert "90 of 1800 own requests failed as they were told to" in found.reason


def test_a_copy_that_dies_while_it_should_fail_is_no_proof_of_the_verdict():
    driver = at_its_share(FAILING)
    driver.exits(driver.candidate.instances[0])
    found = result(driver)
    assert (found.outcome, found.found) == ("rolled_back", None)


# people


@pytest.mark.parametrize("outcome", [Outcome.ABORTED, Outcome.ROLLED_BACK])
def test_a_person_has_it_back_at_once(outcome):
    driver = at_its_share()
    assert driver.ask(c.Abort(driver.rollout.id, "by hand", outcome)) is None
    assert driver.phase is Phase.REVERTING
    assert driver.ended().last.outcome is outcome


def test_promote_ends_its_wait_and_never_commits():
    driver = at_its_share()
    assert driver.ask(c.Promote(driver.rollout.id, full=True)) is None
    assert driver.phase is Phase.REVERTING
    assert driver.ended().last.outcome is Outcome.DONE


def test_a_pause_holds_it_until_somebody_resumes():
    driver = at_its_share()
    driver.ask(c.Pause(driver.rollout.id))
    driver.wait(100.0).heard()
    assert driver.phase is Phase.SHIFTING
    driver.ask(c.Resume(driver.rollout.id))
    assert driver.phase is Phase.REVERTING


def refused(driver: Driver, policy=POLICY) -> c.Refusal:
    refusal = c.refuse(driver.state, c.Begin(Kind.REHEARSAL, None, policy, rehearsal=WISH))
    assert refusal is not None
    return refusal


def test_it_is_refused_where_there_is_nothing_to_rehearse():
    assert refused(Driver()).message == "cannot rehearse: nothing is live"
    external = Driver("127.0.0.1:8000").rest()
    assert "was not started by reld" in refused(external).message
    assert "stop-first" in refused(steady(), with_policy(strategy=STOP_FIRST)).message
    closed = steady().tell(Maintain(Maintenance()))
    assert "closed for maintenance" in refused(closed).message
    unfit = steady()
    unfit.exits(unfit.live.instances[0])
    assert refused(unfit).message == "cannot rehearse v1: v1 is not fit"
    running = steady().begin(Kind.SWITCH, "v2")
    assert refused(running).why is c.Why.BUSY


# the live slot in trouble meanwhile


def test_where_the_live_slot_is_not_fit_it_waits_and_goes_back_when_it_is():
    driver = at_its_share()
    driver.exits(driver.old.instances[0])
    driver.wait(30.0)
    assert driver.phase is Phase.SHIFTING
    assert "is not fit" in driver.rollout.waiting
    assert driver.ended().last.outcome is Outcome.DONE


def test_a_live_slot_that_dies_before_the_gate_knows_the_copy_ends_it():
    driver = rehearsing().to(Phase.PROVING)
    driver.dies(driver.state.live)
    assert driver.state.rollout.outcome is Outcome.FAILED
    assert "nothing to go back to" in driver.ended().last.reason


# kills and reboots


def test_a_reld_that_was_killed_finishes_it():
    for wish in (WISH, FAILING):
        driver = at_its_share(wish)
        driver.reld_restarts()
        assert driver.phase is Phase.SHIFTING
        driver.rest()
        assert driver.state.rehearsed.id == driver.last.id


def test_a_reboot_takes_it_back():
    driver = at_its_share()
    driver.machine_reboots()
    driver.rest()
    assert driver.last.outcome is Outcome.ROLLED_BACK
    assert driver.state.rehearsed.reason == "the machine was rebooted"
    assert driver.state.rehearsed.seconds_to_roll_back is None


@pytest.mark.parametrize("mark", ["back_at", "drained_at"])
def test_times_of_another_boot_measure_nothing(mark):
    driver = at_its_share().until(lambda s: getattr(s.rollout.rehearsal, mark) is not None)
    driver.machine_reboots()
    driver.rest()
    told = driver.state.rehearsed
    assert told.seconds_to_roll_back is None
    assert (told.seconds_to_drain or 0.0) < 60.0


def test_with_a_surge_only_as_many_instances_are_started_as_fit_beside_the_live_ones():
    policy = with_policy(slot=SlotPolicy(instances=4), surge=1)
    driver = rehearsing(driver=steady(policy=policy), policy=policy)
    driver.to(Phase.SHIFTING).until(lambda s: s.rollout.share > 0)
    assert len(driver.candidate.crew) == 1
    assert driver.rollout.share == 5
    assert driver.ended().last.outcome is Outcome.DONE


def test_copies_of_nobody_are_nothing_to_it():
    driver = at_its_share()
    counts = Counts(10)
    driver.tell(
        ev.Judged(driver.rollout.id, driver.now, counts, counts, mirrored=Mirrored(5), longest=2.0)
    )
    driver.tell(ev.Judged(driver.rollout.id, driver.now, counts, counts, longest=1.0))
    assert driver.rollout.rehearsal.longest == 2.0


def test_a_rollback_that_names_nothing_is_not_done_by_ending_a_rehearsal():
    driver = at_its_share()
    number = driver.rollout.id
    for release in (None, "v0"):
        wish = c.Begin(Kind.ROLLBACK, release, POLICY)
        assert not c.turns_back(driver.state, wish)
        refusal = driver.ask(wish)
        assert refusal is not None
        assert refusal.why is c.Why.BUSY
        assert refusal.message.endswith(f"rollout {number} rehearses v1")
        assert refusal.hint.startswith(f"relctl abort {number}, then relctl rollback")
    assert c.turns_back(driver.state, c.Begin(Kind.ROLLBACK, "v1", POLICY))


def test_a_drain_that_never_ended_by_itself_measured_nothing():
    """A worker of the gate that holds a websocket of the live slot is waited for, and nothing is cut."""
    driver = at_its_share().rest()
    last = driver.state.last
    never = replace(
        last,
        cut=0,
        drain_seconds=last.policy.drain_max,
        rehearsal=replace(last.rehearsal, drained_at=None, longest=1.0),
    )
    (told,) = (line for line in advice(never, 1.0, 1.0) if "drain_max" in line)
    assert "the longest request took 1 s" in told


@pytest.mark.parametrize(
    ("surge", "instances", "asked", "share", "copies"),
    [(0, 4, 50, 50, 4), (1, 4, 50, 25, 1), (2, 4, 50, 50, 2), (1, 2, 50, 50, 1), (1, 4, 5, 5, 1), (9, 2, 50, 50, 2)],
)  # fmt: skip
def test_with_a_surge_the_plan_says_the_share_that_its_copies_carry(
    surge, instances, asked, share, copies
):
    policy = replace(POLICY, surge=surge, slot=SlotPolicy(instances=instances))
    driver = Driver().begin(Kind.SWITCH, "v1", policy).rest()
    live = driver.slot(driver.state.live)
    options = Options(share=asked)
    ours = beginning.wish(Kind.REHEARSAL, options, policy, "T", live)["rehearsal"]
    said = beginning.plan("v1", policy, ours, options, live)
    assert (ours.share, said["steps"]) == (share, [share])
    assert said["text"][0].startswith(f"start {copies} × v1 once more")
    assert said["text"][1].startswith(f"give it {share} % of the traffic")
    few = f"with surge = {surge} the copy has {copies} of {instances} instances"
    less = [f"{share} % and not {asked} %: {few}, and they carry no more"]
    assert said["watch"] == (less if share < asked else [])
    began = c.Begin(Kind.REHEARSAL, None, policy, rehearsal=ours)
    assert driver.ask(began) is None
    driver.to(Phase.SHIFTING).wait(1.0)
    assert driver.rollout.wanted_share == share
