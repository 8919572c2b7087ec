"""Thousands of random stories with kills, reboots and bad luck: no invariant is ever broken."""

from __future__ import annotations

import pytest

from tests.sim import __main__ as bench
from tests.sim import stories

CHUNK = 100
CHUNKS = 10

pytestmark = pytest.mark.timeout(300)  # computing only: a busy machine makes it slow, not wrong


@pytest.mark.parametrize("first", range(0, CHUNK * CHUNKS, CHUNK))
def test_every_story_ends_quiet_and_tidy_and_breaks_nothing(first):
    for seed in range(first, first + CHUNK):
        told_without_a_violation(seed)


def told_without_a_violation(seed):
    world = stories.prepared(seed)
    try:
        stories.play(world)
    except AssertionError as error:
        last = "\n".join(line[:300] for line in world.log[-15:])
        pytest.fail(f"seed {seed}: {type(error).__name__}: {error}\n{last}")
    finally:
        world.close()


def test_the_same_seed_tells_the_same_story():
    assert stories.tell(7).log == stories.tell(7).log


def test_the_stories_come_by_every_phase_outcome_and_kind(capsys):
    assert bench.main(10_000, 500) == 0, capsys.readouterr().err
