from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from reld.core.model import Exit, Identity
from reld.processes import exits
from reld.processes.exits import wait_exit
from reld.processes.held import Held
from reld.processes.identity import adopt, alive, boot_id, ended, every_stat, identity_of, read_stat
from reld.processes.launch import DIRECT
from reld.processes.spec import Launcher, LaunchSpec


async def started(launcher: Launcher, tmp_path: Path, script: str) -> Held:
    spec = LaunchSpec(
        ("sh", "-c", script), tmp_path, {"PATH": "/usr/bin:/bin"}, None, tmp_path / "log"
    )
    held = await launcher.hold(spec)
    await held.let_go()
    return held


@contextlib.contextmanager
def stranger(script: str):
    """A process whose parent is gone, as after reld's own death: its identity, and a clean-up."""
    told = subprocess.run(
        ["sh", "-c", f'setsid sh -c "{script}" >/dev/null 2>&1 & echo $!'],
        stdout=subprocess.PIPE,
        check=True,
    )
    identity = identity_of(int(told.stdout))
    assert identity is not None
    try:
        yield identity
    finally:
        pidfd = adopt(identity)
        if pidfd is not None:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)


async def test_a_child_s_exit_code_is_known(launcher, tmp_path):
    held = await started(launcher, tmp_path, "exit 3")
    assert await wait_exit(held.pidfd, held.child) == Exit(code=3)
    os.close(held.pidfd)


async def test_a_child_s_signal_is_known(launcher, tmp_path):
    held = await started(launcher, tmp_path, "exec sleep 60")
    signal.pidfd_send_signal(held.pidfd, signal.SIGTERM)
    assert await wait_exit(held.pidfd, held.child) == Exit(signal=15)
    os.close(held.pidfd)


async def test_an_exit_is_noticed_at_once(launcher, tmp_path):
    async def once() -> float:
        held = await started(launcher, tmp_path, "exec sleep 60")
        waiting = asyncio.create_task(wait_exit(held.pidfd, held.child))
        await asyncio.sleep(0)
        began = time.perf_counter()
        signal.pidfd_send_signal(held.pidfd, signal.SIGKILL)
        await waiting
        os.close(held.pidfd)
        return time.perf_counter() - began

    # systemd is asked how it was, by a command.
    assert min([await once() for _ in range(3)]) < (0.05 if launcher is DIRECT else 0.3)


async def test_several_may_wait_for_one_exit_and_later_ones_get_it_too(launcher, tmp_path):
    held = await started(launcher, tmp_path, "exit 4")
    answers = await asyncio.gather(*(wait_exit(held.pidfd, held.child) for _ in range(3)))
    assert [*answers, await wait_exit(held.pidfd, held.child)] == [Exit(code=4)] * 4
    os.close(held.pidfd)


async def test_a_child_that_nobody_waits_for_leaves_no_zombie(launcher, tmp_path):
    held = await started(launcher, tmp_path, "exit 0")
    pid = held.identity.pid
    os.close(held.pidfd)
    del held
    await until(lambda: not Path(f"/proc/{pid}").exists())


async def test_a_cancelled_wait_leaves_no_zombie(launcher, tmp_path):
    held = await started(launcher, tmp_path, "exec sleep 60")
    waiting = asyncio.create_task(wait_exit(held.pidfd, held.child))
    await asyncio.sleep(0)
    waiting.cancel()
    signal.pidfd_send_signal(held.pidfd, signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{held.identity.pid}").exists())
    os.close(held.pidfd)


async def test_the_exit_of_an_adopted_process_is_noticed(tmp_path):
    with stranger("exec sleep 60") as identity:
        pidfd = adopt(identity)
        assert pidfd is not None
        waiting = asyncio.create_task(wait_exit(pidfd, None))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        async with asyncio.timeout(2):
            # Unknown where the kernel is older than 6.15 and the new parent quick to reap.
            assert await waiting in {Exit(), Exit(signal=9)}
        os.close(pidfd)


async def test_a_process_that_is_not_reaped_yet_tells_how_it_ended():
    child = subprocess.Popen(["sh", "-c", "exit 7"])
    pidfd = os.pidfd_open(child.pid)
    assert await wait_exit(pidfd, None) == Exit(code=7)
    child.wait()
    assert exits._as_zombie(pidfd) is None
    os.close(pidfd)


async def test_a_reaped_process_of_an_older_kernel_has_an_unknown_exit(monkeypatch):
    monkeypatch.setattr(exits._KERNEL, "tells", False)
    child = subprocess.Popen(["sh", "-c", "exit 7"])
    pidfd = os.pidfd_open(child.pid)
    child.wait()
    assert await wait_exit(pidfd, None) == Exit()
    os.close(pidfd)


def test_a_process_is_adopted_after_its_parent_s_death():
    with stranger("exec sleep 60") as identity:
        stat = read_stat(identity.pid)
        assert stat is not None
        assert stat.parent != os.getpid()
        pidfd = adopt(identity)
        assert pidfd is not None
        assert not ended(pidfd)
        os.close(pidfd)


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "another boot"}])
def test_a_reused_pid_is_refused(change):
    me = identity_of(os.getpid())
    assert me is not None
    other = dataclasses.replace(me, **change)
    assert not alive(other)
    assert adopt(other) is None
    assert alive(me)


def test_a_pid_that_nobody_has_is_not_adopted():
    assert adopt(Identity(2**22 - 1, 1, boot_id())) is None
    assert identity_of(2**22 - 1) is None


def test_a_zombie_is_not_alive_and_not_adopted_but_has_its_identity():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    identity = identity_of(child.pid)
    assert identity is not None
    assert not alive(identity)
    assert adopt(identity) is None
    child.wait()


def test_a_command_name_with_parentheses_and_blanks_confuses_nobody(tmp_path):
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(odd), "60"])
    try:
        stat = read_stat(child.pid)
        assert stat is not None
        assert stat.parent == os.getpid()
        assert stat.session == os.getsid(child.pid)
        assert every_stat()[child.pid].start_ticks == stat.start_ticks > 1
    finally:
        child.kill()
        child.wait()


async def until(condition, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.005)
