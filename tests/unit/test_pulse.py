"""Is the feed silent? Only a beat that was answered and never heard says so."""

from __future__ import annotations

import pytest

from reld.host import pulse
from reld.host.pulse import LOST_AFTER, Pulse


class Gate:
    def __init__(self):
        self.answers = True
        self.beats = []

    async def beat(self, number):
        self.beats.append(number)
        return self.answers


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(pulse, "boottime", lambda: now[0])
    return now


async def test_a_beat_that_never_comes_back_is_silence_until_one_does(clock):
    gate = Gate()
    found = Pulse(gate)
    await found.beat()
    assert found.silence() == ""
    clock[0] += LOST_AFTER + 1
    assert "stays silent" in found.silence()
    await found.beat()
    found.heard(gate.beats[-1])
    assert found.silence() == ""


async def test_a_gate_that_does_not_answer_says_nothing_of_its_log(clock):
    gate = Gate()
    gate.answers = False
    found = Pulse(gate)
    await found.beat()
    clock[0] += 60
    assert found.silence() == ""


async def test_what_is_on_its_way_while_nobody_reads_says_nothing(clock):
    found = Pulse(Gate())
    await found.beat()
    found.forget()
    clock[0] += 60
    assert found.silence() == ""
