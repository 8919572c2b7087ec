"""`make bench`: the numbers, each next to its target.

    python -m tests.bench [NAME …]     all of them, or some

Ends with 1 if a request was lost or an invariant broken. Timings that miss are shown, and no more: the
machine may have been busy.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from tests.bench import (
    detector,
    faults,
    lane_moves,
    light,
    sensor,
    simulator,
    speed,
    switches,
    throughput,
    viewers,
    watched,
)
from tests.bench.verdicts import Line, table

ALL: dict[str, Callable[[], tuple[Line, ...]]] = {
    "switches": switches.measure,
    "throughput": throughput.measure,
    "lanes": lane_moves.measure,
    "speed": speed.measure,
    "light": light.measure,
    "viewers": viewers.measure,
    "sensor": sensor.measure,
    "watched": watched.measure,
    "faults": faults.measure,
    "simulator": simulator.measure,
    "detector": detector.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="the numbers")
    parser.add_argument("names", nargs="*", choices=[*ALL, []], metavar="NAME", help=", ".join(ALL))
    names = parser.parse_args().names or list(ALL)
    found: list[Line] = []
    for name in names:
        began = time.monotonic()
        print(f"{name} …", file=sys.stderr, flush=True)
        found += ALL[name]()
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(table(found))
    return 1 if any(line.broken for line in found) else 0


if __name__ == "__main__":
    sys.exit(main())
