"""`relctl watch` as a person has it: a shell in a terminal, a real rollout under load, and all that happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.load.visitors import Visitors
from tests.rig import Rig, environment, fast
from tests.terminal import Terminal

PATIENCE = 30.0
PROMPT = "ready>"


class Shell:
    """bash in a terminal, with a `relctl` that finds the rig."""

    def __init__(self, rig: Rig, terminal: Terminal) -> None:
        self.terminal = terminal
        ctl = rig.home / "bin" / "relctl"
        ctl.parent.mkdir(exist_ok=True)
        ctl.write_text(f'#!/bin/sh\nexec {sys.executable} -m relctl "$@"\n')
        ctl.chmod(0o755)
        around = environment() | {
            "RELCTL_SOCKET": str(rig.socket),
            "PATH": f"{ctl.parent}:{os.environ['PATH']}",
            "PS1": f"{PROMPT} ",
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "HISTFILE": "",
            "INPUTRC": "/dev/null",
        }
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "bash", "--norc", "--noprofile", "-i"],
            stdin=terminal.theirs,
            stdout=terminal.theirs,
            stderr=terminal.theirs,
            env=around,
        )
        terminal.given_away()
        self.prompted()

    def prompted(self) -> list[str]:
        """It is the shell's turn, and the terminal is as a shell wants it."""
        screen = self.terminal.screen
        return self.terminal.until(
            lambda lines: bool(lines) and lines[-1] == PROMPT and not screen.cursor.hidden
        )

    def types(self, command: str) -> None:
        self.terminal.type(f"{command}\r".encode())

    def job(self) -> int:
        """The pid of what runs in its foreground."""
        return os.tcgetpgrp(self.terminal.ours)


@contextmanager
def in_a_shell(rig: Rig) -> Iterator[tuple[Shell, Terminal]]:
    with Terminal((80, 24)) as terminal:
        shell = Shell(rig, terminal)
        try:
            yield shell, terminal
        finally:
            shell.process.kill()
            shell.process.wait()


def whole(lines: list[str], columns: int) -> list[str]:
    """The block that is on the screen, which must be one and whole."""
    heads = [place for place, line in enumerate(lines) if line.startswith("web: ")]
    assert len(heads) == 1, "\n".join(lines)
    shown = lines[heads[0] :]
    labels = [line.split("  ")[0] for line in shown if line and line[0].isalpha()]
    assert len(labels) == len(set(labels)), "\n".join(lines)
    assert all(len(line) < columns for line in shown), "\n".join(lines)
    return shown


def test_a_switch_in_a_terminal_from_its_begin_to_its_receipt() -> None:
    slow = fast(steps=[5, 50, 100], step_time="5m", step_max="10m", bake="5m")
    with Rig(rest=slow) as rig, in_a_shell(rig) as (shell, terminal):
        rig.live_v1("v2")
        with Visitors(rig.listen, rate=40.0) as visitors:
            visitors.wait_for(20)
            _story(rig, shell, terminal)
            visitors.end()


