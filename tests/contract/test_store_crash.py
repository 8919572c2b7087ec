"""Whatever moment a crash chooses: the state is the last or the one before, never torn."""

from __future__ import annotations

import asyncio
import inspect
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reld.core.model import Good, State
from reld.store.database import Store
from reld.store.rows import RolloutRow

# Says "N" once N is saved. State and receipt N belong together.
_WRITER = """
from __future__ import annotations
import asyncio, sys
from pathlib import Path
from reld.core.model import Good, State
from reld.store.rows import RolloutRow
from reld.store.database import Store
{pair}
async def main():
    store = await Store.open(Path(sys.argv[1]))
    n = 0
    while True:
        n += 1
        await store.save(*pair(n))
        print(n, flush=True)
asyncio.run(main())
"""


def pair(n: int) -> tuple[State, list[RolloutRow]]:
    """State n and its receipt; sizes differ so that pages are rewritten in many ways."""
    good = tuple(Good(f"v{n}", n) for _ in range(n * 37 % 200))
    row = RolloutRow(n, "switch", "a", "b", "x", "s", None, None, "", {"id": n})
    return State("web", "b", good=good, next_rollout=n), [row]


async def found_after_crash(path: Path) -> int:
    """The number of the state in the file, after checking that it is whole; 0: none."""
    store = await Store.open(path)
    try:
        state = await store.load_state()
        newest = await store.rollouts(1)
        if state is None:
            assert newest == []
            return 0
        assert state == pair(state.next_rollout)[0]
        assert newest[0]["id"] == state.next_rollout
        await store.save(*pair(state.next_rollout + 1))
        return state.next_rollout
    finally:
        await store.close()


def write_and_be_killed(path: Path, after: float) -> int:
    """The number that the child last said is saved, before kill -9 `after` seconds of writing."""
    writer = _WRITER.replace("{pair}", inspect.getsource(pair))
    with subprocess.Popen([sys.executable, "-c", writer, str(path)], stdout=subprocess.PIPE) as it:
        assert it.stdout is not None
        said = int(it.stdout.readline())
        time.sleep(after)  # the random moment is the point of the test
        it.kill()
        whole_lines = it.stdout.read().split(b"\n")[:-1]
    return int(whole_lines[-1]) if whole_lines else said


async def crash_once(path: Path, after: float) -> tuple[int, int]:
    said = await asyncio.to_thread(write_and_be_killed, path, after)
    return said, await found_after_crash(path)


@pytest.mark.parametrize("batch", range(5))
async def test_a_killed_writer_leaves_the_last_state_or_the_next(
    tmp_path: Path, batch: int
) -> None:
    chance = random.Random(batch)
    runs = [crash_once(tmp_path / f"{number}.db", chance.uniform(0, 0.3)) for number in range(6)]
    for said, found in await asyncio.gather(*runs):
        assert found in (said, said + 1)


async def test_a_log_that_a_power_cut_left_half_written_gives_an_earlier_whole_state(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.db"
    store = await Store.open(path)
    for n in range(1, 15):
        await store.save(*pair(n))
    log = (tmp_path / "state.db-wal").read_bytes()
    chance = random.Random(1)
    seen = set()
    for number in range(30):
        directory = tmp_path / str(number)
        directory.mkdir()
        shutil.copy(path, directory / "state.db")
        (directory / "state.db-wal").write_bytes(log[: chance.randrange(len(log))])
        seen.add(await found_after_crash(directory / "state.db"))
    await store.close()
    assert len(seen) > 3
