"""What the sensor says of one span of time: first attempts per slot, never retries.

First attempts were dealt to the slots by chance; retries were not, and would blame whoever helps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_FACTOR = math.log(1.1)
_FIRST = 0.001  # nginx measures in milliseconds
LAST_BUCKET = 122
"""The bucket of everything slower than 100 s."""


def bucket(seconds: float) -> int:
    """The histogram bucket of a time to the first byte; each is a tenth wider than the one before."""
    if seconds <= _FIRST:
        return 0
    return min(LAST_BUCKET, math.ceil(math.log(seconds / _FIRST) / _FACTOR))


def upper(number: int) -> float:
    """The longest time (seconds) that falls into a bucket; the last one has no end."""
    return math.inf if number >= LAST_BUCKET else float(_FIRST * 1.1**number)


@dataclass(frozen=True, slots=True)
class Tally:
    """First attempts that one slot was dealt.

    `requests`: all of them; `failures`: 5xx, refused, timed out, reset, or not what the route calls
    success; `refusals`: 4xx. `times`: (bucket, count), sparse and ascending, of the time to the first
    byte of those that are judged by it: no streams, and no more than the thinned share of a log that
    is being thinned.
    """

    requests: int = 0
    failures: int = 0
    refusals: int = 0
    times: tuple[tuple[int, int], ...] = ()

    def __add__(self, more: Tally) -> Tally:
        times = dict(self.times)
        for number, count in more.times:
            times[number] = times.get(number, 0) + count
        return Tally(
            self.requests + more.requests,
            self.failures + more.failures,
            self.refusals + more.refusals,
            tuple(sorted(times.items())),
        )

    @property
    def timed(self) -> int:
        return sum(count for _, count in self.times)

    def slower(self, than: int) -> int:
        """How many are in a higher bucket than this one."""
        return sum(count for number, count in self.times if number > than)


@dataclass(frozen=True, slots=True)
class RouteTally:
    """The failures of one named route. `old`, `new`: requests and failures of each slot."""

    name: str
    old: Tally = Tally()
    new: Tally = Tally()


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything that ended in (a part of) one second of the log's own wall clock.

    `old` is the slot that was live when the rollout began, `new` the candidate. `share`: percent of
    the lanes that the candidate had when it was read. `failed_at`: where the candidate's failures
    were, as (route and method, count). `old_waiting`, `new_waiting`: requests that have had no byte
    of an answer for a second or more (None: not measured in this span).
    """

    second: int
    share: int
    old: Tally = Tally()
    new: Tally = Tally()
    routes: tuple[RouteTally, ...] = ()
    failed_at: tuple[tuple[str, int], ...] = ()
    old_waiting: int | None = None
    new_waiting: int | None = None
