"""Failpoints kill where they are told to, and only there."""

from __future__ import annotations

import os
import signal

import pytest

from reld import failpoints
from reld.core.effects import AwaitExit, MoveLanes


@pytest.fixture
def kills(monkeypatch):
    seen: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: seen.append(number))
    return seen


def reach(text: str):
    return failpoints.from_environment({failpoints.VARIABLE: text})


def test_without_the_variable_nothing_is_compared():
    assert failpoints.from_environment({}) is failpoints.nowhere


def test_it_kills_at_the_named_effect_and_not_at_another(kills):
    point = reach("after:move-lanes")
    point("before", MoveLanes(1, 5))
    point("after", AwaitExit(1))
    assert kills == []
    point("after", MoveLanes(1, 5))
    assert kills == [signal.SIGKILL]


def test_it_kills_once_at_the_time_that_was_asked_for(kills):
    point = reach("before:persist:2")
    for _ in range(4):
        point("before", "persist")
    assert kills == [signal.SIGKILL]


@pytest.mark.parametrize("text", ["reload", "during:reload", "after:Reload", "after:reload:0"])
def test_a_point_that_cannot_be_is_refused(text):
    with pytest.raises(ValueError, match=failpoints.VARIABLE):
        reach(text)


def test_a_point_in_a_file_counts_from_when_the_file_says_it(kills, tmp_path):
    file = tmp_path / "failpoint"
    point = reach(f"@{file}")
    point("before", "persist")
    file.write_text("before:persist:2\n")
    point("before", "persist")
    assert kills == []
    point("before", "persist")
    assert kills == [signal.SIGKILL]


def test_a_file_that_is_taken_away_ends_it(kills, tmp_path):
    file = tmp_path / "failpoint"
    file.write_text("after:reload:2")
    point = reach(f"@{file}")
    point("after", "reload")
    file.unlink()
    point("after", "reload")
    file.write_text("after:reload:2")
    point("after", "reload")
    assert kills == []
