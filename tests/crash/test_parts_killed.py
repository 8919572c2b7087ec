"""kill -9 of an instance, of the gate, of its workers: only what they held may fail."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.crash.parts import PARTS, Killed, Part, kill, stage_for

SIDE_BY_SIDE = 3

Begun = dict[str, Future[Killed]]


@pytest.fixture(scope="module")
def begun() -> Iterator[Begun]:
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:

        def killed(part: Part) -> Killed:
            with stage_for(part) as stage:
                found = kill(stage, part)
                stage.plain_switch()
                return found

        yield {part.name: pool.submit(killed, part) for part in PARTS}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", PARTS, ids=str)
def test_it_is_killed_and_only_what_it_held_is_lost(part: Part, begun: Begun) -> None:
    killed = begun[part.name].result()
    assert not killed.more, killed.more
    assert len(killed.lost) <= killed.in_flight
