"""What people are shown of each slot: its traffic of the last seconds, and what it uses."""

from __future__ import annotations

from collections.abc import Mapping

from reld.api.service import SlotVitals
from reld.core.model import Color, State
from reld.core.verdict.sample import Tally
from reld.host.recent import percentile
from reld.host.sensor import Sensor
from reld.host.vitals import Vitals


def shown(state: State, sensor: Sensor, vitals: Vitals) -> Mapping[str, SlotVitals]:
    """By colour; only slots of which anything is known."""
    found = {}
    lately = sensor.lately()
    for color in Color:
        slot = state.slot(color)
        if slot is None:
            continue
        uses = vitals.of(color)
        seconds, tally = lately.get(color, (1.0, Tally()))
        times = dict(tally.times)
        rollout = state.rollout
        candidate = rollout is not None and rollout.candidate is color
        found[str(color)] = SlotVitals(
            rate=round(tally.requests / seconds, 1),
            errors=tally.failures / tally.requests if tally.requests else None,
            p50=_milliseconds(percentile(times, 0.50)),
            p95=_milliseconds(percentile(times, 0.95)),
            p99=_milliseconds(percentile(times, 0.99)),
            rss_bytes=None if uses is None else uses.usage.rss_bytes,
            cpu_percent=None if uses is None or uses.cpu is None else round(uses.cpu * 100, 1),
            open_files=None if uses is None else uses.usage.open_files,
            processes=None if uses is None else uses.usage.processes,
            peers={} if uses is None else dict(uses.peers),
            trend_bytes_per_minute=None if uses is None else uses.growth,
            warning=(rollout.warning or None) if rollout is not None and candidate else None,
        )
    return found


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None or seconds > 3600 else round(seconds * 1000, 1)
