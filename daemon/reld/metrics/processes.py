"""Metrics of the instances and workers of both slots, and of what they use. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reld.api.service import Vitals
from reld.core.model import Color, InstanceState, State
from reld.metrics.facts import Facts
from reld.metrics.page import Family, Row

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


def processes(of: Family, state: State, vitals: Vitals, facts: Facts) -> Iterator[Metric]:
    instances = [
        ({"slot": slot.color, "release": slot.release, "instance": str(i.index)}, i)
        for slot in state.slots
        for i in slot.instances
    ]
    yield of.gauge(
        "reld_instance_ready",
        "1 while the instance is ready.",
        [(labels, int(i.state is InstanceState.READY)) for labels, i in instances],
    )
    yield of.counter(
        "reld_instance_restarts",
        "How often the instance was started again after it had died.",
        [(labels, i.restarts) for labels, i in instances],
    )
    yield of.gauge(
        "reld_instance_probe_seconds",
        "How long its last readiness probe took.",
        [
            (labels, facts.probes[i.number])
            for labels, i in instances
            if i.number in facts.probes and i.runs
        ],
    )
    workers = [
        (
            {
                "slot": slot.color,
                "release": slot.release,
                "worker": w.worker,
                "instance": str(w.index),
            },
            w,
        )
        for slot in state.slots
        for w in slot.workers
    ]
    yield of.gauge(
        "reld_worker_running",
        "1 while the worker runs.",
        [(labels, int(w.state is InstanceState.READY)) for labels, w in workers],
    )
    yield of.counter(
        "reld_worker_restarts",
        "How often the worker was started again after it had died.",
        [(labels, w.restarts) for labels, w in workers],
    )
    yield from _uses(of, vitals)


def _uses(of: Family, vitals: Vitals) -> Iterator[Metric]:
    memory, cpu, number, files = list[Row](), list[Row](), list[Row](), list[Row]()
    for color in Color:
        slot, labels = vitals.slot(color), {"slot": color}
        if slot.rss_bytes is not None:
            memory.append((labels, slot.rss_bytes))
        if slot.cpu_percent is not None:
            cpu.append((labels, slot.cpu_percent / 100))
        if slot.processes is not None:
            number.append((labels, slot.processes))
        if slot.open_files is not None:
            files.append((labels, slot.open_files))
    yield of.gauge("reld_slot_memory_bytes", "Resident memory of all its processes.", memory)
    yield of.gauge("reld_slot_cpu_cores", "Cores that its processes use lately.", cpu)
    yield of.gauge("reld_slot_processes", "How many processes it has.", number)
    yield of.gauge("reld_slot_open_files", "Descriptors that its processes have open.", files)
