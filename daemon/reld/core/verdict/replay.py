"""A rollout judged again, from its own counts: what would have been found, and when?

What is kept of a rollout is a list of rows, plain JSON: one for each second, one for each move of the
lanes (`["step", second, share]`), one for what was known before (`["times", [bucket, count, …]]`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from reld.core.verdict import detector
from reld.core.verdict.finding import Finding, Verdict
from reld.core.verdict.logtime import passed
from reld.core.verdict.sample import LAST_BUCKET, RouteTally, Sample, Tally
from reld.core.verdict.settings import VerdictSettings

_LONGEST_GAP = 3600


@dataclass(frozen=True, slots=True)
class Found:
    """A verdict that was not there before. `seconds` since the first row; `share` in percent."""

    seconds: int
    share: int
    finding: Finding


@dataclass(frozen=True, slots=True)
class Replayed:
    """`found`: every change of the verdict, oldest first; `last`: what was known at the end.

    `seconds`: that the rows span.
    """

    found: tuple[Found, ...]
    last: Finding
    seconds: int

    @property
    def worse(self) -> Found | None:
        """When it would have gone back first; None: never."""
        return next((one for one in self.found if one.finding.verdict is Verdict.WORSE), None)


def step_row(second: int, share: int) -> list[Any]:
    """The lanes were moved to `share` percent."""
    return ["step", second, share]


def times_row(times: tuple[tuple[int, int], ...]) -> list[Any]:
    """The live slot's times before the first step."""
    return ["times", _flat(times)]


def row(sample: Sample) -> list[Any]:
    """One second, without what is empty at the end."""
    fields: list[Any] = [
        sample.second,
        sample.share,
        _tally(sample.old),
        _tally(sample.new),
        [[route.name, _tally(route.old), _tally(route.new)] for route in sample.routes],
        [list(place) for place in sample.failed_at],
        sample.old_waiting,
        sample.new_waiting,
    ]
    while len(fields) > 2 and fields[-1] in ([], None):
        fields.pop()
    return fields


def sample_of(fields: object) -> Sample:
    """The reverse of `row`.

    Raises:
        ValueError: that is no such row; the message says what is wrong with it.
    """
    items = list(_list(fields, "a row"))
    if not 2 <= len(items) <= 8:
        raise ValueError(f"a row has 2 to 8 fields, this one has {len(items)}")
    items += [[], [], [], [], None, None][len(items) - 2 :]
    second, share, old, new, routes, places, old_waiting, new_waiting = items
    return Sample(
        _whole(second, "the second", None),
        _whole(share, "the share", 100),
        _tally_of(old, "the old slot"),
        _tally_of(new, "the candidate"),
        tuple(_route_of(one) for one in _list(routes, "the routes")),
        tuple(_place_of(one) for one in _list(places, "the places")),
        None if old_waiting is None else _whole(old_waiting, "the old slot's waiting requests"),
        None if new_waiting is None else _whole(new_waiting, "the candidate's waiting requests"),
    )


def merged(one: Sample, more: Sample) -> Sample:
    """Two parts of the same second; the later one's share, and what was measured last."""
    routes = {route.name: route for route in one.routes}
    for route in more.routes:
        known = routes.get(route.name, RouteTally(route.name))
        routes[route.name] = RouteTally(route.name, known.old + route.old, known.new + route.new)
    places = dict(one.failed_at)
    for place, count in more.failed_at:
        places[place] = places.get(place, 0) + count
    return Sample(
        more.second,
        more.share,
        one.old + more.old,
        one.new + more.new,
        tuple(routes.values()),
        tuple(places.items()),
        one.old_waiting if more.old_waiting is None else more.old_waiting,
        one.new_waiting if more.new_waiting is None else more.new_waiting,
    )


