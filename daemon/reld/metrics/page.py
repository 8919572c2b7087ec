"""State and facts → the text that Prometheus reads (0.0.4). Pure, apart from the import.

prometheus_client costs a megabyte: it is imported when somebody asks first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from reld.api.service import Vitals
from reld.core.model import State
from reld.errors import Refused
from reld.metrics.facts import Facts

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

Row = tuple[Mapping[str, str], float]


class Family:
    """Makes metrics of one app: every sample has the label `app` first."""

    def __init__(self, app: str) -> None:
        self._app = app

    def gauge(self, name: str, about: str, rows: Iterable[Row] | float) -> Metric:
        from prometheus_client.metrics_core import GaugeMetricFamily

        found = _rows(rows)
        made = GaugeMetricFamily(name, about, labels=_labels(found))
        for labels, value in found:
            made.add_metric([self._app, *labels.values()], value)
        return made

    def counter(self, name: str, about: str, rows: Iterable[Row] | float) -> Metric:
        """`name` without `_total`."""
        from prometheus_client.metrics_core import CounterMetricFamily

        found = _rows(rows)
        made = CounterMetricFamily(name, about, labels=_labels(found))
        for labels, value in found:
            made.add_metric([self._app, *labels.values()], value)
        return made

    def histogram(
        self,
        name: str,
        about: str,
        bounds: tuple[float, ...],
        rows: Iterable[tuple[Mapping[str, str], tuple[int, ...], float]],
    ) -> Metric:
        """Rows: labels, how many are in each bucket (the last one has no bound), and their sum."""
        from prometheus_client.metrics_core import HistogramMetricFamily

        found = list(rows)
        made = HistogramMetricFamily(name, about, labels=_labels([(r[0], 0.0) for r in found]))
        for labels, counts, total in found:
            so_far, buckets = 0, []
            for bound, count in zip((*bounds, "+Inf"), counts, strict=True):
                so_far += count
                buckets.append((str(bound), float(so_far)))
            made.add_metric([self._app, *labels.values()], buckets, total)
        return made


def _rows(rows: Iterable[Row] | float) -> list[Row]:
    return [({}, rows)] if isinstance(rows, int | float) else list(rows)


def _labels(rows: list[Row]) -> list[str]:
    return ["app", *(rows[0][0] if rows else ())]


class _All:
    """What `generate_latest` asks of a registry."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)


def page(state: State, vitals: Vitals, facts: Facts) -> bytes:
    """All metrics of one app. Every name begins with `reld_`.

    Raises:
        Refused: the library is not there.
    """
    try:
        from prometheus_client import generate_latest
    except ImportError:
        lacking = "cannot show metrics: prometheus_client is not installed"
        raise Refused(lacking, "sudo apt install python3-prometheus-client") from None

    from reld.metrics.families import families

    return bytes(generate_latest(_All(list(families(state, vitals, facts)))))