def _story(rig: Rig, shell: Shell, terminal: Terminal) -> None:
    until = terminal.until
    shell.types("relctl switch v2")
    until(lambda lines: any(line.startswith("shifting, step 1 of 3, 5 %") for line in lines))
    lines = until(lambda lines: any("evidence" in line for line in lines))
    shown = whole(lines, 80)
    assert any(line.split() == ["release", "v1", "v2"] for line in shown)
    assert shown[-2].startswith("next       relctl promote")

    # Resized in the middle: narrower, lower, wider again.
    for columns, rows in ((50, 15), (40, 12), (100, 30), (80, 24)):
        terminal.resize((columns, rows))
        wide = min(columns - 1, 100)
        lines = until(
            lambda lines, wide=wide, rows=rows: (
                sum(line.startswith("web: ") for line in lines) == 1
                and max(map(len, lines[-8:])) <= wide
                and len(lines) <= rows
                and any("next" in line for line in lines)
            )
        )
        whole(lines, columns)
    assert rig.relctl("promote").code == 0
    until(lambda lines: any(line.startswith("shifting, step 2 of 3, 50 %") for line in lines))
    whole(terminal.lines, 80)
    busy = until(lambda lines: any(line.startswith("req/s") and "–" not in line for line in lines))
    assert any("ms" in line for line in busy)

    # Ctrl-Z gives the shell its terminal, fg takes it up again.
    terminal.type(b"\x1a")
    until(lambda lines: any("Stopped" in line for line in lines) and lines[-1] == PROMPT)
    assert not any(line.startswith("web: ") for line in shell.prompted())
    shell.types("fg")
    until(lambda lines: any(line.startswith("web: ") for line in lines))
    whole(terminal.lines, 80)

    # Ctrl-C detaches.
    terminal.type(b"\x03")
    lines = shell.prompted()
    assert any(line.startswith("still running: relctl watch 2") for line in lines)
    assert not any(line.startswith("web: ") for line in lines)

    # reld is killed: the view says so, and takes up again.
    shell.types("relctl watch")
    until(lambda lines: any(line.startswith("shifting, step 2 of 3") for line in lines))
    rig.kill_reld()
    until(lambda lines: any("reld is away" in line for line in lines))
    whole(terminal.lines, 80)
    rig.start_reld()
    until(lambda lines: lines and not any("reld is away" in line for line in lines))
    whole(until(lambda lines: any("evidence" in line for line in lines)), 80)

    # A kill leaves the terminal as it was.
    os.kill(shell.job(), signal.SIGTERM)
    assert not any(line.startswith("web: ") for line in shell.prompted())
    shell.types("echo he''re")
    until(lambda lines: "here" in lines)
    assert f"{PROMPT} echo he''re" in terminal.lines  # what is typed is seen again

    # And to the end: the phases and the receipt stay.
    shell.types("relctl watch; echo ended $?")
    until(lambda lines: any(line.startswith("shifting, step 2 of 3") for line in lines))
    assert rig.relctl("promote", "--full").code == 0
    until(lambda lines: any(line.startswith("baking") for line in lines))
    assert rig.relctl("promote").code == 0
    until(lambda lines: "ended 0" in lines, 60)
    lines = shell.prompted()
    assert not any(line.startswith("web: ") for line in lines)
    told = terminal.all_lines
    for phase in ("preparing", "starting", "shifting", "baking", "committing", "draining"):
        assert any(line.startswith(f"  {phase} ") for line in told), "\n".join(told)
    assert any(line.startswith("rollout 2  done, switch by ") for line in told)


def test_without_a_rollout_it_shows_what_is_live_and_a_stopped_one_is_nobodys_trouble() -> None:
    quick = fast(steps=[100], step_time="0s", bake="100ms", drain="100ms")
    with Rig(rest=quick) as rig, in_a_shell(rig) as (shell, terminal):
        rig.live_v1("v2", "v3")
        shell.types("relctl watch")
        lines = terminal.until(lambda lines: any("v1 is live" in line for line in lines))
        assert any(line.startswith("next       relctl switch RELEASE") for line in lines)
        assert rig.relctl("switch", "v2").code == 0
        terminal.until(lambda lines: any("web: v2 is live" in line for line in lines))
        done = "rollout 2  done, switch by "  # told when it is on disk
        terminal.until(lambda _: any(line.startswith(done) for line in terminal.all_lines))
        told = terminal.all_lines
        assert any(line.startswith("rollout 2: switch v1 → v2") for line in told)
        assert any(line.startswith("  draining ") for line in told)
        whole(terminal.lines, 80)

        viewer = shell.job()
        os.kill(viewer, signal.SIGSTOP)
        try:
            assert rig.relctl("switch", "v3").code == 0
        finally:
            os.kill(viewer, signal.SIGCONT)
        terminal.until(lambda lines: any("Stopped" in line for line in lines))
        shell.types("fg")
        terminal.until(lambda lines: any("web: v3 is live" in line for line in lines))
        whole(terminal.lines, 80)
        terminal.type(b"\x03")
        assert "stopped watching" in shell.prompted()
