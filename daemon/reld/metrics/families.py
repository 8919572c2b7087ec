"""Every metric that there is. Pure: a state, what was measured, what was counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from reld import __version__
from reld.api.service import Vitals
from reld.api.status import degraded, share, slot_word
from reld.core.model import Color, State
from reld.metrics.facts import BOUNDS, Answered, Facts
from reld.metrics.page import Family, Row
from reld.metrics.processes import processes
from reld.metrics.rollouts import rollouts

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

SLOT_STATES = (
    *("empty", "external", "live", "degraded", "dead", "starting", "ready", "candidate", "warm"),
    *("draining", "stopping", "stopped", "locked"),
)

_COUNTED: tuple[tuple[str, str, Callable[[Answered], int]], ...] = (
    (
        "reld_requests",
        "Requests that the slot answered last, as users saw them.",
        lambda a: a.total,
    ),
    (
        "reld_request_errors",
        "Those of them that ended in a 5xx, or in no answer.",
        lambda a: a.errors,
    ),
    (
        "reld_requests_saved",
        "Requests that the slot failed first and that the other slot made good.",
        lambda a: a.saved,
    ),
    ("reld_attempts", "Every try, first ones and second ones.", lambda a: a.attempts),
    ("reld_attempt_failures", "Tries that failed, whoever made them good.", lambda a: a.failures),
)


def families(state: State, vitals: Vitals, facts: Facts) -> Iterator[Metric]:
    of = Family(state.app)
    yield of.gauge("reld_up", "1 while reld answers.", 1)
    yield of.gauge("reld_build_info", "The version of reld.", [({"version": __version__}, 1)])
    yield of.gauge(
        "reld_start_time_seconds", "When this reld was started, since 1970.", facts.started
    )
    yield of.gauge(
        "reld_degraded",
        "1 while something needs attention; relctl status says what.",
        int(degraded(state, vitals.damage) is not None),
    )
    yield of.gauge(
        "reld_maintenance",
        "1 while the gate is closed, or holds requests, because a person said so.",
        int(state.maintenance is not None),
    )
    yield from _slots(of, state)
    yield from _requests(of, state, facts)
    yield from processes(of, state, vitals, facts)
    yield from rollouts(of, state, facts)
    yield from _gate(of, state, facts)
    yield of.gauge(
        "reld_disk_free_bytes",
        "Bytes that are free where this is kept.",
        [({"place": disk.place}, disk.free) for disk in facts.disks],
    )
    yield of.gauge(
        "reld_disk_size_bytes",
        "Bytes that the disk has where this is kept.",
        [({"place": disk.place}, disk.size) for disk in facts.disks],
    )
    yield from _telling(of, facts)


def _slots(of: Family, state: State) -> Iterator[Metric]:
    default = state.gate.verified.routing.default
    live: list[Row] = []
    if default is not None:
        live = [({"slot": default.color, "release": default.release}, 1)]
    yield of.gauge("reld_live_info", "The slot and the release that are live.", live)
    states = [
        ({"slot": color, "state": word}, int(slot_word(state, color) == word))
        for color in Color
        for word in SLOT_STATES
    ]
    yield of.gauge("reld_slot_state", "1 for what the slot is doing.", states)
    yield of.gauge(
        "reld_slot_traffic_ratio",
        "Share of the requests that the slot gets, 0 to 1.",
        [({"slot": color}, share(state, color) / 100) for color in Color],
    )


def _requests(of: Family, state: State, facts: Facts) -> Iterator[Metric]:
    known = _with_what_runs(state, facts.answered)
    names = [({"slot": a.slot, "release": a.release}, a) for a in known]
    for name, about, counted in _COUNTED:
        yield of.counter(name, about, [(labels, counted(a)) for labels, a in names])
    yield of.histogram(
        "reld_request_first_byte_seconds",
        "Time to the first byte of first tries, right to 5 %; a sample of them while the log is"
        " thinned or clients are split.",
        BOUNDS,
        [(labels, a.times, a.seconds) for labels, a in names],
    )
    yield of.counter(
        "reld_requests_turned_away",
        "Requests that the gate answered 503 by itself.",
        facts.feed.turned_away,
    )


def _with_what_runs(state: State, answered: tuple[Answered, ...]) -> tuple[Answered, ...]:
    """A series begins with 0, and not with its first request: else nobody sees it grow."""
    there = {(a.slot, a.release) for a in answered}
    fresh = [(str(s.color), s.release) for s in state.slots]
    return answered + tuple(Answered(*key) for key in fresh if key not in there)


def _gate(of: Family, state: State, facts: Facts) -> Iterator[Metric]:
    feed = facts.feed
    yield of.gauge(
        "reld_gate_generation",
        "Generation of the verified gate config.",
        state.gate.verified.generation,
    )
    yield of.counter(
        "reld_gate_reloads",
        "Gate configs that were made, each for one reload.",
        state.next_generation - 1,
    )
    yield of.gauge(
        "reld_gate_trouble",
        "1 while the gate does not take its config.",
        int(bool(state.gate.trouble)),
    )
    last: list[Row] = [] if feed.last_line is None else [({}, feed.last_line)]
    yield of.gauge(
        "reld_feed_last_line_time_seconds",
        "When a line of the gate's request log was read last, since 1970.",
        last,
    )
    yield of.counter("reld_feed_lines", "Lines of requests that were read.", feed.lines)
    yield of.counter("reld_feed_nonsense_lines", "Lines that made no sense.", feed.nonsense)
    yield of.gauge(
        "reld_feed_thinned",
        "1 while the log has one in ten of the dull lines.",
        int(feed.thinned),
    )
    yield of.gauge(
        "reld_feed_silent",
        "1 while the gate answers and its log stays silent: nothing can be judged.",
        int(bool(feed.silent)),
    )


def _telling(of: Family, facts: Facts) -> Iterator[Metric]:
    told = [({"target": a.name, "result": "told"}, a.told) for a in facts.addressees]
    lost = [({"target": a.name, "result": "lost"}, a.lost) for a in facts.addressees]
    yield of.counter(
        "reld_notifications",
        "Messages to the targets of [[notify]], told or given up.",
        told + lost,
    )
    yield of.gauge(
        "reld_notifications_waiting",
        "Messages that wait for their target.",
        [({"target": a.name}, a.waiting) for a in facts.addressees],
    )
