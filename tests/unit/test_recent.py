"""What is known of the live slot's last minutes."""

from __future__ import annotations

import pytest

from reld.core.verdict.sample import Tally, bucket
from reld.host.recent import Recent, percentile


def test_the_rate_is_not_known_before_a_minute_was_seen():
    recent = Recent(since=1_000.0)
    recent.add(Tally(requests=500), 1_030.0)
    assert recent.rate(1_059.0) is None
    assert recent.rate(1_100.0) == pytest.approx(5.0)


def test_no_requests_in_a_minute_is_a_rate_of_nothing():
    assert Recent(since=1_000.0).rate(1_061.0) == 0.0


def test_the_rate_forgets_what_is_older_than_ten_minutes():
    recent = Recent(since=0.0)
    for second in range(0, 1_200, 10):
        recent.add(Tally(requests=100 if second < 600 else 10), float(second))
    assert recent.rate(1_200.0) == pytest.approx(1.0, rel=0.2)


def test_times_are_remembered_within_bounds():
    recent = Recent(since=0.0)
    for _ in range(1_000):
        recent.learn(Tally(times=((bucket(0.01), 100), (bucket(0.5), 1))))
    assert sum(count for _, count in recent.histogram) <= 50_000
    assert percentile(recent.times, 0.5) == pytest.approx(0.01, rel=0.11)
    assert percentile(recent.times, 0.999) == pytest.approx(0.5, rel=0.11)


def test_no_times_have_no_percentile():
    assert percentile({}, 0.95) is None
