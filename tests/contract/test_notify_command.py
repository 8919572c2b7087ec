"""A real command: what it is told, who it is, and that it cannot hold anybody."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from reld.config import Notify
from reld.processes.launch import DIRECT
from reld.telling.command import Command
from reld.telling.message import Message
from reld.telling.target import NotTold

MESSAGE = Message(
    "end", "rolled_back", "warning", "v2 was rolled back", "now", "web", "vm", "1",
    {"id": 7, "kind": "switch", "from": "v1", "to": "v2"}, {"outcome": "rolled_back"},
)  # fmt: skip


@pytest.fixture
def place() -> Iterator[Path]:
    """Anybody may come there and write."""
    made = Path(tempfile.mkdtemp(prefix="relctl-tell-"))
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


def script(place: Path, text: str) -> Notify:
    path = place / "tell"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Notify(command=(str(path), "--team", "ops"))


def target(notify: Notify, patience: float = 10.0) -> Command:
    return Command(notify, DIRECT, "web.boot.1", patience)


async def test_it_has_the_message_on_its_input_and_in_its_environment(place: Path):
    said = await target(
        script(place, f'cat > {place}/input; env > {place}/env; echo "$@" > {place}/words')
    ).tell(MESSAGE)
    assert said == "exit code 0"
    assert json.loads((place / "input").read_text())["receipt"] == {"outcome": "rolled_back"}
    assert (place / "words").read_text() == "--team ops\n"
    env = dict(line.split("=", 1) for line in (place / "env").read_text().splitlines())
    assert {k: v for k, v in env.items() if k.startswith("RELCTL_") and k != "RELCTL_INSTANCE"} == {
        "RELCTL_EVENT": "end", "RELCTL_WHAT": "rolled_back", "RELCTL_LEVEL": "warning",
        "RELCTL_TEXT": "v2 was rolled back", "RELCTL_APP": "web", "RELCTL_ROLLOUT": "7",
        "RELCTL_KIND": "switch", "RELCTL_FROM": "v1", "RELCTL_TO": "v2",
        "RELCTL_OUTCOME": "rolled_back",
    }  # fmt: skip


async def test_it_is_never_root(place: Path):
    await target(script(place, f"id -u > {place}/who")).tell(MESSAGE)
    found = int((place / "who").read_text())
    assert found != 0
    assert os.geteuid() in (0, found)


async def test_one_that_reads_nothing_and_one_that_talks_a_lot_are_fine(place: Path):
    big = Message(
        "end", "done", "info", "x" * 5000, "now", "web", "vm", "1", None, {"a": "b" * 200_000}
    )
    noisy = script(place, "head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2")
    assert await target(noisy).tell(big) == "exit code 0"


@pytest.mark.parametrize(
    ("text", "why"),
    [("exit 3", "it ended with exit code 3"), ("kill -9 $$", "it ended with killed by signal 9")],
)
async def test_one_that_fails_did_not_tell(place: Path, text: str, why: str):
    with pytest.raises(NotTold) as error:
        await target(script(place, text)).tell(MESSAGE)
    assert error.value.why == why


async def test_one_that_hangs_is_killed_with_all_that_it_started(place: Path):
    hanging = script(
        place, f"sleep 1000 & echo $! > {place}/made; mv {place}/made {place}/child; wait"
    )
    with pytest.raises(NotTold, match=r"it did not end within 1 s"):
        await target(hanging, 1.0).tell(MESSAGE)
    child = place / "child"
    if child.exists():  # else it was killed before it got so far
        async with asyncio.timeout(30):
            while _runs(int(child.read_text())):
                await asyncio.sleep(0.01)


async def test_one_that_is_not_there_is_said_so(place: Path):
    with pytest.raises(NotTold, match="cannot start"):
        await target(Notify(command=(str(place / "missing"), "s3cret"))).tell(MESSAGE)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
