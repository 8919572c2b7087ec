from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from reld.core.model import Exit
from reld.errors import LaunchError
from reld.processes.identity import every_stat
from reld.processes.run import run
from reld.processes.spec import Launcher

ENV = {"PATH": "/usr/bin:/bin"}


async def a_script(launcher: Launcher, tmp_path: Path, script: str, timeout: float = 5, **more):
    command = ("sh", "-c", script)
    return await run(command, tmp_path, ENV, None, timeout, **more, launcher=launcher)


async def test_the_end_and_the_output_are_reported(launcher, tmp_path):
    result = await a_script(launcher, tmp_path, "echo out; echo err >&2; exit 3")
    assert (result.exit, result.output_tail, result.timed_out) == (Exit(code=3), "out\nerr", False)
    assert not result.ok


async def test_output_goes_to_a_file_and_only_this_run_s_is_reported(launcher, tmp_path):
    (tmp_path / "hook.log").write_text("before\n")
    result = await a_script(launcher, tmp_path, "echo now", output=tmp_path / "hook.log")
    assert result.ok
    assert result.output_tail == "now"
    assert (tmp_path / "hook.log").read_text() == "before\nnow\n"


async def test_endless_output_is_read_and_only_its_end_kept(launcher, tmp_path):
    result = await a_script(
        launcher, tmp_path, "head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo end"
    )
    assert result.ok
    assert result.output_tail.endswith("end")
    assert len(result.output_tail) <= 65536


async def test_a_timeout_ends_the_whole_tree(launcher, tmp_path):
    result = await a_script(
        launcher, tmp_path, "trap '' TERM; setsid sleep 61 & echo on; sleep 61", 0.3
    )
    assert result.timed_out
    assert result.output_tail == "on"
    assert result.seconds < 3
    assert not sleeping("61")


async def test_a_cancellation_ends_the_whole_tree(launcher, tmp_path):
    task = asyncio.create_task(a_script(launcher, tmp_path, "setsid sleep 62 & sleep 62"))
    await until(lambda: len(sleeping("62")) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not sleeping("62")


async def test_a_child_left_in_the_background_does_not_delay_the_answer(launcher, tmp_path):
    result = await a_script(launcher, tmp_path, "sleep 3 & echo done")
    assert result.ok
    assert result.output_tail == "done"
    assert result.seconds < 2


async def test_a_command_that_does_not_exist_raises(launcher, tmp_path):
    with pytest.raises(LaunchError, match="not found in PATH=/usr/bin:/bin"):
        await run(("no-such-command",), tmp_path, ENV, None, 5, launcher=launcher)


async def test_no_descriptor_is_left_open(launcher, tmp_path):
    await a_script(launcher, tmp_path, "true")
    before = len(os.listdir("/proc/self/fd"))
    await a_script(launcher, tmp_path, "echo x")
    await a_script(launcher, tmp_path, "echo x", output=tmp_path / "log")
    with pytest.raises(LaunchError):
        await run(("no-such-command",), tmp_path, ENV, None, 5, launcher=launcher)
    await until(lambda: len(os.listdir("/proc/self/fd")) == before)


def sleeping(seconds: str) -> list[int]:
    found = []
    for stat in every_stat().values():
        try:
            words = Path(f"/proc/{stat.pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", seconds.encode()] and not stat.over:
            found.append(stat.pid)
    return found


async def until(condition, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.005)
