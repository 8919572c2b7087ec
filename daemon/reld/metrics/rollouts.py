"""Metrics of the running rollout, and of all that ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reld.alerts import waits_for_a_person
from reld.core.model import Color, Kind, Outcome, Phase, Rollout, State
from reld.core.verdict.finding import Verdict
from reld.metrics.facts import Facts
from reld.metrics.page import Family, Row

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_ALWAYS = (Kind.SWITCH, Kind.ROLLBACK, Kind.RESTART)
"""A kind that never was begins with 0 here: else nobody sees its first one."""


def rollouts(of: Family, state: State, facts: Facts) -> Iterator[Metric]:
    counts = {(str(k), str(o)): 0 for k in _ALWAYS for o in Outcome} | dict(facts.outcomes)
    yield of.counter(
        "reld_rollouts",
        "Rollouts that ended.",
        [({"kind": k, "outcome": o}, counts[k, o]) for k, o in sorted(counts)],
    )
    running = state.rollout
    yield of.gauge(
        "reld_rollout_phase",
        "1 for the phase of the running rollout.",
        [({"phase": p}, int(running is not None and running.phase is p)) for p in Phase],
    )
    yield of.gauge(
        "reld_rollout_waits_for_person",
        "1 while a rollout goes on only when a person says so.",
        int(running is not None and _for_a_person(running)),
    )
    newest = running or state.last
    yield of.gauge(
        "reld_rollout_cut_connections",
        "Connections that were cut at the end of the newest rollout's drain.",
        newest.cut if newest is not None else 0,
    )
    yield from _running(of, running)


def _for_a_person(rollout: Rollout) -> bool:
    return rollout.paused or rollout.awaits_approval or waits_for_a_person(rollout)


def _running(of: Family, rollout: Rollout | None) -> Iterator[Metric]:
    """Gauges: they begin again at 0 with every rollout."""
    info, results, failures, saved, away, verdicts, evidence = (list[Row]() for _ in range(7))
    if rollout is not None:
        info = [({"kind": rollout.kind, "from": rollout.from_, "to": rollout.to}, rollout.id)]
        for color, counts in ((Color.BLUE, rollout.blue), (Color.GREEN, rollout.green)):
            fine = counts.total - counts.errors
            results.append(({"slot": color, "result": "ok"}, fine))
            results.append(({"slot": color, "result": "error"}, counts.errors))
            failures.append(({"slot": color}, counts.failures))
            saved.append(({"slot": color}, counts.saved))
        away = [({}, rollout.turned_away)]
        finding = rollout.watch.finding
        verdicts = [({"verdict": v}, int(finding.verdict is v)) for v in Verdict]
        evidence = [
            ({"kind": "errors"}, round(finding.errors, 4)),
            ({"kind": "slowness"}, round(finding.slowness, 4)),
        ]
    yield of.gauge("reld_rollout_number", "The number of the running rollout.", info)
    yield of.gauge("reld_rollout_requests", "Requests since the rollout began.", results)
    yield of.gauge("reld_rollout_failures", "First attempts that failed.", failures)
    yield of.gauge("reld_rollout_saved", "Failures that the other slot made good.", saved)
    yield of.gauge("reld_rollout_turned_away", "Requests that got the announced 503.", away)
    yield of.gauge("reld_rollout_verdict", "1 for the verdict on the candidate.", verdicts)
    yield of.gauge("reld_rollout_evidence", "Evidence against it; 1 is a verdict.", evidence)
