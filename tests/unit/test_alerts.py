"""What whoever watches the journal is told."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

from reld.alerts import Alert, raised
from reld.core.commands import Abort, Begin
from reld.core.model import Color, Gate, Kind, Loaded, Phase, Routing, State, Target
from reld.journal import NOTICE
from tests.unit.core_driver import POLICY, Driver


class Watched(Driver):
    """Hears the alerts of every step."""

    def tell(self, event):
        before = self.state
        super().tell(event)
        self.alarms = [*getattr(self, "alarms", []), *raised(before, self.state)]
        return self


def serving():
    driver = Watched().begin(Kind.SWITCH, "v1").rest()
    driver.alarms.clear()
    return driver


def alerts(driver):
    return [found.alert for found in driver.alarms]


def test_every_kind_has_an_id_of_its_own_that_stays():
    assert len({str(alert) for alert in Alert}) == len(Alert)
    assert all(re.fullmatch("[0-9a-f]{32}", alert) for alert in Alert)
    assert Alert.WENT_BACK == "a5061fdad5ed4bcab4310821c0c41a7e"


def test_a_switch_is_told_when_it_begins_and_when_it_is_done():
    driver = serving().begin(Kind.SWITCH, "v2").rest()
    assert alerts(driver) == [Alert.BEGAN, Alert.DONE]
    began, done = driver.alarms
    assert "rollout 2 began: switch from v1 to v2" in began.text
    assert done.text.startswith("rollout 2: v2 serves")
    about = began.about["about"].fields()
    assert about["RELCTL_ROLLOUT"] == "2"
    assert about["RELCTL_RELEASE"] == "v2"
    assert about["MESSAGE_ID"] == Alert.BEGAN


def test_a_release_that_dies_while_it_takes_traffic_is_told_to_have_gone_back():
    driver = serving().begin(Kind.SWITCH, "v2").to(Phase.SHIFTING)
    driver.dies(driver.candidate.color).rest()
    assert alerts(driver) == [Alert.BEGAN, Alert.WENT_BACK]
    assert "v1 serves" in driver.alarms[-1].text


def test_an_aborted_rollout_is_told_once():
    driver = serving().begin(Kind.SWITCH, "v2").to(Phase.SHIFTING)
    driver.ask(Abort(driver.rollout.id, "aborted by anna"))
    driver.rest()
    assert alerts(driver) == [Alert.BEGAN, Alert.WENT_BACK]


def test_a_live_release_that_dies_is_told_and_so_is_its_return():
    driver = serving()
    driver.dies(driver.state.live)
    assert alerts(driver)[0] is Alert.DEGRADED
    driver.rest()
    assert alerts(driver) == [Alert.DEGRADED, Alert.RECOVERED]


def test_the_man_page_lists_every_id():
    page = (Path(__file__).parents[2] / "packaging/man/reld.8").read_text()
    assert [alert.name for alert in Alert if alert not in page] == []


def test_an_instance_that_dies_again_and_again_is_told_once():
    driver = serving()
    for _ in range(5):
        driver.dies(driver.state.live).rest()
    told = [a.text for a in driver.alarms if a.alert is Alert.CRASH_LOOP]
    live = driver.state.slot(driver.state.live)
    assert len(told) == len(live.instances)
    assert told[0].startswith("instance 0 of v1 dies again and again")


def test_a_copy_that_is_out_of_the_gate_is_told_though_nothing_died():
    both = Target(Color.BLUE, "v1", ("127.0.0.1:1", "127.0.0.1:2"))
    one = Target(Color.BLUE, "v1", ("127.0.0.1:2",))
    before, after = (State("web", "b", gate=Gate(Loaded(1, Routing(t)))) for t in (both, one))
    (told,) = raised(before, after)
    assert told.alert is Alert.COPY_OUT
    assert told.text == "127.0.0.1:1 of v1 gets no requests any more, 1 serve"
    assert raised(after, before) == []


def asked_for(state):
    return ": relctl " in state.rollout.waiting


def test_what_waits_to_be_approved_is_no_error_and_says_what_to_type():
    driver = serving()
    asked = Begin(Kind.SWITCH, "v2", POLICY, "alice", approval=True, people=(1000,))
    assert driver.ask(asked) is None
    driver.until(asked_for)
    assert alerts(driver) == [Alert.BEGAN, Alert.NEEDS_APPROVAL]
    told = driver.alarms[-1]
    assert told.level == NOTICE
    assert told.text == (
        "rollout 2 (v2) waits for an approver: relctl approve 2; relctl abort 2 gives it up"
    )


def test_a_gate_between_two_steps_is_no_error_either():
    driver = serving().begin(Kind.SWITCH, "v2", replace(POLICY, approve_after=(5,)))
    driver.until(asked_for)
    assert alerts(driver) == [Alert.BEGAN, Alert.NEEDS_APPROVAL]
    assert driver.alarms[-1].text == (
        "rollout 2 (v2) waits for a person to agree after 5 %: relctl promote 2; "
        "relctl abort 2 gives it up"
    )


def test_a_rollout_that_cannot_go_on_by_itself_still_needs_an_operator():
    held = replace(POLICY, on_unproven="hold", step_requests=10**9, step_time=1.0, step_max=2.0)
    driver = serving().begin(Kind.SWITCH, "v2", held).until(asked_for)
    assert Alert.NEEDS_OPERATOR in alerts(driver)
    told = next(a for a in driver.alarms if a.alert is Alert.NEEDS_OPERATOR)
    assert (told.level, "needs an operator: unproven" in told.text) == (logging.ERROR, True)
