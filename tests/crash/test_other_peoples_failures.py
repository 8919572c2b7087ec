"""Things that others do to reld and to the app: freeze it, keep it away, start it twice, take its port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reld.core.model import Identity
from reld.processes.identity import adopt, identity_of
from tests.crash.side_by_side import Playing, Scene, named, played
from tests.load.load import Mix
from tests.rig import HELD, LoadInThread, Rig, environment, fast, runs, wait_for

MIX = Mix(6, 2, 0, 0, 0, 0, think=0.02, limit=50.0)
CLIENTS = 8
AWAY = 5.0
"""Seconds: of the issue's minute and hour what matters is that every deadline of the step is over."""
STEPS = {"steps": [50, 95, 100], "step_time": "2s", "step_max": "3s", "bake": "2s"}


Trouble = Callable[[Rig], None]


def frozen(rig: Rig) -> None:
    assert rig.reld is not None
    rig.reld.send_signal(signal.SIGSTOP)
    time.sleep(AWAY)
    rig.reld.send_signal(signal.SIGCONT)


def away(rig: Rig) -> None:
    rig.kill_reld()
    time.sleep(AWAY)
    rig.start_reld()


def judged_by_the_log(trouble: Trouble) -> None:
    """Every deadline has passed, and v2 has failed meanwhile: who looked at the clock would go on."""
    with Rig(rest=fast(**STEPS, step_requests=10)) as rig:
        rig.live_v1()
        rig.release("v2")
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun("switch", "v2")
            shown = rig.wait_share(50)
            (bad,) = shown["slots"]["green"]["instances"]
            steady = rig.pids("blue")
            turn_bad(bad["port"])
            trouble(rig)
            back = time.monotonic()
            shown = rig.status()
            told = time.monotonic() - back
            out, err = switch.communicate(timeout=40)
            rig.wait_idle()
            load.stop()
        receipt = rig.receipt(2)
        assert switch.returncode == 3, out + err
        assert receipt["outcome"] == "rolled_back", receipt
        assert "v2 has 95 %" not in out, out
        assert told < 1.0
        assert shown["slots"]["blue"]["instances"][0]["pid"] == steady[0], shown
        assert shown["slots"]["blue"]["instances"][0]["adopted"] is (trouble is away)
        assert rig.pids() == steady == rig.leftovers()


def turn_bad(port: int) -> None:
    body = b'{"error_rate": 1.0}'
    with socket.create_connection(("127.0.0.1", port), 5) as app:
        head = f"POST /knobs HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        app.sendall(head.encode() + body)
        assert app.recv(100).startswith(b"HTTP/1.1 200")


def a_step_is_over_without_a_request_and_is_not_taken() -> None:
    silence = fast(**STEPS, step_requests=10) + '[verdict]\non_unproven = "hold"\n'
    with Rig(rest=silence) as rig:
        rig.live_v1("v2")
        switch = rig.relctl_begun("switch", "v2")
        rig.wait_share(50)
        frozen(rig)
        shown = rig.wait_status(lambda s: s["rollout"]["waiting"])
        assert shown["rollout"]["percent"] == 50, shown
        assert rig.relctl("abort").code == 0
        switch.communicate(timeout=30)


def a_step_is_over_long_before_a_frozen_reld_is_thawed() -> None:
    judged_by_the_log(frozen)


def a_step_is_over_long_before_reld_is_back() -> None:
    judged_by_the_log(away)


def second(rig: Rig, *, state: Path | None = None, runtime: Path | None = None) -> str:
    """Another reld for the same config; it must refuse at once. What it says."""
    places = ["--state-dir", str(state or rig.state), "--runtime-dir", str(runtime or rig.runtime)]
    ended = subprocess.run(
        [sys.executable, "-m", "reld", str(rig.config), *places],
        capture_output=True,
        text=True,
        timeout=20,
        env=environment(),
        check=False,
    )
    assert ended.returncode == 9, ended
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended.stderr


def a_second_reld_is_started_and_refuses_whatever_directories_it_is_given() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        assert rig.reld is not None
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_share(5)
            pids, gate = rig.pids(), rig.gate_pid()
            others = (
                {},
                {"runtime": rig.home / "run2"},
                {"state": rig.home / "state3"},
                {"state": rig.home / "state4", "runtime": rig.home / "run4"},
            )
            with ThreadPoolExecutor(len(others)) as pool:
                said = list(pool.map(lambda places: second(rig, **places), others))
            assert [f"(pid {rig.reld.pid})" in words for words in said] == 4 * [True], said
            load.wait_for(30)
            # The first one has not noticed, and its socket is still its own.
            shown = rig.status()
            assert (shown["rollout"]["percent"], shown["degraded"]) == (5, None), shown
            assert (rig.pids(), rig.gate_pid()) == (pids, gate)
            assert rig.relctl("abort").code == 0
            switch.communicate(timeout=30)
            summary = load.stop()
        assert not summary.whole.failed, summary.text()


