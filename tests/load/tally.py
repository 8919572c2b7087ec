"""What clients saw."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Failure(NamedTuple):
    kind: str  # connect, reset, eof, timeout, status, mixed, protocol
    detail: str
    when: float  # time.monotonic(), the same clock in all processes


class Closed(NamedTuple):
    """The end of a websocket that the client did not ask for."""

    code: int  # 1006: the connection ended without a close frame
    release: str
    when: float


@dataclass(slots=True)
class Seen:
    """One release's answers; `first` and `last` are the begins (monotonic seconds) of its first and last request."""

    count: int
    first: float
    last: float


@dataclass(slots=True)
class Tally:
    """Results of one client or of many. Latencies are seconds; `began[i]` belongs to `latencies[i]`."""

    ok: int = 0
    retried: int = 0  # HTTP/2 only: streams that the server declared unprocessed (GOAWAY)
    failed: list[Failure] = field(default_factory=list)
    closed: list[Closed] = field(default_factory=list)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    began: array[float] = field(default_factory=lambda: array("d"))
    releases: dict[str, Seen] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.ok + len(self.failed)

    def succeed(self, release: str, began: float) -> None:
        self.ok += 1
        self.began.append(began)
        self.latencies.append(time.monotonic() - began)
        seen = self.releases.get(release)
        if seen is None:
            self.releases[release] = Seen(1, began, began)
        else:
            seen.count += 1
            seen.first = min(seen.first, began)
            seen.last = max(seen.last, began)

    def fail(self, kind: str, detail: str) -> None:
        self.failed.append(Failure(kind, detail, time.monotonic()))

    def kinds(self) -> Counter[str]:
        return Counter(failure.kind for failure in self.failed)

    def percentile(
        self, percent: float, spans: Iterable[tuple[float, float]] | None = None
    ) -> float:
        """Latency in seconds; with `spans`, of the requests begun within one of them. NaN without any."""
        values = sorted(self.within(spans) if spans is not None else self.latencies)
        if not values:
            return float("nan")
        return values[min(len(values) - 1, int(len(values) * percent / 100))]

    def within(self, spans: Iterable[tuple[float, float]]) -> list[float]:
        spans = list(spans)
        return [
            latency
            for latency, began in zip(self.latencies, self.began, strict=True)
            if any(start <= began < end for start, end in spans)
        ]

    def add(self, other: Tally) -> None:
        self.ok += other.ok
        self.retried += other.retried
        self.failed += other.failed
        self.closed += other.closed
        self.latencies += other.latencies
        self.began += other.began
        for release, theirs in other.releases.items():
            mine = self.releases.get(release)
            if mine is None:
                self.releases[release] = Seen(theirs.count, theirs.first, theirs.last)
            else:
                mine.count += theirs.count
                mine.first = min(mine.first, theirs.first)
                mine.last = max(mine.last, theirs.last)

    @classmethod
    def together(cls, tallies: Iterable[Tally]) -> Tally:
        whole = cls()
        for tally in tallies:
            whole.add(tally)
        return whole
