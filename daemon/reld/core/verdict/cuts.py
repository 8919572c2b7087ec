"""Cut points: above which bucket is a request slow, by the old slot's own times?"""

from __future__ import annotations

from reld.core.verdict.sample import LAST_BUCKET, bucket

_LEAST = bucket(0.01)  # nobody feels less


def cut(history: tuple[float, ...], tail: float) -> int:
    """The lowest bucket with no more than this part of the requests above it."""
    left = tail * sum(history)
    for number in range(LAST_BUCKET, _LEAST, -1):
        left -= history[number]
        if left < 0:
            return number
    return _LEAST


def added(history: tuple[float, ...], times: tuple[tuple[int, int], ...]) -> tuple[float, ...]:
    """The histogram with more requests."""
    if not times:
        return history
    sums = list(history)
    for number, count in times:
        sums[number] += count
    return tuple(sums)
