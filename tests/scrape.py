"""The metrics of a rig, and the metrics that the files of packaging/monitoring speak of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.rig import Rig, _OnSocket

MONITORING = Path(__file__).parents[1] / "packaging/monitoring"
DASHBOARD = MONITORING / "grafana-dashboard.json"
ALERTS = MONITORING / "alerts.yml"
_NAME = re.compile(r"\breld_[a-z_]+")


def scraped(rig: Rig) -> bytes:
    connection = _OnSocket(str(rig.socket))
    try:
        connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return answer.read()
    finally:
        connection.close()


def families(page: bytes) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(page.decode())}


def samples(page: bytes) -> dict[str, list[tuple[dict[str, str], float]]]:
    """By the name of the sample."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in families(page).values():
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(page: bytes, name: str, **labels: str) -> float | None:
    """Of the one sample that has these labels among its own; None: there is none."""
    fits = [v for have, v in samples(page).get(name, []) if labels.items() <= have.items()]
    assert len(fits) < 2, (name, labels, fits)
    return fits[0] if fits else None


def names_in(text: str) -> set[str]:
    return set(_NAME.findall(text))


def queries(dashboard: Path) -> Iterator[str]:
    """Every query, as Grafana would send it."""
    board = json.loads(dashboard.read_text())
    said = [t["expr"] for panel in board["panels"] for t in panel["targets"]]
    said += [annotation["expr"] for annotation in board["annotations"]["list"]]
    for query in said:
        yield query.replace("$__rate_interval", "5m").replace("$app", "web")
