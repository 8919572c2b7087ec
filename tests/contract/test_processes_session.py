"""A command that somebody attends: their descriptors, their terminal, and its end when they leave."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reld.processes.environment import DEFAULT_PATH, MARKER
from reld.processes.identity import identity_of
from reld.processes.session import attended
from reld.processes.spec import LaunchSpec, Streams

ENV = {"PATH": DEFAULT_PATH, MARKER: f"session-test-{os.getpid()}", "LANG": "C.UTF-8"}


def over(pid: int) -> bool:
    """A zombie, which its new parent has not looked after yet."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def never() -> bool:
    return False


def spec(*argv: str, terminal: bool = False) -> LaunchSpec:
    return LaunchSpec(argv, Path("/"), ENV, None, Path(os.devnull), terminal=terminal)


@pytest.fixture
def pipes() -> Iterator[tuple[Streams, int, int]]:
    """Streams of a command, the end that feeds it, and the one that hears what it says."""
    theirs_in, ours_in = os.pipe()
    ours_out, theirs_out = os.pipe()
    yield (theirs_in, theirs_out, theirs_out), ours_in, ours_out
    for descriptor in (theirs_in, ours_in, ours_out, theirs_out):
        os.close(descriptor)


async def test_it_reads_and_writes_what_it_was_given(launcher, pipes):
    streams, ours_in, ours_out = pipes
    os.write(ours_in, b"hello\n")
    ended = await attended(
        spec("sh", "-c", "read x; echo $x; echo $x >&2; exit 5"), streams, launcher, never
    )
    assert (ended.exit.code, ended.left, ended.late) == (5, False, False)
    assert os.read(ours_out, 100) == b"hello\nhello\n"


async def test_it_ends_with_all_its_children_when_nobody_is_there(launcher, pipes):
    streams, _, ours_out = pipes
    command = "setsid sleep 600 & echo $!; trap '' HUP; sleep 600"
    left = time.monotonic() + 0.5
    ended = await attended(
        spec("sh", "-c", command), streams, launcher, lambda: time.monotonic() > left, grace=0.2
    )
    assert (ended.left, ended.exit.signal) == (True, signal.SIGKILL)
    child = int(os.read(ours_out, 100))
    async with asyncio.timeout(5):
        while identity_of(child) is not None and not over(child):
            await asyncio.sleep(0.01)


async def test_it_hears_that_its_person_is_gone_before_it_is_killed(launcher, pipes):
    streams, _, ours_out = pipes
    command = "trap 'echo bye; exit 9' HUP; echo ready; while :; do sleep 0.05; done"
    left = time.monotonic() + 0.6
    ended = await attended(
        spec("sh", "-c", command), streams, launcher, lambda: time.monotonic() > left, grace=5.0
    )
    assert (ended.left, ended.exit.code) == (True, 9)
    assert os.read(ours_out, 100) == b"ready\nbye\n"


async def test_it_has_so_much_time(launcher, pipes):
    streams, _, _ = pipes
    ended = await attended(spec("sleep", "600"), streams, launcher, never, within=0.3)
    assert (ended.late, ended.left) == (True, False)


async def test_a_terminal_becomes_its_own(launcher):
    master, slave = os.openpty()
    try:
        # Without a terminal of its own /dev/tty cannot be opened, and Ctrl-C reaches nobody.
        talk = (
            "import os, signal, time\n"
            "open('/dev/tty').close()\n"
            "assert os.tcgetpgrp(0) == os.getpgrp()\n"
            "signal.signal(signal.SIGINT, lambda *_: os._exit(42))\n"
            "os.write(1, b'ready')\n"
            "time.sleep(60)\n"
        )
        asked = spec(sys.executable, "-c", talk, terminal=True)
        typed: list[bytes] = []

        def type_at_the_prompt() -> bool:
            if not typed:
                typed.append(os.read(master, 100))
                os.write(master, b"\x03")
            return False

        ended = await attended(
            asked, (slave, slave, slave), launcher, type_at_the_prompt, within=20.0
        )
        assert (ended.exit.code, typed) == (42, [b"ready"])
    finally:
        os.close(master)
        os.close(slave)
