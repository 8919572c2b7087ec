"""Which releases go: as a table, and as what can never happen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reld.core.commands import way_back
from reld.core.model import (
    Color,
    Gate,
    Good,
    Kind,
    Loaded,
    Phase,
    Rollout,
    Routing,
    Slot,
    State,
    Target,
)
from reld.core.policy import Policy, SlotPolicy
from reld.core.prune import Unpacked, needed, to_prune


def slot(release: str, color: Color) -> Slot:
    return Slot(color, release, snapshot=1, instances=(), policy=SlotPolicy())


def state(live: str = "", good: str = "", other: str = "") -> State:
    """`good`: the stack, oldest first. `other`: what the second slot holds."""
    stack = tuple(Good(name, n) for n, name in enumerate(good.split()))
    target = Target(Color.BLUE, live, ("127.0.0.1:1",)) if live else None
    return State(
        "web",
        "boot",
        blue=slot(live, Color.BLUE) if live else None,
        green=slot(other, Color.GREEN) if other else None,
        good=stack,
        gate=Gate(verified=Loaded(1, Routing(default=target))),
    )


def found(names: str) -> list[Unpacked]:
    """Oldest first."""
    return [Unpacked(name, float(at)) for at, name in enumerate(names.split())]


@pytest.mark.parametrize(
    ("there", "keep", "known", "goes"),
    [
        ("v1 v2 v3", 0, state(), ""),
        ("v1 v2 v3", 3, state(), ""),
        ("v1 v2 v3", 2, state(), "v1"),
        ("v1 v2 v3", 1, state(), "v1 v2"),
        ("v1 v2 v3 v4", 1, state("v1", "v1"), "v2 v3"),
        ("v1 v2 v3 v4", 1, state("v2", "v1 v2"), "v3"),
        ("v1 v2 v3 v4", 1, state("v3", "v1 v2 v3"), "v1"),
        ("v0 v1 v2 v3 v4", 1, state("v4", "v0 v2 v3", other="v1"), "v0"),
        ("v1 v2 v3 v4", 2, state("", "v1 v2"), ""),
        ("v1 v2 v3 v4 v5", 2, state("", "v1 v3"), "v2"),
        ("v2", 1, state("v9", "v9"), ""),
    ],
)
def test_the_oldest_go_and_what_is_needed_stays(there, keep, known, goes):
    assert to_prune(found(there), keep, known) == tuple(goes.split())


def test_nothing_goes_while_a_rollout_runs():
    running = Rollout(
        id=1, kind=Kind.SWITCH, phase=Phase.BAKING, since=1.0, began=1.0, policy=Policy()
    )
    assert to_prune(found("v1 v2 v3"), 1, replace(state(), rollout=running)) == ()


def test_the_newest_are_those_that_were_unpacked_last():
    there = [Unpacked("v9", 1.0), Unpacked("v1", 2.0)]
    assert to_prune(there, 1, state()) == ("v9",)


NAMES = st.sampled_from([f"v{n}" for n in range(8)])


@given(
    there=st.dictionaries(NAMES, st.floats(0, 100)),
    keep=st.integers(0, 5),
    live=NAMES,
    other=st.one_of(st.just(""), NAMES),
    good=st.lists(NAMES, unique=True),
)
def test_a_rollback_finds_its_release_whatever_was_pruned(there, keep, live, other, good):
    known = state(live, " ".join(good), other)
    gone = to_prune([Unpacked(name, at) for name, at in there.items()], keep, known)
    assert set(gone) <= there.keys() - needed(known)
    back = way_back(known)
    assert back is None or back.release not in gone
    assert live not in gone
    assert len(gone) <= max(0, len(there) - keep)
