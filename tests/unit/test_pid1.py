"""Why a unit ended, from what PID 1 says: the cases that no test can bring about at will."""

from __future__ import annotations

import errno

import pytest

from reld.core.model import OUT_OF_MEMORY, SHUTDOWN, Exit
from reld.processes import pid1

FAILED = {"LoadState": "loaded", "ActiveState": "failed", "SubState": "failed"}
KILLED = {**FAILED, "Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "9"}


@pytest.fixture
def says(monkeypatch):
    """What systemd answers: properties, whether the machine goes down, whether the OOM killer came."""

    def say(properties, *, going_down=False, oom=False):
        monkeypatch.setattr(pid1, "properties", lambda unit: properties)
        monkeypatch.setattr(pid1, "_going_down", lambda: going_down)
        monkeypatch.setattr(pid1, "_was_oom", lambda unit: oom)
        return pid1.how_it_ended("relctl-web-r1-blue-1.service")

    return say


def test_a_kill_that_systemd_calls_oom_kill_is_out_of_memory(says):
    assert says({**KILLED, "Result": "oom-kill"}) == Exit(signal=9, cause=OUT_OF_MEMORY)


def test_a_kill_that_the_journal_tells_of_is_out_of_memory(says):
    assert says(KILLED, oom=True) == Exit(signal=9, cause=OUT_OF_MEMORY)


def test_any_other_kill_has_no_cause(says):
    assert says(KILLED) == Exit(signal=9)


def test_an_exit_code_is_the_app_s_own_even_if_a_worker_was_taken(says):
    ended = {**FAILED, "Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "3"}
    assert says(ended, oom=True) == Exit(code=3)


@pytest.mark.parametrize(
    "properties", [KILLED, {"LoadState": "not-found", "ActiveState": "inactive"}]
)
def test_when_the_machine_goes_down_nothing_is_a_crash(says, properties):
    assert says(properties, going_down=True).cause == SHUTDOWN


def test_a_unit_that_is_gone_was_stopped_by_somebody(says):
    gone = says({"LoadState": "not-found", "ActiveState": "inactive"})
    assert gone == Exit(cause="stopped with systemctl")


def test_a_systemd_that_does_not_answer_leaves_it_unknown(says, monkeypatch):
    monkeypatch.setattr(pid1, "_SETTLE", 0.05)
    assert says({}) == Exit()


def test_a_systemctl_that_cannot_be_started_is_one_that_does_not_answer(monkeypatch):
    def no_memory(*_args, **_more):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(pid1.subprocess, "run", no_memory)
    monkeypatch.setattr(pid1, "_SETTLE", 0.05)
    assert pid1.how_it_ended("relctl-web-r1-blue-1.service") == Exit()
    pid1.forget("relctl-web-r1-blue-1.service")
