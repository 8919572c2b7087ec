"""What is offered as the next command is never refused, and what would be refused is never offered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld.core import commands as c
from reld.core.model import Kind, Outcome, Phase
from reld.core.offers import offers
from tests.unit.core_driver import FORWARD, POLICY, Driver


def serving(*releases: str) -> Driver:
    driver = Driver()
    for release in releases:
        driver.begin(Kind.SWITCH, release).rest()
    return driver


def test_nothing_to_go_back_to_is_not_offered_after_the_first_release():
    assert offers(Driver().state) == ()
    assert offers(serving("v1").state) == ()


def test_an_earlier_release_is_a_way_back_until_a_contract_closes_it():
    driver = serving("v1", "v2")
    assert offers(driver.state) == ("rollback",)
    assert offers(driver.begin(Kind.CONTRACT).rest().state) == ()


def test_what_went_back_by_itself_is_not_offered_to_go_back_once_more():
    driver = serving("v1", "v2").begin(Kind.SWITCH, "v3").to(Phase.SHIFTING)
    driver.dies(driver.candidate.color).rest()
    assert driver.last.outcome is Outcome.ROLLED_BACK
    assert offers(driver.state) == ()


def test_a_stopped_app_can_be_started_and_has_nothing_to_go_back_from():
    assert offers(serving("v1").begin(Kind.STOP).rest().state) == ("start",)


def test_nothing_is_offered_while_the_state_cannot_be_saved():
    assert offers(replace(serving("v1", "v2").state, store_trouble="no space left")) == ()


@pytest.mark.parametrize("phase", FORWARD)
def test_in_every_phase_what_is_offered_is_what_is_not_refused(phase):
    driver = serving("v1", "v2").begin(Kind.SWITCH, "v3").to(phase)
    state, number = driver.state, driver.rollout.id
    offered = offers(state)
    steers = {"pause": c.Pause(number), "abort": c.Abort(number, "")}
    assert {word for word in steers if c.refuse(state, steers[word]) is None} == {*offered} & {
        *steers
    }
    back = c.turns_back(state, c.Begin(Kind.ROLLBACK, None, POLICY))
    assert back == ("rollback" in offered)


def test_a_pause_is_offered_once_and_then_its_end():
    driver = serving("v1").begin(Kind.SWITCH, "v2").to(Phase.SHIFTING)
    assert offers(driver.state) == ("rollback", "pause", "abort")
    driver.ask(c.Pause(driver.rollout.id))
    assert offers(driver.state) == ("rollback", "resume", "abort")


def test_what_goes_back_already_is_not_offered_to_be_aborted():
    driver = serving("v1").begin(Kind.SWITCH, "v2").to(Phase.SHIFTING)
    driver.ask(c.Abort(driver.rollout.id, "by anna"))
    while driver.rollout.phase is Phase.SHIFTING:
        driver.wait(1.0)
    assert driver.rollout.phase is Phase.REVERTING
    assert offers(driver.state) == ()
