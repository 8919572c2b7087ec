"""Requests that wait instead of a 503: when that is refused, and everything that ends it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld.api.maintenance import maintenance_request, shown
from reld.core.commands import Begin, Why, refuse
from reld.core.events import End, ReloadEnded, Tick
from reld.core.machine import alarm, first_state, step
from reld.core.maintenance import Maintain, holds, in_effect
from reld.core.model import (
    Closed,
    Color,
    Gate,
    Instance,
    InstanceState,
    Kind,
    Loaded,
    Maintenance,
    Routing,
    Slot,
    State,
    Target,
)
from reld.core.policy import Policy, SlotPolicy
from reld.core.recovery import Observed, recover
from reld.nginx.mark import mark, read_back
from reld.store.codec import dumps, loads
from reld.takeover import taken_over

HOLD = Maintain(Maintenance(Closed(hold=20.0), "today", "anna"))
OFF = Maintain(None)
PLAIN = Maintain(Maintenance(Closed(), "today", "anna"))
SERVED = Routing(Target(Color.BLUE, "v1", ("127.0.0.1:21000",)))


def live() -> State:
    """An app that came before reld, served by the gate."""
    state = first_state("web", "boot-1", "127.0.0.1:21000")
    assert state.blue is not None
    ready = replace(state.blue.instances[0], state=InstanceState.READY)
    return replace(
        state,
        blue=replace(state.blue, release="v1", instances=(ready,)),
        gate=Gate(verified=Loaded(1, SERVED)),
        next_generation=2,
    )


def served(state: State, at: float) -> State:
    flying = state.gate.in_flight
    return step(state, ReloadEnded(flying.generation, End.VERIFIED), at) if flying else state


def test_it_is_over_by_itself_and_the_gate_is_told():
    state = served(step(live(), HOLD, 10.0), 10.5)
    assert in_effect(state)
    assert holds(state)
    assert alarm(state, 11.0) == 30.0
    state = step(state, Tick(), 30.0)
    assert state.maintenance is None
    assert not in_effect(state)
    assert served(state, 30.5).gate.verified.routing == SERVED


def test_it_does_not_outlive_reld():
    state = loads(State, dumps(served(step(live(), HOLD, 10.0), 10.5)))
    assert state.maintenance is not None
    assert state.maintenance.until == 30.0
    found = recover(state, Observed("boot-1", serving=2), 12.0)
    assert found.maintenance is None
    assert found.gate.in_flight is not None
    assert found.gate.in_flight.routing == SERVED


def test_a_state_that_is_lost_is_not_found_held():
    routing = replace(SERVED, maintenance=HOLD.maintenance.closed)
    assert taken_over("web", "boot-1", Loaded(3, routing), 3, 0).maintenance is None
    closed = replace(SERVED, maintenance=Closed())
    assert taken_over("web", "boot-1", Loaded(3, closed), 3, 0).maintenance is not None


def test_said_again_it_is_not_longer():
    state = step(live(), HOLD, 10.0)
    assert refuse(state, HOLD) is None
    assert step(state, HOLD, 25.0).maintenance == state.maintenance
    longer = Maintain(Maintenance(Closed(hold=30.0)))
    refusal = refuse(state, longer)
    assert refusal is not None
    assert "held already" in refusal.message


@pytest.mark.parametrize(("rate", "fits"), [(None, True), (15.0, True), (15.1, False)])
def test_more_than_the_connections_bear_is_refused(rate: float | None, fits: bool):
    refusal = refuse(live(), replace(HOLD, rate=rate))
    assert (refusal is None) == fits
    if refusal is not None:
        assert refusal.message == (
            "cannot hold requests: at 15 requests a second 302 would wait in 20 s, 300 may"
        )


def test_there_must_be_somebody_to_wait_for():
    refusal = refuse(first_state("web", "boot-1"), HOLD)
    assert refusal is not None
    assert "nothing is live" in refusal.message


def test_a_closed_gate_holds_nobody_and_who_waits_can_be_sent_away():
    assert refuse(step(live(), PLAIN, 10.0), HOLD) is not None
    state = step(live(), HOLD, 10.0)
    assert refuse(state, PLAIN) is None
    assert not holds(step(state, PLAIN, 11.0))


def test_a_rollout_and_a_hold_exclude_each_other():
    slot = Slot(
        Color.BLUE,
        "v1",
        1,
        SlotPolicy(),
        (Instance(1, 0, "127.0.0.1:21000", InstanceState.READY),),
    )
    state = replace(live(), blue=slot)
    begin = Begin(Kind.SWITCH, "v2", Policy(), "anna")
    refusal = refuse(step(state, HOLD, 10.0), begin)
    assert refusal is not None
    assert refusal.message == "cannot switch to v2: requests are held"
    running = step(state, begin, 10.0)
    assert running.rollout is not None
    refusal = refuse(running, HOLD)
    assert refusal is not None
    assert refusal.why is Why.BUSY


def test_it_can_be_ended_while_nothing_can_be_saved():
    state = replace(step(live(), HOLD, 10.0), store_trouble="the disk is full")
    assert refuse(state, OFF) is None
    assert refuse(replace(live(), store_trouble="the disk is full"), HOLD) is not None


def test_what_is_asked_for_and_what_is_shown():
    assert maintenance_request({"on": True, "hold": 30}).hold == 30.0
    told = shown(step(live(), HOLD, 10.0))
    assert told is not None
    assert told["hold"] == 20.0


def test_a_config_of_an_older_reld_holds_nobody():
    line = mark(5, replace(SERVED, maintenance=Closed()))
    older = line.replace(', "hold": 0.0', "")
    assert older != line
    assert read_back(older) == (5, replace(SERVED, maintenance=Closed()))