def replay(rows: Iterable[object], settings: VerdictSettings) -> Replayed:
    """Judge again, with these settings.

    Raises:
        ValueError: a row is damaged; the message says which and why.
    """
    state = detector.begin(settings)
    last: int | None = None
    clock = share = 0
    found: list[Found] = []
    finding = detector.find(state)
    for number, fields in enumerate(rows, 1):
        try:
            kind = fields[0] if isinstance(fields, list) and fields else None
            if kind == "times":
                state = detector.known_times(state, _times_of(fields))
                continue
            if kind == "step":
                second, share = _step_of(fields)
                last, past = passed(last, second, _LONGEST_GAP)
                state = detector.next_step(state, share)
            else:
                sample = sample_of(fields)
                last, past = passed(last, sample.second, _LONGEST_GAP)
                state = detector.observe(state, replace(sample, share=share))
        except ValueError as error:
            raise ValueError(f"cannot replay: row {number}: {error}") from error
        clock += past
        before, finding = finding, detector.find(state)
        if finding.verdict is not before.verdict:
            found.append(Found(clock, share, finding))
    return Replayed(tuple(found), finding, clock)


def _tally(tally: Tally) -> list[Any]:
    if not (tally.requests or tally.failures or tally.refusals or tally.times):
        return []
    return [tally.requests, tally.failures, tally.refusals, *_flat(tally.times)]


def _flat(times: tuple[tuple[int, int], ...]) -> list[int]:
    return [number for pair in times for number in pair]


def _tally_of(fields: object, of: str) -> Tally:
    items = _list(fields, of)
    if not items:
        return Tally()
    if len(items) < 3:
        raise ValueError(f"{of} has {len(items)} counts, 3 at least are needed")
    requests, failures, refusals = (_whole(item, f"a count of {of}") for item in items[:3])
    return Tally(requests, failures, refusals, _pairs(items[3:], of))


def _times_of(fields: object) -> tuple[tuple[int, int], ...]:
    items = _list(fields, "the row")
    if len(items) != 2:
        raise ValueError(f"a row of times has 2 fields, this one has {len(items)}")
    return _pairs(_list(items[1], "the times"), "the times")


def _step_of(fields: object) -> tuple[int, int]:
    items = _list(fields, "the row")
    if len(items) != 3:
        raise ValueError(f"a step has 3 fields, this one has {len(items)}")
    return _whole(items[1], "the second", None), _whole(items[2], "the share", 100)


def _pairs(items: list[Any], of: str) -> tuple[tuple[int, int], ...]:
    if len(items) % 2:
        raise ValueError(f"{of}: a bucket has no count")
    pairs = tuple(
        (
            _whole(items[i], f"a bucket of {of}", LAST_BUCKET),
            _whole(items[i + 1], f"a count of {of}"),
        )
        for i in range(0, len(items), 2)
    )
    if any(low[0] >= high[0] for low, high in pairwise(pairs)):
        raise ValueError(f"{of}: the buckets are not in order")
    return pairs


def _route_of(fields: object) -> RouteTally:
    items = _list(fields, "a route")
    if len(items) != 3 or not isinstance(items[0], str):
        raise ValueError("a route is a name and the counts of two slots")
    return RouteTally(
        items[0], _tally_of(items[1], f"route {items[0]}"), _tally_of(items[2], f"route {items[0]}")
    )


def _place_of(fields: object) -> tuple[str, int]:
    items = _list(fields, "a place")
    if len(items) != 2 or not isinstance(items[0], str):
        raise ValueError("a place is a name and a count")
    return items[0], _whole(items[1], f"the count of {items[0]}")


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is not a list but {type(value).__name__}")  # noqa: TRY004
    return value


_MANY = 10**12


def _whole(value: object, what: str, most: int | None = _MANY) -> int:
    """A whole number from 0 to `most` (None: a time, which may be anything)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{what} is not a whole number but {value!r}")  # noqa: TRY004
    if most is not None and not 0 <= value <= most:
        raise ValueError(f"{what} is not between 0 and {most} but {value}")
    return value
