"""What the slots have answered since reld came: it only grows, and its labels do not."""

from __future__ import annotations

import math

from reld.core.model import Color
from reld.core.verdict.sample import LAST_BUCKET, Sample, Tally, bucket, upper
from reld.host.totals import RELEASES, Totals
from reld.metrics.facts import BOUNDS
from reld.nginx.counting import Counted, Seen

BOTH = (Color.BLUE, Color.GREEN)


def batch(old=0, new=0, seconds=0.02, **rest):
    times = ((bucket(seconds), old),) if old else ()
    sample = Sample(1, 5, Tally(old, 0, 0, times), Tally(new, 0, 0, ()))
    return Counted((sample,), Seen(old, attempts=old), Seen(new, 1, 2, new, 3), old + new, **rest)


def test_each_slot_is_counted_under_its_release():
    totals = Totals()
    totals.add(batch(10, 5), BOTH, ("v1", "v2"), 1.0)
    totals.add(batch(10, 5), BOTH, ("v1", "v2"), 2.0)
    blue, green = totals.answered()
    assert (blue.slot, blue.release, blue.total, blue.errors) == ("blue", "v1", 20, 0)
    assert (green.release, green.total, green.errors, green.saved) == ("v2", 10, 2, 4)
    assert (green.attempts, green.failures) == (10, 6)


def test_what_belongs_to_no_release_is_not_counted():
    totals = Totals()
    totals.add(batch(10, 5), (Color.BLUE, None), ("", "v2"), 1.0)
    assert totals.answered() == ()


def test_a_slot_that_did_nothing_makes_no_series():
    totals = Totals()
    totals.add(Counted(), BOTH, ("v1", "v2"), 1.0)
    assert totals.answered() == ()


def test_times_are_in_the_bucket_that_they_belong_to_within_five_percent():
    for number in range(LAST_BUCKET):
        seconds = min(upper(number), 99.0)
        totals = Totals()
        totals.add(batch(1, seconds=seconds), BOTH, ("v1", ""), 1.0)
        (found,) = totals.answered()
        place = found.times.index(1)
        above = BOUNDS[place] if place < len(BOUNDS) else math.inf
        below = BOUNDS[place - 1] if place else 0.0
        assert below * 0.95 <= seconds <= above * 1.05
        assert found.seconds <= seconds * 1.05


def test_what_is_slower_than_everything_is_counted_too():
    totals = Totals()
    totals.add(batch(3, seconds=1e6), BOTH, ("v1", ""), 1.0)
    (found,) = totals.answered()
    assert found.times[-1] == 3
    assert math.isfinite(found.seconds)


def test_only_so_many_releases_are_remembered_and_the_newest_are():
    totals = Totals()
    for number in range(RELEASES + 3):
        totals.add(batch(1, 1), BOTH, ("live", f"v{number}"), 1.0)
    releases = {found.release for found in totals.answered()}
    newest = {f"v{n}" for n in range(4, RELEASES + 3)}
    assert releases == newest | {"live"}


def test_the_feed_says_when_a_line_came_and_what_the_gate_did_itself():
    totals = Totals()
    assert totals.feed.last_line is None
    totals.add(batch(3, turned_away=2, nonsense=1), BOTH, ("v1", ""), 7.0)
    totals.add(batch(3, turned_away=2), BOTH, ("v1", ""), 9.0)
    feed = totals.feed
    assert (feed.last_line, feed.lines, feed.turned_away, feed.nonsense) == (9.0, 6, 4, 1)
