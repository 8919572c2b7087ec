"""relctl as a process of its own: terminal, signals, pipes, and how fast it starts."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes import api
from tests.fakes.api import fake_reld, phase, progress, result
from tests.terminal import Terminal

CTL = str(Path(__file__).parents[2] / "ctl")


@pytest.fixture
def reld():
    with fake_reld() as fake:
        yield fake


def environment(reld, **more):
    kept = {name: value for name, value in os.environ.items() if name != "RELCTL_APP"}
    kept |= {"PYTHONPATH": CTL, "RELCTL_SOCKET": reld.path, "PYTHONUTF8": "1", "TERM": "xterm"}
    return kept | more


def relctl(reld, *arguments, **more):
    return subprocess.Popen(
        [sys.executable, "-m", "relctl", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(reld),
        **more,
    )


def on_a_terminal(reld, *arguments, size=(80, 24), **variables):
    """Runs relctl in a terminal. Returns its exit code, and the terminal as it was left."""
    with Terminal(size) as terminal:
        with subprocess.Popen(
            [sys.executable, "-m", "relctl", *arguments],
            stdin=terminal.theirs,
            stdout=terminal.theirs,
            stderr=terminal.theirs,
            env=environment(reld, **variables),
            start_new_session=True,
        ) as process:
            terminal.to_the_end()
        return process.returncode, terminal


@pytest.mark.parametrize("size", [(80, 24), (200, 50), (40, 15), (20, 4)])
def test_on_a_terminal_phases_become_lines_above_a_block_that_goes_at_the_end(reld, size):
    waiting = "for 120 more requests on both slots together, which takes a while"
    reld.rollout(
        42,
        [
            api.event("status", status=api.rolling("proving")),
            phase("shifting", 5),
            0.3,
            progress(percent=50, waiting=waiting),
            0.3,
            phase("baking", 100, phases=[{"phase": "shifting", "seconds": 60}]),
            result(),
        ],
    )
    code, terminal = on_a_terminal(reld, "switch", "v2", size=size)
    assert code == 0
    assert (terminal.screen.cursor.hidden, terminal.echoes) == (False, True)
    shown = terminal.said.decode()
    assert "shifting, step 2, 50 %"[: size[0] - 2] in shown
    assert (
        terminal.all_lines[0]
        == "rollout 42: switch v1 → v2, 5 → 25 → 100 %, about 15 min 30 s"[: size[0]]
    )
    lines = terminal.all_lines
    for finished in ("starting    4.2 s", "shifting    1 min", "baking      10 min"):
        assert f"  {finished}" in lines
    assert lines.index("  starting    4.2 s") < lines.index("  shifting    1 min")
    assert any(line.startswith("requests    blue 4121"[: size[0]]) for line in lines)
    assert not any(line.startswith(("web:", "next")) for line in lines)


def test_the_view_asks_for_its_pace_and_for_what_happened_before(reld):
    reld.rollout(42, [progress(), result()])
    on_a_terminal(reld, "switch", "v2")
    assert reld.asked("GET", "/v1/events") == [{"rollout": "42", "every": "0.25", "last": "24"}]


def test_what_happened_before_is_told_in_the_block_and_not_again_after_an_outage(reld):
    before = [
        {**api.event("step", f"step number {n}"), "time": f"2026-11-23T10:0{n}:00Z", "past": True}
        for n in range(3)
    ]
    reld.away = 1.5
    reld.rollout(42, [progress(), *before, 0.3, progress(), 0.3, api.RESTART])
    reld.stream("/v1/events", [progress(), *before, 0.3, progress(), 0.3, result()])
    _, terminal = on_a_terminal(reld, "switch", "v2")
    said = terminal.said.decode()
    assert "reld is away" in said
    for n in range(3):
        assert f"step number {n}" in said
    assert not any("step number" in line for line in terminal.all_lines)


def test_an_ascii_terminal_gets_ascii(reld):
    reld.rollout(42, [progress(evidence=api.evidence(errors=0.5)), 0.3, result()])
    _, terminal = on_a_terminal(reld, "switch", "v2", LC_ALL="C", PYTHONUTF8="0")
    assert terminal.said.isascii()
    assert "rollout 42: switch v1 -> v2, 5 -> 25 -> 100 %, about 15 min 30 s" in terminal.all_lines


def test_in_the_background_it_writes_lines_and_leaves_the_terminal_alone(reld):
    reld.rollout(42, [progress(), phase("shifting"), result()])
    with Terminal((80, 24)) as terminal:
        script = (
            "import os, subprocess, sys\n"
            "job = subprocess.Popen([sys.executable, '-m', 'relctl', 'switch', 'v2'], process_group=0)\n"
            "print('code', job.wait(), flush=True)\n"
        )
        with subprocess.Popen(
            ["setsid", "--ctty", sys.executable, "-c", script],
            stdin=terminal.theirs,
            stdout=terminal.theirs,
            stderr=terminal.theirs,
            env=environment(reld),
        ):
            terminal.to_the_end()
        assert terminal.lines[-1] == "code 0"
        assert b"\x1b" not in terminal.said


def test_no_colour_is_used_at_all(reld):
    reld.rollout(42, [progress(), result()])
    _, terminal = on_a_terminal(reld, "switch", "v2", NO_COLOR="1")
    assert not re.search(rb"\x1b\[[0-9;]*m", terminal.said)


def test_colour_is_used_where_it_helps(reld):
    reld.rollout(42, [progress(waiting="for a person"), 0.3, result()])
    _, terminal = on_a_terminal(reld, "switch", "v2", NO_COLOR="")
    assert b"\x1b[33mfor a person\x1b[0m" in terminal.said


def test_a_dumb_terminal_gets_plain_lines(reld):
    reld.rollout(42, [phase("shifting"), result()])
    _, terminal = on_a_terminal(reld, "switch", "v2", TERM="dumb")
    assert b"\x1b" not in terminal.said
    assert "2026-11-23T11:00:00.123Z shifting begins" in terminal.all_lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
def test_leaving_detaches_and_aborts_nothing(reld, number):
    reld.rollout(42, [progress(), api.HANG])
    process = relctl(reld, "switch", "v2")
    assert reld.streaming.wait(20)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "still running: relctl watch 42 · undo: relctl abort 42\n"
    assert [path for _, path, _ in reld.requests] == ["/v1/rollouts", "/v1/events"]


def test_leaving_in_json_ends_with_an_object(reld):
    reld.rollout(42, [progress(), api.HANG])
    process = relctl(reld, "switch", "v2", "--json")
    assert reld.streaming.wait(20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    last = json.loads(out.splitlines()[-1])["error"]
    assert (last["code"], last["exit"], last["rollout"]) == ("detached", 130, 42)
    assert err == ""


def test_watch_shows_whatever_happens_until_ctrl_c(reld):
    reld.stream(
        "/v1/events", [api.event("status"), api.event("instance", "blue 1 is ready"), api.HANG]
    )
    process = relctl(reld, "watch")
    assert process.stdout is not None
    assert process.stdout.readline() == "2026-11-23T11:00:00.123Z blue 1 is ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.endswith("stopped watching\n")


def test_logs_are_followed_across_a_restart_without_the_old_lines(reld):
    for lines in (["a", "b"], ["c"]):
        told = [{"release": "v1", "slot": "blue", "line": line} for line in lines]
        reld.stream("/v1/logs", [*told, api.RESTART])
    reld.stream("/v1/logs", [api.HANG])
    process = relctl(reld, "logs", "blue", "-f")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == ["a\n", "b\n", "c\n"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    asked = [query["lines"] for query in reld.asked("GET", "/v1/logs")]
    assert asked[0] == "100"
    assert set(asked[1:]) == {"0"}


def test_a_terminal_that_goes_away_detaches(reld):
    reld.rollout(42, [progress(), 0.5, *[progress(), 0.05] * 20, api.HANG])
    primary, secondary = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "relctl", "switch", "v2"],
        stdin=secondary,
        stdout=secondary,
        stderr=subprocess.PIPE,
        env=environment(reld),
    ) as process:
        os.close(secondary)
        os.read(primary, 10)
        os.close(primary)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == b"still running: relctl watch 42 \xc2\xb7 undo: relctl abort 42\n"


def test_under_nohup_a_lost_terminal_changes_nothing(reld):
    reld.rollout(42, [progress(), 1, result()])
    process = relctl(
        reld, "switch", "v2", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_closed_pipe_detaches_without_noise(reld):
    reld.rollout(42, [0.5, *[phase("shifting"), 0.05] * 20, api.HANG])
    process = relctl(reld, "switch", "v2")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(20) == 130
    assert err == "still running: relctl watch 42 · undo: relctl abort 42\n"


@pytest.mark.parametrize("arguments", [["status"], ["history"]])
def test_a_full_disk_under_stdout_is_told_in_one_line(reld, arguments):
    reld.answer("GET", "/v1/rollouts", {"rollouts": [api.receipt()]})
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "relctl", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(reld),
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "relctl: cannot write the answer: the disk is full\n"


def test_the_status_of_every_day_imports_nothing_heavy(reld):
    code = (
        "import sys; from relctl.__main__ import main; main(sys.argv[1:]);"
        "print(sorted(sys.modules), file=sys.stderr)"
    )
    for line in (["status"], ["--json", "status", "--check"], ["status", f"--socket={reld.path}"]):
        done = subprocess.run(
            [sys.executable, "-S", "-c", code, *line],
            capture_output=True,
            text=True,
            env=environment(reld),
            check=True,
        )
        heavy = {"click", "asyncio", "http.client", "typing", "dataclasses", "datetime", "aiohttp"}
        assert done.stdout
        assert heavy & set(json.loads(done.stderr.replace("'", '"'))) == set()


def test_status_takes_at_most_five_times_an_empty_python(reld):
    def seconds(*arguments):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments],
            check=True,
            env=environment(reld),
            stdout=subprocess.DEVNULL,
        )
        return time.perf_counter() - started

    pairs = [(seconds("-c", "pass"), seconds("-m", "relctl", "status")) for _ in range(20)]
    nothing, status = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert status <= 5 * nothing


def test_the_outlook_a_verdict_and_a_skipped_step_stay_on_the_terminal(reld):
    said = "v2 failed 7 of 140 requests (5.0 %), v1 3 of 2660 (0.1 %)"
    skipping = api.rolling("shifting", 0, skipped=[5])
    reld.rollout(
        42,
        [
            phase("shifting", 0),
            api.event("step", "skipped 5 %: at 0.02 req/s", status=skipping),
            api.event("step", "v2 has 25 %", status=api.rolling("shifting", 25, skipped=[5])),
            api.event("verdict", said),
            api.event("shield", "the shield is off"),
            result(),
        ],
        watch=["will notice 2 % errors"],
    )
    _, terminal = on_a_terminal(reld, "switch", "v2")
    lines = terminal.all_lines
    assert lines[1] == "  will notice 2 % errors"
    for text in ("skipped 5 %: at 0.02 req/s", said, "the shield is off"):
        assert lines.count(f"  {text}") == 1
    assert "  v2 has 25 %" not in lines


def test_a_history_fits_the_terminal_and_is_whole_in_a_pipe(reld):
    reason = "v2 failed 7 of 140 requests (5.0 %), v1 3 of 2660 (0.1 %); once in 52000 releases"
    reld.answer("GET", "/v1/rollouts", {"rollouts": [api.receipt("rolled_back", reason=reason)]})
    code, terminal = on_a_terminal(reld, "history", LANG="C", LC_ALL="C")
    assert code == 0
    head, row, why = (line for line in terminal.all_lines if line)
    assert head.startswith("ID  KIND    FROM -> TO")
    assert "v1 -> v2    rolled back" in row
    assert why.startswith("    v2 failed 7 of 140 requests (5.0 %)")
    assert why.endswith("...")
    with relctl(reld, "history") as process:
        assert reason in process.communicate(timeout=30)[0]
