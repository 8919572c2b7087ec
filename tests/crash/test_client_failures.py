"""People who leave, people who come all at once, and people who never listen."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash.side_by_side import Playing, Scene, named, played
from tests.load.load import Mix
from tests.rig import HELD, LoadInThread, Rig, fast

MIX = Mix(6, 2, 0, 0, 0, 0, think=0.02, limit=50.0)
PARALLEL = 200
"""Of them are real commands: more would only measure how fast this machine starts Python."""
COMMANDS = 8


def memory(pid: int) -> int:
    """Bytes in use."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) << 10


def the_ssh_session_is_lost_during_a_switch_and_the_rollout_goes_on() -> None:
    with Rig(rest=fast(steps=[50, 100], step_time="700ms")) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_share(50)
            switch.send_signal(signal.SIGHUP)
            switch.communicate(timeout=10)
            watch = rig.relctl("watch", "2")
            summary = load.stop()
        assert watch.code == 0, watch.text
        assert rig.receipt(2)["outcome"] == "done"
        assert not summary.whole.failed, summary.text()


def a_terminal_that_is_gone_ends_relctl_without_a_word_and_not_the_rollout() -> None:
    with Rig(rest=fast(steps=[50, 100], step_time="700ms")) as rig:
        rig.live_v1("v2")
        switch = rig.relctl_begun("switch", "v2")
        assert switch.stdout is not None
        assert switch.stderr is not None
        switch.stdout.close()
        switch.stderr.close()
        rig.wait_share(50)
        switch.wait(30)
        watch = rig.relctl("watch", "2")
        assert watch.code == 0, watch.text
        assert rig.receipt(2)["outcome"] == "done"
        assert rig.status()["release"] == "v2"


def test_200_ask_for_the_status_at_once_and_the_switch_is_hardly_later() -> None:
    with Rig() as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load:
            began = time.monotonic()
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_status(lambda s: s["rollout"])
            answers = all_at_once(rig)
            out, err = switch.communicate(timeout=60)
            crowded = time.monotonic() - began
            summary = load.stop()
        assert switch.returncode == 0, out + err
        assert not summary.whole.failed, summary.text()
        assert len(answers) == PARALLEL
        for shown in answers:
            assert shown["app"] == rig.config.stem
            assert shown["live"] in ("blue", "green")
            assert (shown["release"] == "v2") is (shown["live"] == "green"), shown
            assert sum(slot["percent"] for slot in shown["slots"].values()) == 100, shown
        # Two seconds alone; to start so many Pythons at once takes the cores for some more.
        assert crowded < 12, crowded


def all_at_once(rig: Rig) -> list[dict]:
    barrier = threading.Barrier(PARALLEL)

    def ask() -> dict:
        barrier.wait(30)
        code, told = rig.ask("GET", "/v1/status")
        assert code == 200, told
        return told

    def command() -> dict:
        barrier.wait(30)
        answer = rig.relctl("status", "--json")
        assert answer.code == 0, answer.text
        return answer.json

    with ThreadPoolExecutor(PARALLEL) as pool:
        asked = [pool.submit(command if n < COMMANDS else ask) for n in range(PARALLEL)]
        return [future.result(60) for future in asked]


def readers_that_never_read_cost_nobody_anything() -> None:
    """That they lose their connection at last is tests/contract/test_api.py's."""
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        assert rig.reld is not None
        with deaf(rig, 50):
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_share(5)
            before = memory(rig.reld.pid)
            slowest = 0.0
            for verb in 30 * ("pause", "resume"):  # each of these is told to every reader
                began = time.monotonic()
                assert rig.ask("POST", f"/v1/rollouts/2/{verb}", {})[0] == 200
                slowest = max(slowest, time.monotonic() - began)
            grown = memory(rig.reld.pid) - before
            assert rig.relctl("abort").code == 0
            out, err = switch.communicate(timeout=30)
        assert switch.returncode == 3, out + err
        assert grown < 50 * 300 << 10, grown  # a socket's buffer and a little for each
        assert slowest < 5.0, slowest


class deaf:  # noqa: N801
    """Readers of the event stream that take nothing of it."""

    def __init__(self, rig: Rig, count: int) -> None:
        self._rig = rig
        self._count = count

    def __enter__(self) -> list[socket.socket]:
        self._sockets = []
        for _ in range(self._count):
            one = socket.socket(socket.AF_UNIX)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            one.connect(str(self._rig.socket))
            one.sendall(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self._sockets.append(one)
        return self._sockets

    def __exit__(self, *exception: object) -> None:
        for one in self._sockets:
            one.close()


SCENES = (
    the_ssh_session_is_lost_during_a_switch_and_the_rollout_goes_on,
    a_terminal_that_is_gone_ends_relctl_without_a_word_and_not_the_rollout,
    readers_that_never_read_cost_nobody_anything,
)


@pytest.fixture(scope="module")
def playing() -> Iterator[Playing]:
    yield from played(SCENES)


@pytest.mark.parametrize("scene", SCENES, ids=named)
def test_nobody_else_notices(scene: Scene, playing: Playing) -> None:
    playing[scene].result()
