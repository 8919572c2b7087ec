"""Whoever watches a rollout goes away: by Ctrl-C, with their terminal, by kill -9, with reld in between."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO

import pytest

from tests.rig import HELD, Rig, environment, wait_for

BOUND = ("--on-disconnect", "abort")
GRACE = 3.0  # seconds that reld gives somebody who was lost


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(rest=HELD) as one:
        one.live_v1("v2", "v3")
        yield one


def first_line(of: IO[str] | None) -> str:
    assert of is not None
    return of.readline()


def begun(rig: Rig, *words: str) -> subprocess.Popen[str]:
    """Somebody watches a rollout that holds at its first step."""
    process = rig.relctl_begun("switch", "v2", *words)
    rig.wait_share(5)
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def goes_on(rig: Rig, seconds: float = GRACE + 1.2) -> bool:
    time.sleep(seconds)  # nothing is to happen
    rollout = rig.status()["rollout"]
    return rollout is not None and rollout["phase"] == "shifting"


def aborted(rig: Rig, number: int = 2) -> str:
    rig.wait_idle()
    receipt = rig.receipt(number)
    assert receipt["outcome"] == "aborted", receipt
    return str(receipt["reason"])


def test_a_killed_client_leaves_the_rollout_running_and_watch_takes_it_up(rig: Rig):
    kill(begun(rig))
    assert goes_on(rig, 1.5)
    watching = rig.relctl_begun("watch", "2")
    rig.relctl("promote", "2", "--full")
    rig.relctl("promote", "2")
    out, err = watching.communicate(timeout=30)
    assert watching.returncode == 0, out + err
    assert "rollout 2  done" in out


def test_a_killed_client_takes_the_rollout_with_it_where_that_was_asked_for(rig: Rig):
    process = begun(rig, *BOUND)
    kill(process)
    assert "the connection was lost by root" in aborted(rig)
    assert rig.status()["release"] == "v1"
    last = rig.relctl("audit", "--json").json["audit"][0]
    assert (last["command"], last["note"]) == ("abort", "the connection was lost")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_from_elsewhere_is_a_lost_connection(rig: Rig, number: int):
    process = begun(rig, *BOUND)
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "disconnected: rollout 2 is aborted" in err
    aborted(rig)


def test_ctrl_c_detaches_also_where_a_lost_connection_aborts(rig: Rig):
    process = begun(rig, *BOUND)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "still running: relctl watch 2" in err
    assert goes_on(rig)


def test_a_timeout_is_no_lost_connection(rig: Rig):
    ended = rig.relctl("switch", "v2", *BOUND, "--timeout", "1s")
    assert ended.code == 7, ended.text
    assert goes_on(rig)


def test_who_leaves_at_100_percent_as_asked_is_not_lost(rig: Rig):
    process = begun(rig, *BOUND, "--until", "shifted")
    rig.relctl("promote", "2", "--full")
    process.communicate(timeout=20)
    assert process.returncode == 0
    time.sleep(GRACE + 1)
    assert rig.status()["rollout"]["phase"] == "baking"


def test_the_condition_holds_across_a_restart_of_reld(rig: Rig):
    process = begun(rig, *BOUND)
    rig.kill_reld()
    rig.start_reld()
    assert goes_on(rig)
    assert process.poll() is None
    kill(process)
    aborted(rig)


def test_a_rollout_that_ended_by_itself_is_not_aborted_by_who_leaves(rig: Rig):
    ended = rig.relctl("switch", "v2", *BOUND, "--now", "--bake", "0s")
    assert ended.code == 0, ended.text
    time.sleep(GRACE + 1)
    assert rig.receipt(2)["outcome"] == "done"
    assert rig.status()["rollout"] is None


def test_nobody_can_be_bound_and_not_stay(rig: Rig):
    ended = rig.relctl("switch", "v2", *BOUND, "--no-wait")
    assert ended.code == 2
    assert rig.status()["rollout"] is None


@pytest.mark.parametrize("words", [(), BOUND])
def test_a_reader_that_is_gone_is_noticed_at_once_though_nothing_is_written(rig: Rig, words):
    process = begun(rig, *words)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    assert process.wait(2) == 130  # its next line would come within a second
    if words:
        aborted(rig)
    else:
        assert goes_on(rig, 1.5)


def test_a_quiet_log_does_not_keep_a_client_whose_reader_is_gone(rig: Rig):
    process = rig.relctl_begun("logs", "-f")
    first_line(process.stdout)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(5) == 130
    process.communicate()


@pytest.mark.parametrize(("words", "outcome"), [((), None), (BOUND, "aborted")])
def test_a_terminal_that_goes_away_ends_the_watching(rig: Rig, words, outcome):
    pid, terminal = pty.fork()
    if pid == 0:
        variables = environment() | {"RELCTL_SOCKET": str(rig.socket)}
        command = [sys.executable, "-m", "relctl", "switch", "v2", *words]
        os.execve(sys.executable, command, variables)
    rig.wait_share(5)
    os.close(terminal)
    wait_for(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, 10, "relctl stays without a terminal")
    if outcome:
        aborted(rig)
    else:
        assert goes_on(rig, 1.5)


def test_two_who_are_bound_are_lost_one_by_one(rig: Rig):
    first = begun(rig, *BOUND)
    second = rig.relctl_begun("switch", "v2", *BOUND)
    first_line(second.stdout)
    second.send_signal(signal.SIGINT)  # in peace
    second.communicate(timeout=10)
    assert goes_on(rig)
    kill(first)
    aborted(rig)


@pytest.mark.parametrize("body", [{}, {"lease": "../.."}, {"lease": 12345678}, {"lease": "x" * 65}])
def test_a_lease_without_a_sensible_name_is_refused(rig: Rig, body):
    for verb in ("stay", "detach"):
        assert rig.ask("POST", f"/v1/rollouts/1/{verb}", body)[0] == 400
    assert rig.ask("POST", "/v1/rollouts/99/stay", {"lease": "x" * 8})[0] == 404
