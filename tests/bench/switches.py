"""Many switches and rollbacks in a row under all kinds of clients: what they lost, and how they felt it."""

from __future__ import annotations

import datetime as dt
import json
import time
from dataclasses import dataclass, field
from typing import Any

from tests.bench import baseline, crowd
from tests.bench.verdicts import Line, percentile
from tests.rig import Rig
from tests.site.site import Site

RELEASES = 3
STEP_TIME = 0.4
DRAIN_MAX = 3.0  # longer than the slow uploads; the websockets stay until then
MIX: dict[str, float] = {
    "keepalive": 64,
    "oneshot": 16,
    "http2": 2,
    "websockets": 4,
    "uploads": 1,
    "upload_seconds": 2.0,
    "think": 0.2,
    "oneshot_think": 0.2,
}
PAUSE = 2.0  # between two rollouts, to compare with
SHORT = ("keepalive", "oneshot", "http2")  # kinds whose latency is the app's, not the client's
P99_RATIO = 1.25


@dataclass
class Course:
    """What was done, and what the clients say."""

    rollouts: list[tuple[float, float]] = field(default_factory=list)  # monotonic seconds
    receipts: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    whole: dict[str, Any] = field(default_factory=dict)

    def did(self, rig: Rig, *words: str) -> None:
        began = time.monotonic()
        answer = rig.relctl(*words, "--json")
        self.rollouts.append((began, time.monotonic()))
        receipt = last_object(answer.out)
        self.receipts.append(receipt)
        if answer.code != 0 or receipt.get("outcome") != "done":
            self.wrong.append(f"{' '.join(words)}: exit code {answer.code}: {receipt}")

    def between(self) -> list[tuple[float, float]]:
        """From shortly after a rollout to the next one."""
        ends = [end for _, end in self.rollouts[:-1]]
        begins = [begin for begin, _ in self.rollouts[1:]]
        return [(end + 0.2, begin) for end, begin in zip(ends, begins, strict=True)]

    def latencies(self, spans: list[tuple[float, float]]) -> list[float]:
        kinds = [seen for kind, seen in self.whole["kinds"].items() if kind in SHORT]
        return [
            latency
            for seen in kinds
            for began, latency in seen["samples"]
            if any(start <= began < end for start, end in spans)
        ]

    def early_closes(self) -> list[str]:
        """Websockets that ended before the drain of their slot did."""
        ends = [drain_end(receipt) for receipt in self.receipts]
        closed = self.whole["kinds"].get("websocket", {"closed": []})["closed"]
        # The receipt's clock ticks in milliseconds, and this process is one of many on two cores.
        return [
            f"websocket of {release} ended with {code} at {when:.3f}"
            for code, release, when in closed
            if not any(end - 0.1 <= when <= end + 3.0 for end in ends)
        ]


def last_object(out: str) -> dict[str, Any]:
    lines = out.strip().splitlines()
    last = json.loads(lines[-1]) if lines else {}
    receipt = last.get("receipt", last) if isinstance(last, dict) else {}
    return dict(receipt)


def drain_end(receipt: dict[str, Any]) -> float:
    """When draining gave way to stopping, on the monotonic clock."""
    ended = receipt.get("ended")
    if not ended:
        return float("nan")
    after = 0.0
    for phase in reversed(receipt["phases"]):
        if phase["phase"] == "draining":
            break
        after += phase["seconds"]
    wall = dt.datetime.fromisoformat(ended).timestamp()
    return wall - (time.time() - time.monotonic()) - after


def settings(drain_max: float) -> str:
    return (
        "[rollout]\nsteps = [5, 25, 50, 95, 100]\nstep_requests = 0\n"
        f'step_time = "{STEP_TIME * 1000:.0f}ms"\nbake = "500ms"\ndrain = "500ms"\n'
        f'drain_max = "{drain_max * 1000:.0f}ms"\n'
    )


def run(
    switches: int,
    rollbacks: int,
    *,
    pause: float = PAUSE,
    drain_max: float = DRAIN_MAX,
    mix: dict[str, float] = MIX,
) -> Course:
    """A rollback after every few switches; the clients run all the time."""
    course = Course()
    every = max(1, switches // max(1, rollbacks))
    with Rig(rest=settings(drain_max)) as rig, Site(rig.listen) as site:
        for number in range(RELEASES):
            rig.release(f"v{number}")
        assert rig.relctl("switch", "v0").code == 0, rig.reld_log()
        with crowd.Crowd(site.port, site.tls_port, **mix) as clients:
            time.sleep(pause)
            for number in range(1, switches + 1):
                live = int(rig.status()["release"].removeprefix("v"))
                course.did(rig, "switch", f"v{(live + 1) % RELEASES}")
                time.sleep(pause)
                if number % every == 0 and number // every <= rollbacks:
                    course.did(rig, "rollback")
                    time.sleep(pause)
            course.whole = clients.end()
        course.wrong += site.errors().splitlines()[:5]
    course.wrong += crowd.failures(course.whole)
    return course


def lines(course: Course, what: str) -> tuple[Line, ...]:
    gone, sent = crowd.lost(course.whole), crowd.sent(course.whole)
    per_kind = ", ".join(f"{kind} {seen['total']}" for kind, seen in course.whole["kinds"].items())
    closed = len(course.whole["kinds"]["websocket"]["closed"])
    early = course.early_closes()
    during, between = course.latencies(course.rollouts), course.latencies(course.between())
    high, low = percentile(during, 99), percentile(between, 99)
    finished = sum(receipt.get("outcome") == "done" for receipt in course.receipts)
    return (
        Line(
            f"requests lost in {what} ({per_kind})",
            f"{gone} of {sent}",
            "0",
            met=gone == 0,
            binding=True,
        ),
        Line(
            "… of which were done",
            f"{finished} of {len(course.receipts)}",
            "all",
            met=finished == len(course.receipts),
            binding=True,
        ),
        Line(
            "websockets that ended before their drain did",
            f"{len(early)} of {closed}",
            "0",
            met=not early,
            binding=True,
        ),
        Line(
            f"p99 during rollouts ÷ between them ({high * 1000:.1f} ms of {len(during)}, "
            f"{low * 1000:.1f} ms of {len(between)})",
            f"{high / low:.2f}",
            f"≤ {P99_RATIO}",
            met=high / low <= P99_RATIO,
        ),
    )


def measure() -> tuple[Line, ...]:
    course = run(20, 5)
    for wrong in course.wrong + course.early_closes()[:5]:
        print(f"  {wrong}")
    found = lines(course, "20 switches and 5 rollbacks")
    return found + baseline.measure(25, STEP_TIME, **MIX)
