"""What every slot has answered since reld came, release by release: it only ever grows.

Counted where the log is read, a few additions for each batch of lines, and asked by /metrics from other
threads.
"""

from __future__ import annotations

import bisect
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from reld.core.model import Color
from reld.core.verdict.sample import LAST_BUCKET, Tally, upper
from reld.metrics.facts import BOUNDS, Answered, Feed
from reld.nginx.counting import Counted, Seen

RELEASES = 5
"""The releases that were counted last; what was before is forgotten: labels must not grow for ever."""
_MIDDLE = 1.1**-0.5
_LONGEST = 100.0  # seconds: what the last bucket begins with
_TYPICAL = tuple(
    _LONGEST if number >= LAST_BUCKET else upper(number) * _MIDDLE
    for number in range(LAST_BUCKET + 1)
)
"""The middle of each of the detector's buckets, which are a tenth wide: right to 5 %."""
_PLACE = tuple(bisect.bisect_left(BOUNDS, seconds) for seconds in _TYPICAL)


@dataclass(slots=True)
class _Sum:
    seen: Seen = Seen()
    times: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0


class Totals:
    """May be asked from another thread than the one that adds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: OrderedDict[tuple[str, Color], _Sum] = OrderedDict()
        self._feed = Feed()

    def add(
        self,
        counted: Counted,
        colors: Sequence[Color | None],
        releases: Sequence[str],
        wall: float,
    ) -> None:
        """Of the old slot and of the new one; None: there is none. `wall`: seconds since 1970."""
        with self._lock:
            for color, release, seen in zip(
                colors, releases, (counted.old, counted.new), strict=True
            ):
                if color is not None and release and seen != Seen():
                    self._of(release, color).seen += seen
            for sample in counted.samples:
                for color, release, tally in zip(
                    colors, releases, (sample.old, sample.new), strict=True
                ):
                    if color is not None and release and tally.times:
                        _time(self._of(release, color), tally)
            had = self._feed
            self._feed = Feed(
                last_line=wall,
                lines=had.lines + counted.lines,
                nonsense=had.nonsense + counted.nonsense,
                turned_away=had.turned_away + counted.turned_away,
            )

    def answered(self) -> tuple[Answered, ...]:
        with self._lock:
            return tuple(
                Answered(
                    str(color),
                    release,
                    found.seen.total,
                    found.seen.errors,
                    found.seen.saved,
                    found.seen.attempts,
                    found.seen.failures,
                    tuple(found.times),
                    found.seconds,
                )
                for (release, color), found in sorted(self._sums.items(), key=_name)
            )

    @property
    def feed(self) -> Feed:
        """Without what only the sensor knows."""
        return self._feed

    def _of(self, release: str, color: Color) -> _Sum:
        key = (release, color)
        if key not in self._sums:
            self._sums[key] = _Sum()
        self._sums.move_to_end(key)
        known = dict.fromkeys(name for name, _ in reversed(self._sums))
        for old in tuple(known)[RELEASES:]:
            for slot in Color:
                self._sums.pop((old, slot), None)
        return self._sums[key]


def _time(found: _Sum, tally: Tally) -> None:
    for number, count in tally.times:
        found.times[_PLACE[number]] += count
        found.seconds += _TYPICAL[number] * count


def _name(item: tuple[tuple[str, Color], _Sum]) -> tuple[str, Color]:
    return item[0]
