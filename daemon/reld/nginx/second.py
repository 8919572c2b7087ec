"""One second of the log, as it is gathered: first attempts only."""

from __future__ import annotations

from reld.core.verdict.sample import RouteTally, Sample, Tally
from reld.nginx.shapes import OLD, Outcome, Shape


class Second:
    """Counts of both slots."""

    def __init__(self) -> None:
        self._counts = ([0, 0, 0], [0, 0, 0])
        self._times: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._routes: dict[str, tuple[list[int], list[int]]] = {}
        self._failed_at: dict[str, int] = {}

    def count(self, shape: Shape, requests: int, times: dict[int, int]) -> None:
        assert shape.slot is not None
        _add(self._counts[shape.slot], shape.outcome, requests)
        if shape.route:
            route = self._routes.setdefault(shape.route, ([0, 0, 0], [0, 0, 0]))
            _add(route[shape.slot], shape.outcome, requests)
        if shape.outcome is Outcome.FAILED and shape.slot != OLD:
            self._failed_at[shape.label] = self._failed_at.get(shape.label, 0) + requests
        had = self._times[shape.slot]
        for number, count in times.items():
            had[number] = had.get(number, 0) + count

    def sample(self, second: int, share: int) -> Sample:
        old, new = (
            _tally(counts, times) for counts, times in zip(self._counts, self._times, strict=True)
        )
        return Sample(
            second,
            share,
            old,
            new,
            routes=tuple(
                RouteTally(name, _tally(of_old, {}), _tally(of_new, {}))
                for name, (of_old, of_new) in sorted(self._routes.items())
            ),
            failed_at=tuple(sorted(self._failed_at.items())),
        )


def _add(counts: list[int], outcome: Outcome, requests: int) -> None:
    counts[0] += requests
    counts[1] += requests if outcome is Outcome.FAILED else 0
    counts[2] += requests if outcome is Outcome.REFUSED else 0


def _tally(counts: list[int], times: dict[int, int]) -> Tally:
    requests, failures, refusals = counts
    return Tally(requests, failures, refusals, tuple(sorted(times.items())))
