"""kill -9 of reld at moments that nobody chose, in half of the cases twice. The seed is part of the name."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.crash.account import Told
from tests.crash.suite import Stages

FIRST = int(os.environ.get("RELCTL_SEED", random.SystemRandom().randrange(1_000_000)))
COUNT = 15
KINDS = ("switch", "turn back", "switch", "rollback")
SEEDS = [*zip(range(FIRST, FIRST + COUNT), itertools.cycle(KINDS), strict=False)]
SIDE_BY_SIDE = 3

Begun = dict[int, Future[Told]]


@pytest.fixture(scope="module")
def begun() -> Iterator[Begun]:
    stages = Stages()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:

        def of(seed: int, kind: str) -> Future[Told]:
            moments = random.Random(seed)
            return pool.submit(stages.do, lambda stage: stage.killed_some_time(kind, moments))

        yield {seed: of(seed, kind) for seed, kind in SEEDS}
    stages.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", range(COUNT))
def test_reld_is_killed_at_a_random_moment_and_everything_ends_well(
    number: int, begun: Begun
) -> None:
    seed, kind = SEEDS[number]
    print(f"RELCTL_SEED={FIRST}: case {number}, {kind}, seed {seed}")
    told = begun[seed].result()
    assert told.lost == 0
    assert told.deaths >= 1
