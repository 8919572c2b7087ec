from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import time
from pathlib import Path

import pytest

from reld.core.model import Identity
from reld.processes.held import Held
from reld.processes.identity import alive, identity_of
from reld.processes.resources import memory_available, usage
from reld.processes.spec import Launcher, LaunchSpec
from reld.processes.tree import Tree, kill_tree, marked, send_stop

IGNORES = "trap '' TERM HUP INT; echo $$ >> pids; while :; do sleep 60; done"


async def started(launcher: Launcher, tmp_path: Path, script: str, marker: str = "") -> Held:
    env = {"PATH": "/usr/bin:/bin"} | ({"RELCTL_INSTANCE": marker} if marker else {})
    held = await launcher.hold(
        LaunchSpec(("sh", "-c", script), tmp_path, env, None, tmp_path / "log")
    )
    await held.let_go()
    return held


@contextlib.asynccontextmanager
async def a_tree(launcher: Launcher, tmp_path: Path, script: str, processes: int, marker: str = ""):
    """A running script whose processes have written their pids into the file `pids`."""
    held = await started(launcher, tmp_path, script, marker)
    pids = tmp_path / "pids"
    try:
        await until(lambda: pids.exists() and len(pids.read_text().split()) == processes)
        found = [identity_of(int(pid)) for pid in pids.read_text().split()]
        yield held, [i for i in found if i is not None]
    finally:
        for pid in pids.read_text().split() if pids.exists() else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(held.pidfd, signal.SIGKILL)
        await held.child.wait()
        os.close(held.pidfd)


async def test_grandchildren_in_sessions_of_their_own_that_ignore_sigterm_are_killed(
    launcher, tmp_path
):
    (tmp_path / "deep").write_text(IGNORES)
    (tmp_path / "middle").write_text(f"setsid sh deep & {IGNORES}")
    script = f"setsid sh middle & {IGNORES}"
    async with a_tree(launcher, tmp_path, script, 3) as (held, everyone):
        tree = Tree(held.identity)
        assert tree.members() >= set(everyone)
        send_stop(held.pidfd, signal.SIGTERM)
        assert not tree.is_empty
        assert await kill_tree(tree)
        assert tree.is_empty
        assert not any(alive(one) for one in everyone)


async def test_children_of_a_root_that_is_gone_are_found_by_their_session(launcher, tmp_path):
    (tmp_path / "worker").write_text(IGNORES)
    async with a_tree(launcher, tmp_path, "sh worker & echo $$ >> pids", 2) as (held, everyone):
        await held.child.wait()
        tree = Tree(held.identity)
        assert set(everyone) - {held.identity} <= tree.members()
        assert await kill_tree(tree)


async def test_one_that_was_seen_is_remembered_after_it_left_session_and_parent(launcher, tmp_path):
    (tmp_path / "escapee").write_text(IGNORES)
    script = "setsid sh escapee & echo $$ >> pids; read _ < go"
    os.mkfifo(tmp_path / "go")
    async with a_tree(launcher, tmp_path, script, 2) as (held, everyone):
        tree = Tree(held.identity)
        tree.members()
        (tmp_path / "go").write_text("\n")
        await held.child.wait()
        (escapee,) = set(everyone) - {held.identity}
        assert escapee in tree.members()
        assert Tree(held.identity).is_empty
        assert await kill_tree(tree)
        assert not alive(escapee)


async def test_one_that_was_never_seen_is_found_by_its_marker(launcher, tmp_path):
    (tmp_path / "daemon").write_text(IGNORES)
    script = "setsid sh daemon & echo $$ >> pids"
    async with a_tree(launcher, tmp_path, script, 2, "test-web/7") as (held, everyone):
        await held.child.wait()
        (daemon,) = set(everyone) - {held.identity}
        tree = Tree(held.identity, "test-web/7")
        assert tree.members() == frozenset()
        assert daemon in tree.hidden()
        assert daemon in marked("test-web/7")
        assert marked("test-web/70") == frozenset()
        assert await kill_tree(tree)
        assert not alive(daemon)


async def test_a_tree_that_forks_all_the_time_is_ended(launcher, tmp_path):
    script = "echo $$ >> pids; while :; do setsid sleep 60 & sleep 0.001; done"
    async with a_tree(launcher, tmp_path, script, 1) as (held, _):
        tree = Tree(held.identity)
        await until(lambda: len(tree.members()) > 10)
        assert await kill_tree(tree)
        assert tree.is_empty


async def test_a_cancelled_kill_has_killed(launcher, tmp_path):
    (tmp_path / "worker").write_text(IGNORES)
    async with a_tree(launcher, tmp_path, f"sh worker & {IGNORES}", 2) as (held, everyone):
        killing = asyncio.create_task(kill_tree(Tree(held.identity)))
        await asyncio.sleep(0)
        killing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killing
        await until(lambda: not any(alive(one) for one in everyone))


async def test_a_stranger_with_the_root_s_pid_is_left_alone(launcher, tmp_path):
    async with a_tree(launcher, tmp_path, IGNORES, 1) as (held, everyone):
        former = dataclasses.replace(held.identity, start_ticks=held.identity.start_ticks - 1)
        assert Tree(former).is_empty
        assert await kill_tree(Tree(former))
        assert all(alive(one) for one in everyone)


async def test_after_a_reboot_a_tree_is_empty():
    me = identity_of(os.getpid())
    assert me is not None
    assert Tree(dataclasses.replace(me, boot_id="another boot")).is_empty


async def test_reld_itself_is_never_part_of_a_tree():
    me, parent = identity_of(os.getpid()), identity_of(os.getppid())
    assert me is not None
    assert parent is not None
    assert not {me, parent} & Tree(parent).members()


async def test_a_signal_reaches_exactly_one_process_and_a_dead_one_is_told(launcher, tmp_path):
    held = await started(launcher, tmp_path, "exec sleep 60")
    assert send_stop(held.pidfd, signal.SIGTERM)
    await held.child.wait()
    assert not send_stop(held.pidfd, signal.SIGTERM)
    os.close(held.pidfd)


async def test_what_a_tree_uses_is_summed(launcher, tmp_path):
    (tmp_path / "worker").write_text(IGNORES)
    async with a_tree(launcher, tmp_path, f"sh worker & {IGNORES}", 2) as (held, everyone):
        used = usage([*everyone, Identity(2**22 - 1, 1, everyone[0].boot_id)])
        assert used.processes == 2
        assert used.rss_bytes > 100_000
        assert used.open_files >= 6
        assert memory_available() > 0
        await kill_tree(Tree(held.identity))


async def until(condition, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.005)
