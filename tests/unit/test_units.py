"""The systemd launcher while PID 1 does not answer: what the kernel says is told all the same."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading

import pytest

from reld.core.model import Exit
from reld.processes import exits, pid1, units
from reld.processes.units import Units

UNIT = "relctl-web-r1-blue-1.service"


@pytest.fixture
def silent(monkeypatch):
    """A PID 1 that says nothing until the test is over."""
    over = threading.Event()

    def say_nothing(*_words):
        over.wait(30.0)
        return Exit()

    for name in ("how_it_ended", "forget", "tell"):
        monkeypatch.setattr(pid1, name, say_nothing)
    yield
    over.set()


@pytest.fixture
def dead():
    """A pidfd of a process that has ended."""
    process = subprocess.Popen(["/bin/true"])
    pidfd = os.pidfd_open(process.pid)
    process.wait()
    yield pidfd
    os.close(pidfd)


async def test_an_exit_is_told_while_pid_1_does_not_answer(silent, monkeypatch, tmp_path, dead):
    monkeypatch.setattr(units, "TELLING", 0.05)
    ending = Units("web", tmp_path).adopted(UNIT, dead)
    assert ending is not None
    async with asyncio.timeout(5.0):
        assert (await ending.wait()).cause == ""


async def test_others_have_threads_while_pid_1_does_not_answer(silent, tmp_path):
    launcher = Units("web", tmp_path)
    asked = [asyncio.create_task(launcher.forget(UNIT)) for _ in range(40)]
    await asyncio.sleep(0)
    async with asyncio.timeout(5.0):
        assert await asyncio.to_thread(os.getpid) == os.getpid()
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)


async def test_an_exit_is_told_when_descriptors_are_back(monkeypatch, tmp_path, dead):
    tries = []

    async def none_to_spare_at_first(_pidfd, _child):
        tries.append(1)
        if len(tries) == 1:
            raise OSError(24, "Too many open files")
        return Exit(code=3)

    monkeypatch.setattr(exits, "wait_exit", none_to_spare_at_first)
    monkeypatch.setattr(units, "_AGAIN_AFTER", 0.01)
    monkeypatch.setattr(pid1, "how_it_ended", lambda _unit: Exit(cause="told"))
    ending = Units("web", tmp_path).adopted(UNIT, dead)
    assert ending is not None
    async with asyncio.timeout(5.0):
        assert await ending.wait() == Exit(code=3, cause="told")


async def test_the_longest_name_of_an_app_still_fits_a_socket(monkeypatch, tmp_path):
    """/run/relctl/APP/launch, 63 characters of APP, and 107 bytes are all that a socket's path may have."""
    place = tmp_path / "launch"
    room = 107 - len(f"/run/relctl/{'a' * 63}/launch")
    bound = []

    def refuse(command, _patience=0.0):
        (path,) = place.glob("*.sock")
        bound.append(path.name)
        return subprocess.CompletedProcess(command, 1, "", "no")

    monkeypatch.setattr(pid1, "run", refuse)
    launcher = Units("a" * 63, place)
    unit = units.Unit(f"relctl-{'a' * 63}-r1234-green-1764000000.service")
    with pytest.raises(units.LaunchError):
        launcher._started(unit)
    assert all(len(f"/{name}") <= room for name in bound)
    assert bound
