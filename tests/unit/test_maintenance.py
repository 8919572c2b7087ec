"""Closing the gate on purpose: what is asked for, what follows from it, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld.api.maintenance import LARGEST_PAGE, maintenance_request, shown
from reld.core.commands import Why, refuse
from reld.core.events import End, ReloadEnded
from reld.core.machine import first_state, step
from reld.core.maintenance import Maintain, already, in_effect, pages
from reld.core.model import Closed, Maintenance, State
from reld.errors import BadRequest
from reld.store.codec import dumps, loads

ON = Maintain(Maintenance(Closed("page-0123456789abcdef.html"), "today", "anna", "new disk"))
OFF = Maintain(None)


def served(state: State, at: float) -> State:
    """The gate takes what it is given."""
    flying = state.gate.in_flight
    return step(state, ReloadEnded(flying.generation, End.VERIFIED), at) if flying else state


def test_it_is_brought_about_by_a_verified_reload():
    state = step(first_state("web", "boot-1"), ON, 10.0)
    assert state.gate.in_flight is not None
    assert not in_effect(state)
    state = served(state, 10.5)
    assert in_effect(state)
    assert state.gate.verified.routing.maintenance == ON.maintenance.closed
    state = step(state, OFF, 20.0)
    assert not in_effect(state)
    assert in_effect(served(state, 20.5))


def test_a_reload_of_unknown_end_is_not_in_effect():
    state = step(first_state("web", "boot-1"), ON, 10.0)
    state = step(state, ReloadEnded(state.gate.in_flight.generation, End.UNKNOWN), 12.0)
    assert not in_effect(state)
    assert pages(state) == {ON.maintenance.closed.page}


def test_said_twice_it_is_already_so_and_the_first_is_kept():
    state = step(first_state("web", "boot-1"), ON, 10.0)
    again = Maintain(replace(ON.maintenance, since="tomorrow", actor="bert"))
    assert already(state, again)
    assert step(state, again, 11.0).maintenance == ON.maintenance
    other = Maintain(replace(ON.maintenance, closed=Closed(allow=("192.0.2.0/24",))))
    assert not already(state, other)
    assert step(state, other, 11.0).maintenance == other.maintenance
    assert already(first_state("web", "boot-1"), OFF)


def test_what_cannot_be_remembered_is_refused():
    state = replace(first_state("web", "boot-1"), store_trouble="the disk is full")
    for wish in (ON, OFF):
        refusal = refuse(state, wish)
        assert refusal is not None
        assert refusal.why is Why.OPERATOR


def test_it_is_in_the_state_and_an_older_state_has_none():
    state = step(first_state("web", "boot-1"), ON, 10.0)
    text = dumps(state)
    assert loads(State, text) == state
    plain = dumps(first_state("web", "boot-1"))
    older = plain.replace(',"maintenance":null', "")
    assert older != plain
    assert loads(State, older) == first_state("web", "boot-1")


def test_what_is_shown_says_whether_the_gate_obeys():
    assert shown(first_state("web", "boot-1")) is None
    state = step(first_state("web", "boot-1"), ON, 10.0)
    told = shown(state)
    assert told == {
        "hold": None,
        "since": "today",
        "by": "anna",
        "reason": "new disk",
        "page": True,
        "allow": [],
        "in_effect": False,
    }


def test_networks_are_written_in_one_way_and_once():
    asked = maintenance_request({"on": True, "allow": ["192.0.2.9/24", "192.0.2.0/24", "::1"]})
    assert asked.allow == ("192.0.2.0/24", "::1/128")


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"on": 1},
        {"on": False, "page": "x"},
        {"on": False, "allow": ["::1"]},
        {"on": True, "page": ""},
        {"on": True, "page": 7},
        {"on": True, "page": "\ud800"},
        {"on": True, "page": "x" * (LARGEST_PAGE + 1)},
        {"on": True, "allow": "192.0.2.0/24"},
        {"on": True, "allow": ["192.0.2.0/33"]},
        {"on": True, "allow": [7]},
        {"on": True, "allow": ["::1"] * 201},
        {"on": True, "reason": "a\nb"},
        {"on": True, "held": 1},
        {"on": True, "hold": 0.5},
        {"on": True, "hold": 31},
        {"on": True, "hold": "30s"},
        {"on": True, "hold": True},
        {"on": True, "hold": 5, "page": "x"},
        {"on": False, "hold": 5},
    ],
)
def test_what_makes_no_sense_is_refused(body: object):
    with pytest.raises(BadRequest):
        maintenance_request(body)
