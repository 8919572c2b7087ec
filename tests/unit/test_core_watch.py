"""What the verdict of live traffic does to a rollout."""

from __future__ import annotations

import pytest

from reld.core import events as ev
from reld.core.commands import Promote
from reld.core.effects import AskOld, Judge, SetShield, todo
from reld.core.model import Color, Counts, InstanceState, Kind, Outcome, Phase
from reld.core.verdict.finding import Verdict
from reld.core.verdict.settings import VerdictSettings
from reld.core.watch import SILENT_AFTER
from tests.unit.core_driver import FORWARD, POLICY, Driver, steady, switching, with_policy

MANY = Counts(10_000, 0)
WORSE = {"verdict": Verdict.WORSE, "sentence": "v2 failed 7 of 140 requests"}


def watching(policy=POLICY):
    """In the first step, with the lanes moved."""
    driver = switching(Phase.SHIFTING, policy)
    return driver.tell(ev.LanesMoved(driver.rollout.id, 5)).heard()


def baking(policy=POLICY):
    driver = switching(Phase.BAKING, policy)
    return driver.tell(ev.LanesMoved(driver.rollout.id, 100)).heard(MANY)


@pytest.mark.parametrize("start", [watching, baking])
def test_what_is_clearly_worse_goes_back_at_once(start):
    driver = start().heard(**WORSE)
    assert (driver.phase, driver.rollout.outcome) == (Phase.REVERTING, Outcome.ROLLED_BACK)
    assert driver.rollout.reason == "v2 failed 7 of 140 requests"
    assert driver.rollout.turned_at == (5 if start is watching else 100)


def test_a_verdict_before_the_commit_reload_is_verified_still_goes_back():
    driver = switching(Phase.COMMITTING).heard(MANY, **WORSE)
    assert driver.phase is Phase.REVERTING


def test_a_verdict_that_may_not_act_is_remembered_once():
    driver = watching(with_policy(verdict=VerdictSettings(act=False))).heard(**WORSE)
    driver.heard(sentence="v2 failed 9 of 150 requests")
    assert driver.phase is Phase.SHIFTING
    assert driver.rollout.observed == "at 5 %: v2 failed 7 of 140 requests"


def test_a_rollback_is_never_judged():
    driver = steady().begin(Kind.SWITCH, "v2").rest().begin(Kind.ROLLBACK)
    assert not driver.rollout.policy.verdict.act


def test_nobody_goes_back_to_a_slot_that_is_not_ready_either():
    driver = watching()
    for _ in range(3):
        driver.tell(ev.ReadinessProbed(driver.old.instances[0].number, passed=False, detail="503"))
    assert driver.old.instances[0].state is InstanceState.UNREADY
    driver.heard(**WORSE)
    assert driver.phase is Phase.SHIFTING
    assert "v1 is not ready either" in driver.rollout.waiting


def test_a_step_lasts_as_long_as_the_log_was_read_not_as_the_clock_ran():
    driver = watching()
    driver.wait(10_000.0)
    assert driver.rollout.step == 0
    driver.heard(MANY)
    assert driver.rollout.step == 1


def test_silence_of_the_sensor_is_shown_and_never_goes_on():
    driver = watching().wait(SILENT_AFTER + 1)
    assert "nothing is heard" in driver.rollout.waiting
    driver.wait(POLICY.step_max * 2)
    assert (driver.phase, driver.rollout.step) == (Phase.SHIFTING, 0)


@pytest.mark.parametrize("verdict", [Verdict.ENVIRONMENT, Verdict.BLIND])
def test_what_cannot_be_judged_holds_and_goes_on_when_it_is_over(verdict):
    driver = watching().wait(POLICY.step_max * 2)
    driver.heard(MANY, verdict=verdict, sentence="both slots are failing")
    assert (driver.rollout.step, driver.rollout.waiting) == (0, "both slots are failing")
    driver.heard(MANY, verdict=Verdict.FINE, sentence="")
    assert driver.wait(POLICY.step_time).heard(MANY).rollout.step == 1


def test_time_that_said_nothing_is_no_time_of_a_step():
    driver = watching().heard(verdict=Verdict.ENVIRONMENT, sentence="both slots are failing")
    driver.wait(POLICY.step_time * 3).heard(MANY)
    driver.heard(MANY, verdict=Verdict.FINE, sentence="")
    assert (driver.rollout.step, driver.rollout.waiting) == (0, "")
    driver.wait(POLICY.step_time + 1).heard(Counts(30_000))
    assert driver.rollout.step == 1


def test_numbers_that_change_every_second_are_no_news():
    driver = watching().heard(verdict=Verdict.ENVIRONMENT, sentence="both fail: 3 of 9")
    driver.heard(sentence="both fail: 4 of 12")
    assert driver.rollout.waiting == "both fail: 3 of 9"


