"""The sentences of a rollout, as people read them."""

from __future__ import annotations

from reld.core import commands as c
from reld.core import events as ev
from reld.core.events import End
from reld.core.model import Kind, Phase
from reld.narrate import narrate
from tests.unit.core_driver import POLICY, Driver, steady, switching


class Listening(Driver):
    """Hears what is told at every step."""

    def tell(self, event):
        before = self.state
        super().tell(event)
        self.heard = [*getattr(self, "heard", []), *(n.text for n in narrate(before, self.state))]
        return self


def heard_of(driver, event):
    before = driver.state
    driver.tell(event)
    return [(n.event, n.text) for n in narrate(before, driver.state)]


def test_nothing_new_is_nothing_told():
    state = steady().state
    assert narrate(state, state) == []


def test_a_switch_is_told_from_its_start_to_its_end():
    driver = Listening().begin(Kind.SWITCH, "v1").rest()
    driver.heard.clear()
    driver.begin(Kind.SWITCH, "v2").rest()
    told = [
        "preparing v2",
        "starting 2 × v2 beside v1",
        "instance 0 of v2 (green) is ready",
        "v2 is ready: proving it before any user sees it",
        "admitting v2 to the gate at 0 %",
        "v2 has 5 % of the traffic",
        "v2 has 50 % of the traffic",
        f"baking: all traffic on v2, v1 stays warm for {POLICY.bake:g} s",
        "v2 has 100 % of the traffic",
        "committing to v2",
        "draining: at least 30 s",
    ]
    places = [driver.heard.index(text) for text in told]
    assert places == sorted(places)


def test_an_instance_is_told_with_its_port_and_pid():
    driver = switching(Phase.STARTING).until(lambda s: s.green.instances[0].state == "held")
    number = driver.candidate.instances[0].number
    assert heard_of(driver, ev.LetGo(number)) == [
        ("instance", f"instance 0 of v2 (green) started on port 21002, pid {number + 100}")
    ]


def test_going_back_says_why():
    driver = switching(Phase.BAKING)
    told = heard_of(driver, c.Abort(driver.rollout.id, "by hand"))
    assert ("phase", "going back to v1: by hand") in told


def test_a_wait_is_told_once():
    driver = switching(Phase.BAKING)
    pause = c.Pause(driver.rollout.id)
    assert heard_of(driver, pause) == [
        ("waiting", "waiting: paused by a person: relctl resume goes on")
    ]
    assert heard_of(driver, pause) == []


def test_the_lanes_that_were_moved_back_are_told():
    driver = switching(Phase.REVERTING)
    told = heard_of(driver, ev.LanesMoved(driver.rollout.id, 0))
    assert told == [("step", "v1 has all the traffic again")]


def test_the_gate_tells_what_it_serves_and_what_it_refused():
    driver = switching(Phase.COMMITTING)
    generation = driver.state.gate.in_flight.generation
    refused = ev.ReloadEnded(generation, End.REFUSED, "nginx -t failed")
    assert ("gate", "the gate: nginx -t failed") in heard_of(driver, refused)
    driver.wait(1.0)
    verified = ev.ReloadEnded(driver.state.gate.in_flight.generation, End.VERIFIED)
    assert ("gate", f"the gate serves generation {verified.generation}") in heard_of(
        driver, verified
    )


def test_a_disk_that_is_full_and_one_that_is_not_any_more_are_told():
    driver = steady()
    assert heard_of(driver, ev.StoreTrouble("disk full")) == [("degraded", "disk full")]
    assert heard_of(driver, ev.StoreTrouble("")) == [("degraded", "the state can be saved again")]
