"""Shadow: some of the live slot's GETs are mirrored before any user sees the candidate."""

from __future__ import annotations

from dataclasses import replace

from reld.core import commands as c
from reld.core import events as ev
from reld.core.effects import MoveLanes, SetShadow, todo
from reld.core.model import Counts, Kind, Mirrored, Outcome, Phase
from reld.core.shadowing import needed
from reld.core.verdict.finding import Finding, Verdict
from tests.unit.core_driver import PLENTY, Driver, steady, with_policy

POLICY = with_policy(shadow=0.05, step_time=10.0, step_requests=200, step_max=100.0)
WORSE = Finding(Verdict.WORSE, "v2 failed all of 12 requests, v1 none of 240")


def mirroring() -> Driver:
    """v1 is live, its GETs are mirrored to v2."""
    driver = steady(policy=POLICY).begin(Kind.SWITCH, "v2", POLICY).to(Phase.SHIFTING)
    return driver.tell(ev.ShadowSet(driver.rollout.id, on=True))


def heard(
    driver: Driver, mirrored: int, finding: Finding = Finding(), rate: float = 50.0
) -> Driver:
    """The log was read up to now."""
    some = Counts(PLENTY)
    told = ev.Judged(
        driver.rollout.id, driver.now, some, Counts(), finding, rate, mirrored=Mirrored(mirrored)
    )
    return driver.tell(told)


def effects(driver: Driver) -> set[object]:
    return {e for e in todo(driver.state) if isinstance(e, SetShadow | MoveLanes)}


def test_both_slots_are_named_once_with_the_mirror_that_a_file_switches_on():
    driver = steady(policy=POLICY).begin(Kind.SWITCH, "v2", POLICY).to(Phase.SHIFTING)
    assert driver.state.gate.verified.routing.shadow == 0.05
    assert effects(driver) == {SetShadow(driver.rollout.id, on=True)}
    reloads = driver.rollout.reloads
    driver.to(Phase.BAKING)
    assert driver.rollout.reloads == reloads


def test_a_shadow_ends_after_its_time_and_as_many_copies_as_such_a_step_has():
    assert needed(0.05, 200) == 10
    driver = heard(mirroring(), 9).wait(10.0)
    heard(driver, 9)
    assert not driver.rollout.shadow.over
    heard(driver, 10)
    assert driver.rollout.shadow.over
    assert driver.rollout.shadow.reason == ""
    early = mirroring().wait(9.0)
    assert not heard(early, 100).rollout.shadow.over


def test_no_lane_moves_before_the_mirror_is_off_for_sure():
    driver = heard(heard(mirroring(), 10).wait(10.0), 10)
    number = driver.rollout.id
    assert effects(driver) == {SetShadow(number, on=False)}
    assert not driver.rollout.moved
    driver.tell(ev.ShadowSet(number, on=False))
    assert (driver.rollout.step, driver.rollout.wanted_share, driver.rollout.moved) == (0, 5, True)
    assert effects(driver) == {MoveLanes(number, 5)}


def test_an_old_word_that_the_mirror_is_on_changes_nothing_once_it_is_over():
    driver = heard(heard(mirroring(), 10).wait(10.0), 10)
    driver.tell(ev.ShadowSet(driver.rollout.id, on=True))
    assert effects(driver) == {SetShadow(driver.rollout.id, on=False)}


def test_what_is_clearly_worse_in_shadow_fails_and_no_traffic_was_moved():
    driver = heard(mirroring(), 12, WORSE)
    assert driver.phase is Phase.REVERTING
    assert effects(driver) == {SetShadow(driver.rollout.id, on=False)}
    driver.ended()
    last = driver.last
    assert (last.outcome, last.moved) == (Outcome.FAILED, False)
    assert last.reason == f"failed in shadow: {WORSE.sentence}; no user saw it"
    assert Phase.DRAINING not in driver.phases


def test_users_that_the_live_slot_could_not_take_are_told_of():
    driver = mirroring()
    event = ev.Judged(driver.rollout.id, driver.now, Counts(90), Counts(7), WORSE, 50.0)
    colors = {"blue": event.blue, "green": event.green}
    colors[str(driver.rollout.candidate)], colors[str(driver.rollout.old)] = Counts(7), Counts(90)
    driver.tell(replace(event, **colors))
    assert driver.rollout.reason.endswith("users were given 7 of its answers")


def test_a_verdict_that_only_observes_says_that_it_was_in_shadow():
    policy = replace(POLICY, verdict=replace(POLICY.verdict, act=False))
    driver = steady(policy=policy).begin(Kind.SWITCH, "v2", policy).to(Phase.SHIFTING)
    heard(driver.tell(ev.ShadowSet(driver.rollout.id, on=True)), 12, WORSE)
    assert driver.phase is Phase.SHIFTING
    assert driver.rollout.observed == f"in shadow: {WORSE.sentence}"


