"""Many random stories against the simulated world; each one checks every invariant at every step."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time

from tests.bench.verdicts import Line
from tests.sim.stories import tell

SEEDS = 60_000
"""Some 1.9 rollouts each."""
SHOWN = 10


def told(seed: int) -> tuple[int, int, str]:
    """The seed, its rollouts, and what went wrong. Any exception is a finding: the core never raises."""
    logging.getLogger("reld").setLevel(logging.CRITICAL)  # a disk that fails is part of the story
    try:
        return seed, len(tell(seed).ended), ""
    except Exception as error:
        return seed, 0, f"{type(error).__name__}: {error}".splitlines()[0]


def measure(seeds: int = SEEDS) -> tuple[Line, ...]:
    began = time.monotonic()
    # Not forked: the simulator needs nothing of this process, and threads may run in it.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(2, os.cpu_count() or 1)) as pool:
        all_told = list(pool.imap_unordered(told, range(seeds), chunksize=100))
    found = sorted((seed, why) for seed, _, why in all_told if why)
    rollouts = sum(count for _, count, _ in all_told)
    for seed, why in found[:SHOWN]:
        print(f"  seed {seed}: {why}; python -m tests.sim shrink {seed}")
    return (
        Line(
            f"{rollouts:,} simulated rollouts in {time.monotonic() - began:.0f} s: broken stories",
            f"{len(found)} of {seeds:,}",
            "0",
            met=not found,
            binding=True,
        ),
    )
