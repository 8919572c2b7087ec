"""kill -9 of everything, everywhere, under 64 clients that never retry: the table of the README.

    python -m tests.bench faults

Every failpoint of a switch, of an instant rollback and of one through the idle slot (and reld once more
while it comes back), 200 random moments, and every other process a few times. RELCTL_SEED chooses the
moments; what fails is printed with all that is needed to see it again.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.bench.verdicts import Line
from tests.crash import parts, points
from tests.crash.account import Told
from tests.crash.clients import CROWD
from tests.crash.parts import Killed, Part
from tests.crash.suite import Case, Stages

SIDE_BY_SIDE = 3
MOMENTS = 200
KINDS = ("switch", "turn back", "switch", "rollback")
TIMES = 5
"""How often each of the other processes is killed."""
COMMAND = "python -m tests.bench faults"
WHERE = {
    "switch": "reld: at every point of a switch, and again while it comes back",
    "turn back": "reld: at every point of an instant rollback, and again",
    "rollback": "reld: at every point of a rollback through the idle slot, and again",
}


@dataclass
class Row:
    """`allowed`: requests that the clients waited for when it was killed; 0 if it had none."""

    fault: str
    command: str
    times: int = 0
    requests: int = 0
    lost: int = 0
    allowed: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, told: Told) -> None:
        self.times += 1
        self.requests += told.requests
        self.lost += told.lost
        self.outcomes[told.outcome] += 1

    @property
    def outcome(self) -> str:
        return ", ".join(f"{what} {count}" for what, count in self.outcomes.most_common())


def attempt(row: Row, what: Callable[[], Told], words: str) -> None:
    try:
        row.add(what())
    except Exception as error:
        row.times += 1
        row.outcomes["BROKEN"] += 1
        row.wrong.append(f"{words}: {type(error).__name__}: {error}")


def reld_everywhere(stages: Stages, cases: Iterable[Case]) -> list[Row]:
    tests = "pytest tests/crash/test_failpoints.py"
    rows = {name: Row(fault, tests) for name, fault in WHERE.items()}
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for case in cases:

            def of(case: Case = case) -> Told:
                return stages.killed_at(case)

            pool.submit(attempt, rows[case.scenario.name], of, str(case))
    return list(rows.values())


def reld_some_time(stages: Stages, count: int) -> Row:
    first = int(os.environ.get("RELCTL_SEED", random.SystemRandom().randrange(1_000_000)))
    print(f"random moments: RELCTL_SEED={first}", flush=True)
    row = Row(f"reld: at {count} random moments", "pytest tests/crash/test_random_kills.py")
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for seed, kind in zip(range(first, first + count), itertools.cycle(KINDS), strict=False):

            def of(seed: int = seed, kind: str = kind) -> Told:
                moments = random.Random(seed)
                return stages.do(lambda stage: stage.killed_some_time(kind, moments))

            pool.submit(attempt, row, of, f"seed {seed}, {kind}")
    return row


def every_part(times: int) -> list[Row]:
    command = "pytest tests/crash/test_parts_killed.py"
    rows = [Row(part.name, command) for part in parts.PARTS]
    with ThreadPoolExecutor(SIDE_BY_SIDE - 1) as pool:
        for part, row in zip(parts.PARTS, rows, strict=True):
            pool.submit(_one_part, part, row, times)
    return rows


def _one_part(part: Part, row: Row, times: int) -> None:
    try:
        with parts.stage_for(part, CROWD) as stage:
            for number in range(times):
                found: list[Killed] = []

                def killed(found: list[Killed] = found) -> Told:
                    found.append(parts.kill(stage, part))
                    return found[0].told

                attempt(row, killed, f"{part}, try {number}")
                if not found:
                    break
                row.allowed += found[0].in_flight
                row.wrong += [f"{part}: lost and was not in flight: {s}" for s in found[0].more]
            else:
                stage.plain_switch()
    except Exception as error:
        row.wrong.append(f"{part}: {type(error).__name__}: {error}")


def table(rows: Iterable[Row]) -> str:
    """In Markdown."""
    found = [
        "| fault: `kill -9` of | times | requests | lost (of in flight then) | outcome | shown by |",
        "|---|---:|---:|---:|---|---|",
    ]
    for row in rows:
        lost = f"{row.lost} ({row.allowed})" if row.allowed else str(row.lost)
        found.append(
            f"| {row.fault} | {row.times} | {row.requests:,} | {lost} | {row.outcome} "
            f"| `{row.command}` |"
        )
    return "\n".join(found)


def run(cases: Iterable[Case], moments: int, times: int) -> list[Row]:
    stages = Stages(CROWD)
    try:
        rows = reld_everywhere(stages, cases)
        rows.append(reld_some_time(stages, moments))
    finally:
        stages.close()
    return rows + every_part(times)


def measure() -> tuple[Line, ...]:
    rows = run(points.everywhere(), MOMENTS, TIMES)
    for wrong in (wrong for row in rows for wrong in row.wrong):
        print(f"  {wrong}")
    print(table(rows), flush=True)
    return tuple(
        Line(
            f"kill -9 of {row.fault}: {row.times} times, {row.requests} requests",
            f"{row.lost} lost, {row.outcome}",
            f"≤ {row.allowed} lost" if row.allowed else "0 lost",
            met=not row.wrong and row.lost <= row.allowed,
            binding=True,
        )
        for row in rows
    )
