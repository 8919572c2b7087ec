"""Many random stories against the simulated world; each one checks every invariant at every step."""

from __future__ import annotations

import multiprocessing
import os
import time

from tests.bench.verdicts import Line
from tests.sim.stories import tell

SEEDS = 50_000
SHOWN = 10


def broken(seed: int) -> tuple[int, str] | None:
    """The seed and what went wrong. Any exception is a finding: the core never raises."""
    try:
        tell(seed)
    except Exception as error:
        return seed, f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def measure(seeds: int = SEEDS) -> tuple[Line, ...]:
    began = time.monotonic()
    # Not forked: the simulator needs nothing of this process, and threads may run in it.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(2, os.cpu_count() or 1)) as pool:
        found = [f for f in pool.imap_unordered(broken, range(seeds), chunksize=100) if f]
    for seed, why in sorted(found)[:SHOWN]:
        print(f"  seed {seed}: {why}")
    return (
        Line(
            f"simulated interleavings in {time.monotonic() - began:.0f} s: broken invariants",
            f"{len(found)} of {seeds}",
            "0",
            met=not found,
            binding=True,
        ),
    )
