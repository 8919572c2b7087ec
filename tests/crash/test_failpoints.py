"""kill -9 of reld before and after everything that it does, and once more while it comes back.

After each of them `Account` looks at everything: no request is lost, the outcome has a name, the receipt
counts what the clients were answered, and nothing is left: process, port, lanes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.crash.account import Told
from tests.crash.points import (
    EFFECTS,
    ROLLBACK,
    SWITCH,
    TURN_BACK,
    at_writes,
    both_sides,
    in_a_switch,
)
from tests.crash.suite import Case, Stages

_EACH = in_a_switch()
CASES = [
    # The bench kills the one that comes back in all of them.
    *(case if number % 2 else replace(case, again="") for number, case in enumerate(_EACH)),
    *at_writes(SWITCH, (1, 4)),
    *(Case(point, TURN_BACK, "before:persist") for point in both_sides(("move-lanes",))),
    Case("after:reload", TURN_BACK, "after:persist"),
    *(Case(point, ROLLBACK, "before:keep-gate") for point in ("after:reload", "before:persist:6")),
]
SIDE_BY_SIDE = 4

Begun = dict[str, Future[Told]]


@pytest.fixture(scope="module")
def begun() -> Iterator[Begun]:
    stages = Stages()
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield {str(case): pool.submit(stages.killed_at, case) for case in CASES}
    stages.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_reld_is_killed_and_everything_ends_well(case: Case, begun: Begun) -> None:
    told = begun[str(case)].result()
    assert told.lost == 0
    assert told.deaths >= (2 if case.again else 1)


def test_reld_is_killed_before_and_after_every_effect_that_there_is() -> None:
    # Each of the cases fails unless its point is reached.
    assert {case.point for case in CASES} >= set(both_sides(EFFECTS))
