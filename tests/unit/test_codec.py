"""The codec: what was written is what is read, and anything else is named."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from reld.core.model import (
    Color,
    Counts,
    Exit,
    Gate,
    Good,
    Hook,
    HookState,
    Identity,
    Instance,
    InstanceState,
    Kind,
    Loaded,
    Mark,
    Outcome,
    Phase,
    Rest,
    Rollout,
    Routing,
    Slot,
    State,
    Target,
    Watch,
)
from reld.core.policy import Policy, SlotPolicy
from reld.core.verdict.finding import Finding, Verdict
from reld.core.verdict.settings import VerdictSettings
from reld.errors import StoreError
from reld.store import codec


class Fruit(StrEnum):
    APPLE = "apple"


@dataclass(frozen=True, slots=True)
class Part:
    size: float
    fruit: Fruit = Fruit.APPLE


@dataclass(frozen=True, slots=True)
class Whole:
    name: str
    parts: tuple[Part, ...] = ()
    part: Part | None = None
    count: int = 1
    on: bool = False
    labels: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WholeOfLater:
    name: str
    added: int = 7


def full_state() -> State:
    instance = Instance(
        number=3,
        index=0,
        address="127.0.0.1:21003",
        state=InstanceState.EXITED,
        identity=Identity(41, 99, "boot"),
        deadline=12.5,
        exit=Exit(signal=9),
        detail="ünïcode \udc80",
    )
    slot = Slot(Color.BLUE, "v1", 1, SlotPolicy(instances=2), (instance, instance))
    routing = Routing(Target(Color.BLUE, "v1", ("127.0.0.1:21003", "unix:/run/x")), None, 4)
    rollout = Rollout(
        id=4,
        kind=Kind.SWITCH,
        phase=Phase.SHIFTING,
        since=1.5,
        began=1.0,
        policy=Policy(steps=(1, 100), hooks=("before_start",)),
        from_="v1",
        old=Color.BLUE,
        turning=Outcome.ROLLED_BACK,
        prepared=True,
        hooks=(Hook("before_start", HookState.DONE, 1, 9.0),),
        blue=Counts(10, 1),
        marks=(Mark(Phase.PREPARING, 1.0),),
    )
    return State(
        app="web",
        boot="boot",
        blue=slot,
        gate=Gate(Loaded(5, routing), Loaded(6, routing), (Loaded(4, Routing()),)),
        rollout=rollout,
        good=(Good("v1", 1, sealed=True),),
        resting=(Rest("127.0.0.1:1", 3.0),),
    )


def test_a_full_state_is_read_as_it_was_written() -> None:
    assert codec.loads(State, codec.dumps(full_state())) == full_state()


def test_a_state_from_before_the_watch_is_read_with_nothing_known_against_the_candidate() -> None:
    text = (Path(__file__).parents[1] / "fakes/state_of_schema_1.json").read_text("utf-8")
    rollout = codec.loads(State, text).rollout
    assert rollout is not None
    assert (rollout.phase, rollout.policy.steps) == (Phase.SHIFTING, (5, 50, 100))
    assert (rollout.watch, rollout.skipped, rollout.unshielded) == (Watch(), (), False)
    assert rollout.policy.verdict == VerdictSettings()


def test_a_watch_is_read_as_it_was_written() -> None:
    state, finding = full_state(), Finding(Verdict.WORSE, "v2 failed", odds=5300.0, errors=1.0)
    assert state.rollout is not None
    watched = dataclasses.replace(
        state.rollout,
        watch=Watch(12.5, 22.5, finding, 38.5),
        policy=Policy(verdict=VerdictSettings(max_p95=0.8, routes=("checkout",), act=False)),
        green=Counts(140, 0, 7, 7),
        skipped=(5, 25),
    )
    state = dataclasses.replace(state, rollout=watched)
    assert codec.loads(State, codec.dumps(state)) == state


def test_an_empty_state_is_read_as_it_was_written() -> None:
    state = State(app="web", boot="b")
    assert codec.loads(State, codec.dumps(state)) == state


def test_every_field_is_written_also_when_it_has_its_default() -> None:
    assert json.loads(codec.dumps(Whole("x"))) == {
        "name": "x",
        "parts": [],
        "part": None,
        "count": 1,
        "on": False,
        "labels": {},
    }


def test_a_missing_field_has_its_default() -> None:
    assert codec.loads(WholeOfLater, '{"name":"x"}') == WholeOfLater("x", 7)


def test_a_whole_number_is_good_enough_for_a_float_and_becomes_one() -> None:
    size = codec.loads(Part, '{"size":3}').size
    assert isinstance(size, float)
    assert size == 3.0


def test_an_unknown_field_is_named_with_its_place() -> None:
    with pytest.raises(StoreError, match=r"Whole\.parts\[1\]: .* field 'colour'"):
        codec.loads(Whole, '{"name":"x","parts":[{"size":1},{"size":2,"colour":"red"}]}')


def test_a_missing_field_without_default_is_named() -> None:
    with pytest.raises(StoreError, match="Whole: its field 'name' is missing"):
        codec.loads(Whole, "{}")


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ({"name": 1}, r"Whole\.name: expected text, found int"),
        ({"name": None}, r"Whole\.name: expected text, found null"),
        ({"name": "x", "count": True}, r"Whole\.count: expected a whole number"),
        ({"name": "x", "count": 1.0}, r"Whole\.count: expected a whole number"),
        ({"name": "x", "on": 1}, r"Whole\.on: expected true or false"),
        ({"name": "x", "parts": {}}, r"Whole\.parts: expected a list"),
        ({"name": "x", "part": []}, r"Whole\.part: expected an object"),
        ({"name": "x", "part": {"size": "1"}}, r"Whole\.part\.size: expected a number"),
        ({"name": "x", "part": {"size": 1, "fruit": "pear"}}, "'pear' is none of apple"),
        ({"name": "x", "labels": {"a": 1}}, r"Whole\.labels\.a: expected text"),
        ([], "Whole: expected an object"),
    ],
)
def test_a_wrong_type_is_named_with_its_place(raw: Any, place: str) -> None:
    with pytest.raises(StoreError, match=place):
        codec.decode(Whole, raw)


@pytest.mark.parametrize("text", ['{"size":NaN}', '{"size":Infinity}', f'{{"size":1{"0" * 400}}}'])
def test_a_number_that_is_not_finite_is_refused_on_reading(text: str) -> None:
    with pytest.raises(StoreError, match="not finite"):
        codec.loads(Part, text)


def test_a_number_that_is_not_finite_is_refused_on_writing() -> None:
    with pytest.raises(StoreError, match="cannot write Part"):
        codec.dumps(Part(math.inf))


@pytest.mark.parametrize("text", ["", '{"name":"x"', "[" * 100_000])
def test_torn_text_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="not JSON"):
        codec.loads(Whole, text)
