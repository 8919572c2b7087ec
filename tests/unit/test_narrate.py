"""The sentences of a rollout, as people read them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from reld.core import commands as c
from reld.core import events as ev
from reld.core.events import End
from reld.core.model import Kind, Mirrored, Phase, Shadow, Watch
from reld.core.verdict.finding import Finding, Verdict
from reld.core.verdict.settings import VerdictSettings
from reld.narrate import narrate
from tests.unit.core_driver import POLICY, Driver, steady, switching


class Listening(Driver):
    """Hears what is told at every step."""

    def tell(self, event):
        before = self.state
        super().tell(event)
        self.told = [*getattr(self, "told", []), *(n.text for n in narrate(before, self.state))]
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
    driver.told.clear()
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
    places = [driver.told.index(text) for text in told]
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


SAID = "v2 failed 7 of 140 requests (5.0 %), v1 3 of 2660 (0.1 %)"


def watched(before: Finding, after: Finding, **changes: Any) -> list[tuple[str, str]]:
    """What is told when the sensor says something else, and the rollout changes with it."""
    state = switching(Phase.SHIFTING).state
    assert state.rollout is not None
    had = replace(state.rollout, share=5, watch=Watch(finding=before))
    has = replace(had, watch=Watch(finding=after, rate=0.02), **changes)
    told = narrate(replace(state, rollout=had), replace(state, rollout=has))
    return [(n.event, n.text) for n in told]


def test_a_new_verdict_is_told_with_its_sentence_and_once():
    worse = Finding(Verdict.WORSE, SAID)
    assert watched(Finding(), worse) == [("verdict", SAID)]
    assert watched(worse, replace(worse, errors=2.0)) == []


def test_a_verdict_that_may_not_act_says_so():
    policy = replace(POLICY, verdict=VerdictSettings(act=False))
    told = watched(Finding(), Finding(Verdict.WORSE, SAID), policy=policy)
    assert told == [("verdict", f"{SAID}; only observed, it does not act")]


def test_what_is_waited_for_is_not_told_twice():
    both = Finding(Verdict.ENVIRONMENT, "both slots are failing: the environment, not the release")
    assert watched(Finding(), both, waiting=both.sentence) == [("verdict", both.sentence)]
    asked = watched(Finding(), Finding(Verdict.DOUBT, SAID), waiting=f"{SAID}; asking v1")
    assert asked == [("verdict", SAID), ("waiting", f"waiting: {SAID}; asking v1")]


def test_the_end_of_a_bad_time_is_told():
    both = Finding(Verdict.ENVIRONMENT, "both slots are failing")
    assert watched(both, Finding()) == [
        ("verdict", "the slots do not suffer together any more: the watch goes on")
    ]
    assert watched(Finding(Verdict.DOUBT, SAID), Finding()) == [
        ("verdict", "nothing is known against v2 any more: the watch goes on")
    ]


def test_a_hold_is_told_when_it_begins():
    hold = Finding(hold="v2 is not warm yet")
    assert watched(Finding(), hold, waiting=hold.hold) == [
        ("verdict", "the share stays as it is: v2 is not warm yet")
    ]
    assert watched(hold, replace(hold, errors=0.5)) == []


def test_a_hold_that_asks_a_person_is_told_with_what_to_type():
    more = Finding(hold="v2 refuses more", asks=True)
    waiting = "v2 refuses more: relctl promote goes on, relctl rollback goes back"
    assert watched(Finding(), more, waiting=waiting) == [("waiting", f"waiting: {waiting}")]


def test_steps_that_are_skipped_are_named_with_the_rate():
    assert watched(Finding(), Finding(), skipped=(5, 25)) == [
        ("step", "skipped 5 %, 25 %: at 0.02 req/s they could not show anything")
    ]


def test_the_shield_is_told_off_and_on():
    off = watched(Finding(), Finding(), unshielded=True)
    assert [event for event, _ in off] == ["shield"]
    assert off[0][1].startswith("the shield is off: ")
    state = switching(Phase.SHIFTING).state
    bare = replace(state, rollout=replace(state.rollout, unshielded=True))
    assert [n.text for n in narrate(bare, state)] == ["the shield is on again"]


def test_a_shadow_is_told_when_it_begins_and_what_it_saw_when_it_is_over():
    state = switching(Phase.SHIFTING).state
    policy = replace(state.rollout.policy, shadow=0.05)
    before = replace(state.rollout, policy=policy, shadow=Shadow(on=True))
    on = replace(before, shadow=Shadow(on=True, since=5.0))
    seen = Mirrored(214, 1, 0.08, 0.075)
    over = replace(on, shadow=replace(on.shadow, over=True, mirrored=seen))
    states = [replace(state, rollout=r) for r in (before, on, over)]
    told = [n.text for a, b in itertools.pairwise(states) for n in narrate(a, b)]
    assert told == [
        "5 % of the GETs of v1 are mirrored to v2",
        "shadow: 214 copies, 1 failed, 95 % within 80 ms (live 75 ms)",
    ]


def test_an_approval_is_told_once_with_who_and_why():
    agreed = {"approval": True, "approved_by": "bob", "approval_note": "seen in staging"}
    assert watched(Finding(), Finding(), **agreed) == [
        ("approval", "approved by bob: seen in staging")
    ]
    state = switching(Phase.SHIFTING).state
    already = replace(state, rollout=replace(state.rollout, **agreed))
    assert narrate(already, already) == []
