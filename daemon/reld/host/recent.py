"""What the live slot did lately: how many requests, and how long they took to the first byte."""

from __future__ import annotations

from collections import deque

from reld.core.model import Color
from reld.core.verdict.sample import LAST_BUCKET, Tally, upper

RATE_OVER = 600.0
"""Seconds over which requests per second are counted; at least a minute of it must have been seen."""
RATE_AT_LEAST = 60.0
SHOWN = 10.0
"""Seconds of traffic that are shown to people."""
_BIN = 10
_FORGET_AT = 50_000
"""Timed requests after which every count is halved: an hour of a small app, and bounded for a big one."""


class Recent:
    """Times are seconds of any clock that does not jump (`now` is given)."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._bins: deque[tuple[int, int]] = deque()
        self.times: dict[int, int] = {}

    def add(self, tally: Tally, now: float) -> None:
        """Requests of both slots count for the rate; give the live slot's tally to `learn` too."""
        number = int(now // _BIN)
        if self._bins and self._bins[-1][0] == number:
            number, had = self._bins.pop()
            self._bins.append((number, had + tally.requests))
        else:
            self._bins.append((number, tally.requests))
        while self._bins and self._bins[0][0] * _BIN < now - RATE_OVER:
            self._bins.popleft()

    def learn(self, tally: Tally) -> None:
        for bucket, count in tally.times:
            self.times[bucket] = self.times.get(bucket, 0) + count
        if sum(self.times.values()) > _FORGET_AT:
            self.times = {b: c // 2 for b, c in self.times.items() if c // 2}

    def rate(self, now: float) -> float | None:
        """Requests per second; None: not watched for long enough."""
        seen = min(RATE_OVER, now - self._since)
        if seen < RATE_AT_LEAST:
            return None
        return sum(count for _, count in self._bins) / seen

    @property
    def slowest(self) -> float | None:
        """Seconds to the first byte of the slowest request of the last hour or so; None: there was none."""
        longest = max(self.times, default=None)
        return None if longest is None else min(upper(longest), upper(LAST_BUCKET - 1))

    @property
    def histogram(self) -> tuple[tuple[int, int], ...]:
        """(bucket, count), ascending."""
        return tuple(sorted(self.times.items()))


class Lately:
    """What each slot was dealt in the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Color, Tally]] = deque()

    def add(self, color: Color, tally: Tally, now: float) -> None:
        self._seen.append((now, color, tally))
        while self._seen[0][0] < now - SHOWN:
            self._seen.popleft()

    def of_each(self, now: float) -> dict[Color, tuple[float, Tally]]:
        """Over how many seconds, and the counts. May be asked from another thread."""
        found: dict[Color, list[Tally]] = {}
        for at, color, tally in tuple(self._seen):
            if at >= now - SHOWN:
                found.setdefault(color, []).append(tally)
        return {color: (SHOWN, _sum(tallies)) for color, tallies in found.items()}


def _sum(tallies: list[Tally]) -> Tally:
    """As `sum` would, ten times as fast: it is asked for by everybody who watches."""
    times: dict[int, int] = {}
    for tally in tallies:
        for number, count in tally.times:
            times[number] = times.get(number, 0) + count
    return Tally(
        sum(tally.requests for tally in tallies),
        sum(tally.failures for tally in tallies),
        sum(tally.refusals for tally in tallies),
        tuple(sorted(times.items())),
    )


def percentile(times: dict[int, int], fraction: float) -> float | None:
    """Seconds that this fraction of the requests did not exceed; None: there were none."""
    left = fraction * sum(times.values())
    for bucket in sorted(times):
        left -= times[bucket]
        if left <= 0:
            return upper(bucket)
    return None
