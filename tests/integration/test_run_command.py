"""`relctl run`: the live release's environment, directory and user, on one's own terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import Answer, Rig, environment, fast, runs, wait_for


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    rest = fast(steps=[100], step_time="0s", bake="0s", drain="0s")
    with Rig(app='env = { KEY = "as it was" }', rest=rest) as one:
        refused = one.relctl("run", "true")
        assert (refused.code, "nothing that reld started is live" in refused.err) == (1, True)
        one.live_v1("v2")
        one.edit("as it was", "changed since")
        yield one


def started(rig: Rig, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "relctl", "run", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment() | {"RELCTL_SOCKET": str(rig.socket)},
    )


def run(rig: Rig, *words: str, sent: bytes = b"") -> Answer:
    client = started(rig, *words)
    out, err = client.communicate(sent, timeout=30)
    return Answer(client.returncode, out.decode(), err.decode())


TELL = "import json, os; print(json.dumps([os.getcwd(), os.getuid(), dict(os.environ)]))"


def test_a_command_is_run_as_the_live_release_runs(rig: Rig):
    there, uid, env = run(rig, "--", "python3", "-c", TELL).json
    assert there == str(rig.releases / "v1")
    assert uid == Path(f"/proc/{rig.pids()[0]}").stat().st_uid
    assert (env["KEY"], env["RELCTL_RELEASE"], env["RELCTL_APP"]) == ("as it was", "v1", "web")
    assert "PORT" not in env


def test_another_release_may_be_named(rig: Rig):
    there, _, env = run(rig, "--release", "v2", "--", "python3", "-c", TELL).json
    assert (there, env["KEY"]) == (str(rig.releases / "v2"), "changed since")
    assert run(rig, "--release", "v99", "true").code == 1


def test_what_it_reads_says_and_how_it_ends_is_the_commands(rig: Rig):
    done = run(rig, "sh", "-c", "cat; echo bad >&2; exit 7", sent=b"given")
    assert (done.code, done.out, done.err) == (7, "given", "bad\n")
    assert run(rig, "sh", "-c", "kill -TERM $$").code == 128 + signal.SIGTERM
    assert run(rig, "bin/nothing-there").code == 1


def test_who_ran_what_is_in_the_audit_from_its_beginning(rig: Rig):
    client = started(rig, "--note", "why", "cat")

    def rows() -> list[dict[str, object]]:
        found = json.loads(rig.relctl("audit", "--json").out)["audit"]
        return [row for row in found if row["note"] == "why"]

    wait_for(lambda: len(rows()) == 1, 10, "it is not told")
    assert (rows()[0]["command"], rows()[0]["told"]) == ("run", "begins")
    assert rows()[0]["arguments"] == {"argv": ["cat"]}
    client.communicate(timeout=20)
    wait_for(lambda: len(rows()) == 2, 10, "its end is not told")
    assert rows()[0]["told"] == "ended: exit code 0"


def test_it_ends_when_its_client_is_gone(rig: Rig):
    client = started(rig, "sh", "-c", "echo $$; sleep 600")
    assert client.stdout is not None
    pid = int(client.stdout.readline())
    client.kill()
    client.communicate()
    wait_for(lambda: not runs(pid), 10, "it runs on")


def test_at_a_terminal_that_is_only_its_input_it_reads_what_is_typed_and_has_no_terminal(rig: Rig):
    asks = "import os, sys; print([os.isatty(n) for n in (0, 1, 2)]); print(sys.stdin.read())"
    master, slave = pty.openpty()
    client = subprocess.Popen(
        [sys.executable, "-m", "relctl", "run", "python3", "-c", asks],
        stdin=slave, stdout=subprocess.PIPE, stderr=slave, start_new_session=True,
        env=environment() | {"RELCTL_SOCKET": str(rig.socket)},
    )  # fmt: skip
    os.close(slave)
    os.write(master, b"typed\n\x04")
    said, _ = client.communicate(timeout=20)
    os.close(master)
    assert said == b"[False, False, False]\ntyped\n\n"
    assert client.returncode == 0


class Screen:
    """relctl on a terminal of its own, with somebody who types."""

    def __init__(self, rig: Rig, *words: str) -> None:
        self.said = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ.update(environment() | {"RELCTL_SOCKET": str(rig.socket), "TERM": "vt100"})
            os.execv(sys.executable, [sys.executable, "-m", "relctl", "run", *words])

    def until(self, words: bytes) -> None:
        deadline = time.monotonic() + 15
        while words not in self.said:
            assert select.select([self.master], [], [], deadline - time.monotonic())[0], self.said
            self.said += os.read(self.master, 4096)

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> int:
        """Its exit code."""
        with contextlib.suppress(OSError):
            while data := os.read(self.master, 4096):
                self.said += data
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_shell_has_a_terminal_with_job_control(rig: Rig):
    screen = Screen(rig, "--", "bash", "--norc", "-i")
    screen.type(b"echo $((40 + 2)) $TERM; tty; stty size\n")
    screen.until(b"42 vt100")
    screen.until(b"/dev/pts/")
    screen.type(b"sleep 600\n")
    time.sleep(0.3)
    screen.type(b"\x1a")  # Ctrl-Z
    screen.until(b"Stopped")
    screen.type(b"fg\n")
    time.sleep(0.3)
    screen.type(b"\x03")  # Ctrl-C, which ends `sleep` and neither the shell nor relctl
    screen.type(b"echo $((50 + 2))\n")
    screen.until(b"52")
    screen.type(b"exit 3\n")
    assert screen.end() == 3
    assert b"no job control" not in screen.said


def test_the_size_of_the_terminal_is_the_persons(rig: Rig):
    import fcntl
    import struct
    import termios

    screen = Screen(rig, "--", "bash", "--norc", "-i")
    screen.type(b"echo re''ady\n")
    screen.until(b"ready")
    fcntl.ioctl(screen.master, termios.TIOCSWINSZ, struct.pack("4H", 33, 101, 0, 0))
    screen.type(b"sleep 0.2; stty size\n")
    screen.until(b"33 101")
    screen.type(b"exit\n")
    assert screen.end() == 0


def test_a_terminal_that_is_closed_ends_the_command(rig: Rig):
    screen = Screen(rig, "sh", "-c", "echo pid=$$.; sleep 600")
    screen.until(b".")
    pid = int(screen.said.partition(b"pid=")[2].partition(b".")[0])
    os.close(screen.master)
    os.waitpid(screen.pid, 0)
    wait_for(lambda: not runs(pid), 10, "it runs on")


def test_reld_that_stops_ends_the_command():
    with Rig() as rig:
        rig.live_v1()
        client = started(rig, "sh", "-c", "echo $$; sleep 600")
        assert client.stdout is not None
        pid = int(client.stdout.readline())
        rig.kill_reld(signal.SIGTERM)
        client.communicate(timeout=20)
        wait_for(lambda: not runs(pid), 10, "it runs on")
        rig.start_reld()