@contextlib.contextmanager
def thief(port: int) -> Iterator[None]:
    """Binds the port the moment it is free."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deadline = time.monotonic() + 10
    while True:
        try:
            one.bind(("127.0.0.1", port))
            one.listen()
            break
        except OSError:
            assert time.monotonic() < deadline, "the port is never free"
    try:
        yield
    finally:
        one.close()


def a_port_is_stolen_between_death_and_respawn() -> None:
    with Rig(instances=2) as rig:
        rig.live_v1()
        with LoadInThread(rig.listen, None, MIX) as load:
            load.wait_for(20)
            victim, other = rig.status()["slots"]["blue"]["instances"]
            os.kill(victim["pid"], signal.SIGKILL)
            with thief(victim["port"]):
                shown = rig.wait_status(
                    lambda s: f"port {victim['port']} is taken by" in first(s)["detail"]
                )
                assert str(os.getpid()) in first(shown)["detail"], shown
                assert "1 of 2 instances" in shown["degraded"], shown
                load.wait_for(20)
                assert shown["slots"]["blue"]["instances"][1]["pid"] == other["pid"]
                rig.wait_status(lambda s: s["degraded"] is None and first(s)["state"] == "ready")
                assert first(rig.status())["port"] not in (victim["port"], other["port"])
            load.wait_for(30)
            summary = load.stop()
        # The dead one held some, and the thief was given some before the gate had forgotten the port:
        # one of each client at most, and none after that.
        assert len(summary.whole.failed) <= 2 * CLIENTS, summary.text()
        assert len(rig.leftovers()) == 2


def first(shown: dict) -> dict:
    return shown["slots"]["blue"]["instances"][0]


REUSE = """
import ctypes, os, struct, sys, time

wanted = int(sys.argv[1])
libc = ctypes.PyDLL(None, use_errno=True)
number = (ctypes.c_int * 1)(wanted)
# struct clone_args of clone3(2): exit_signal is the 5th word, set_tid and its size the 9th and 10th.
words = [0] * 11
words[4], words[8], words[9] = 17, ctypes.addressof(number), 1
arguments = ctypes.create_string_buffer(struct.pack("=11Q", *words))
deadline = time.monotonic() + 10
while True:
    pid = libc.syscall(435, arguments, 88)
    if pid == 0:
        os.execv("/bin/sleep", ["sleep", "60"])
    if pid == wanted:
        break
    assert time.monotonic() < deadline, os.strerror(ctypes.get_errno())
    time.sleep(0.01)
print(pid, flush=True)
os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
"""
"""Starts a stranger with a process number of our choice: what the kernel does by chance once a week."""


@contextlib.contextmanager
def stranger(pid: int) -> Iterator[subprocess.Popen[str]]:
    """Has this process number, which must be free."""
    parent = subprocess.Popen(
        [sys.executable, "-c", REUSE, str(pid)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline().split() == [str(pid)]
        yield parent
    finally:
        if parent.poll() is None:
            os.kill(pid, signal.SIGKILL)
        parent.communicate(timeout=10)


def a_stranger_got_the_pid_while_reld_was_away_and_is_never_signalled() -> None:
    with Rig(app='stop_timeout = "1s"') as rig:
        rig.live_v1("v2")
        (pid,) = rig.pids()
        identity = identity_of(pid)
        rig.kill_reld()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), 5, "it is not reaped")
        with stranger(pid) as foreign:
            rig.start_reld()
            shown = rig.wait_status(lambda s: s["degraded"] is None and first(s)["pid"])
            assert first(shown)["pid"] != pid
            assert first(shown)["adopted"] is False
            assert rig.relctl("switch", "v2", "--now").code == 0  # and v1 is stopped
            assert foreign.poll() is None
            assert runs(pid)
            assert identity is not None
            assert adopt(identity) is None
            assert adopt(Identity(pid, identity.start_ticks, "another boot")) is None
        assert rig.leftovers() == rig.pids()


SCENES = (
    a_step_is_over_long_before_a_frozen_reld_is_thawed,
    a_step_is_over_long_before_reld_is_back,
    a_step_is_over_without_a_request_and_is_not_taken,
    a_second_reld_is_started_and_refuses_whatever_directories_it_is_given,
    a_port_is_stolen_between_death_and_respawn,
    a_stranger_got_the_pid_while_reld_was_away_and_is_never_signalled,
)


@pytest.fixture(scope="module")
def playing() -> Iterator[Playing]:
    yield from played(SCENES)


@pytest.mark.parametrize("scene", SCENES, ids=named)
def test_all_goes_on_when(scene: Scene, playing: Playing) -> None:
    playing[scene].result()
