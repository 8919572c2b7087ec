"""How much time the log says has passed."""

from __future__ import annotations

_LATE = 5


def passed(last: int | None, second: int, longest: int) -> tuple[int, int]:
    """The newest second, and how many seconds have passed since `last` (None: the first sample).

    Lines that are a few seconds late belong to now; a clock that was set back costs nothing, and a
    gap or a leap counts for `longest` seconds at most.
    """
    if last is None:
        return second, 0
    if last - _LATE <= second <= last:
        return last, 0
    return second, min(longest, max(0, second - last))