def test_the_shield_is_off_while_both_slots_suffer():
    driver = watching().heard(verdict=Verdict.ENVIRONMENT, sentence="both")
    id_ = driver.rollout.id
    assert SetShield(id_, on=False) in todo(driver.state)
    driver.tell(ev.ShieldSet(id_, on=False))
    assert SetShield(id_, on=False) not in todo(driver.state)
    driver.heard(verdict=Verdict.FINE)
    assert SetShield(id_, on=True) in todo(driver.state)


def test_open_suspicion_keeps_the_share_small_but_not_for_ever():
    driver = watching()
    driver.wait(POLICY.step_time + 1).heard(MANY, hold="3 failures, watching")
    assert (driver.rollout.step, driver.rollout.waiting) == (0, "3 failures, watching")
    driver.wait(POLICY.step_max).heard(MANY)
    assert driver.rollout.step == 1


def test_a_hold_that_asks_waits_for_a_person():
    driver = watching()
    driver.wait(POLICY.step_max * 2).heard(MANY, hold="more 4xx", asks=True)
    assert "relctl promote" in driver.rollout.waiting
    driver.ask(Promote(driver.rollout.id))
    assert driver.rollout.step == 1


def test_a_doubt_asks_the_old_slot_and_its_answer_decides():
    driver = baking().heard(verdict=Verdict.DOUBT, sentence="v2 failed 60 of 900")
    id_ = driver.rollout.id
    assert AskOld(id_) in todo(driver.state)
    assert driver.phase is Phase.BAKING
    assert driver.tell(ev.OldAsked(id_, passed=True)).phase is Phase.REVERTING
    assert "v1 passes its checks" in driver.rollout.reason


def test_a_doubt_holds_while_the_old_slot_fails_too_and_asks_again():
    driver = baking().heard(verdict=Verdict.DOUBT, sentence="v2 failed 60 of 900")
    id_ = driver.rollout.id
    driver.tell(ev.OldAsked(id_, passed=False)).wait(POLICY.bake * 2).heard(MANY)
    assert driver.phase is Phase.BAKING
    assert AskOld(id_) in todo(driver.state)
    driver.tell(ev.OldAsked(id_, passed=False))
    assert "the environment, not the release" in driver.rollout.waiting
    driver.heard(verdict=Verdict.FINE, sentence="")
    assert driver.wait(POLICY.bake).heard(MANY).phase is Phase.COMMITTING


def test_a_bake_with_next_to_no_requests_ends_unproven():
    driver = baking().heard(Counts(3, 0)).wait(POLICY.bake + 1).heard(Counts(3, 0))
    assert (driver.phase, driver.rollout.unproven) == (Phase.COMMITTING, True)


@pytest.mark.parametrize(
    ("on_unproven", "phase"), [("hold", Phase.BAKING), ("rollback", Phase.REVERTING)]
)
def test_an_unproven_bake_ends_as_the_policy_says(on_unproven, phase):
    driver = baking(with_policy(on_unproven=on_unproven)).heard(Counts(3, 0))
    assert driver.wait(POLICY.bake + 1).heard(Counts(3, 0)).phase is phase


def test_steps_that_could_show_nothing_are_skipped_and_named():
    driver = switching(Phase.ADMITTING)
    id_ = driver.rollout.id
    slow = ev.Judged(id_, driver.now, Counts(), Counts(), rate=0.1)  # 60 requests in step_max
    driver.tell(slow)
    driver.until(
        lambda s: s.rollout is not None and s.rollout.phase is Phase.SHIFTING, without=(Judge,)
    )
    assert (driver.rollout.skipped, driver.rollout.wanted_share) == ((5,), 50)


def test_a_reboot_forgets_what_the_other_clock_said():
    driver = baking()
    driver.machine_reboots()
    assert driver.rollout.watch.read_to == 0.0


def test_a_reld_that_comes_back_gives_the_sensor_its_time():
    driver = watching()
    driver.now += 3_600.0
    driver.reld_restarts()
    assert driver.rollout.waiting == ""
    assert driver.rollout.step == 0
    driver.heard(MANY)
    assert driver.rollout.step == 1


def test_the_log_is_read_from_the_first_reload_to_the_last_process():
    for phase in FORWARD:
        driver: Driver = switching(phase)
        judged = Judge(driver.rollout.id) in todo(driver.state)
        first, last = FORWARD.index(Phase.ADMITTING), FORWARD.index(Phase.STOPPING)
        assert judged is (first <= FORWARD.index(phase) <= last), phase


def test_counts_are_kept_per_colour():
    driver = watching()
    event = ev.Judged(driver.rollout.id, driver.now, Counts(5, 1, 2, 1), Counts(7))
    driver.tell(event)
    assert driver.rollout.blue == Counts(5, 1, 2, 1)
    assert driver.rollout.green.total == 7
    assert driver.rollout.candidate is Color.GREEN