def test_without_traffic_it_goes_on_after_step_max_and_says_so():
    driver = mirroring()
    for _ in range(20):
        assert not driver.rollout.shadow.over
        heard(driver.wait(5.0), 1, rate=3.0)
    assert driver.rollout.shadow.over
    assert driver.rollout.shadow.reason == "too few requests to show anything"
    assert driver.until(lambda s: s.rollout is not None and s.rollout.share == 5)


def test_a_shadow_that_could_show_nothing_is_left_out():
    driver = steady(policy=POLICY).begin(Kind.SWITCH, "v2", POLICY).to(Phase.ADMITTING)
    heard(driver, 0, rate=0.1).until(lambda s: s.rollout.phase is Phase.SHIFTING)
    assert driver.rollout.step >= 0
    assert driver.rollout.shadow.reason == "too few requests to show anything"
    assert not any(isinstance(e, SetShadow) for e in effects(driver))


def test_what_holds_a_step_holds_the_shadow_but_never_longer_than_step_max():
    both = Finding(Verdict.ENVIRONMENT, "both slots are failing")
    driver = mirroring()
    for _ in range(19):
        heard(driver.wait(5.0), 50, both)
        assert driver.rollout.waiting == "both slots are failing"
    heard(driver.wait(5.0), 50, both)
    assert driver.rollout.shadow.over
    assert driver.rollout.shadow.reason == "both slots are failing"


def test_a_pause_holds_it_for_as_long_as_it_lasts_and_promote_ends_it():
    driver = mirroring()
    number = driver.rollout.id
    assert driver.ask(c.Pause(number)) is None
    heard(driver.wait(500.0), 50)
    assert not driver.rollout.shadow.over
    assert driver.ask(c.Promote(number)) is None
    assert driver.rollout.shadow.over
    driver.tell(ev.ShadowSet(number, on=False)).tell(ev.LanesMoved(number, 5))
    assert driver.rollout.step == 0, "one promote ends one wait"


def test_promoted_in_full_the_mirror_still_goes_off_first():
    driver = mirroring()
    number = driver.rollout.id
    assert driver.ask(c.Promote(number, full=True)) is None
    assert effects(driver) == {SetShadow(number, on=False)}
    assert driver.tell(ev.ShadowSet(number, on=False)).rollout.wanted_share == 100


def test_an_abort_in_shadow_never_moved_traffic():
    driver = mirroring()
    assert driver.ask(c.Abort(driver.rollout.id, "by hand")) is None
    assert SetShadow(driver.rollout.id, on=False) in effects(driver)
    driver.ended()
    assert (driver.last.outcome, driver.last.moved) == (Outcome.ABORTED, False)


def test_a_candidate_that_dies_in_shadow_fails():
    driver = mirroring()
    driver.dies(driver.rollout.candidate).ended()
    assert driver.last.outcome is Outcome.FAILED


def test_a_mirror_that_does_not_go_on_is_given_up_and_goes_off_all_the_same():
    driver = steady(policy=POLICY).begin(Kind.SWITCH, "v2", POLICY).to(Phase.SHIFTING)
    driver.wait(16.0)
    assert driver.rollout.waiting == "the mirror of the gate does not go on"
    driver.wait(15.0)
    assert driver.rollout.shadow.reason == "the mirror could not be switched on"
    assert effects(driver) == {SetShadow(driver.rollout.id, on=False)}


def test_reld_that_was_killed_in_the_shadow_goes_on_with_it():
    driver = mirroring().wait(3.0).reld_restarts()
    assert not any(isinstance(e, SetShadow) for e in effects(driver))
    driver.wait(7.0)
    assert heard(driver, 10).rollout.shadow.over


def test_reld_that_was_killed_before_it_was_told_of_the_mirror_switches_it_on_again():
    driver = steady(policy=POLICY).begin(Kind.SWITCH, "v2", POLICY).to(Phase.SHIFTING)
    driver.reld_restarts()
    assert effects(driver) == {SetShadow(driver.rollout.id, on=True)}


def test_a_reboot_in_the_shadow_fails_the_rollout():
    driver = mirroring().machine_reboots().ended()
    assert (driver.last.outcome, driver.last.moved) == (Outcome.FAILED, False)


def test_a_rollback_has_no_shadow():
    driver = steady(policy=POLICY).begin(Kind.SWITCH, "v2", POLICY).rest()
    driver.begin(Kind.ROLLBACK, None, POLICY).to(Phase.SHIFTING)
    assert driver.rollout.step == 0
    assert driver.state.gate.verified.routing.shadow == 0
