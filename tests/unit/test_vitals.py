"""Growth that does not stop is told from a process that warms up."""

from __future__ import annotations

import pytest

from reld.host.vitals import growth
from reld.processes.resources import Usage

MIB = 1 << 20


def seen(*mebibytes: float, every: float = 2.0):
    return tuple((n * every, Usage(rss_bytes=int(m * MIB))) for n, m in enumerate(mebibytes))


def test_a_few_looks_say_nothing():
    assert growth(seen(*range(7))) is None


def test_a_leak_is_measured_in_bytes_per_minute():
    assert growth(seen(*(100 + n for n in range(30)))) == pytest.approx(30 * MIB, rel=0.01)


def test_a_process_that_warms_up_stops_growing():
    warming = [100 + min(n, 10) * 5 for n in range(60)]
    assert growth(seen(*warming)) == pytest.approx(0, abs=MIB)


def test_a_flat_process_does_not_grow():
    assert growth(seen(*[100, 101] * 20)) == pytest.approx(0, abs=MIB)
