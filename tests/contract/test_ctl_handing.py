"""`relctl unpack` and `relctl run` before there is a reld that would want what they hand over."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rig import environment


def relctl(
    path: Path, *words: str, stdin: int = subprocess.DEVNULL
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "relctl", *words],
        stdin=stdin, capture_output=True, text=True, timeout=20, check=False,
        env=environment() | {"RELCTL_SOCKET": str(path / "control.sock")},
    )  # fmt: skip


@pytest.mark.parametrize("words", [("unpack", "v2"), ("run", "--", "true")])
def test_without_reld_it_is_unreachable(tmp_path: Path, words: tuple[str, ...]):
    assert relctl(tmp_path, *words).returncode == 5


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("unpack",), "missing argument"),
        (("unpack", "../v2"), "as a release name"),
        (("unpack", ".v2"), "it begins with a dot"),
        (("unpack", "v2", "a", "b"), "unexpected extra argument"),
        (("run",), "missing argument"),
        (("run", "--release", "a/b", "true"), "as a release name"),
    ],
)
def test_what_makes_no_sense_is_never_sent(tmp_path: Path, words: tuple[str, ...], why: str):
    asked = relctl(tmp_path, *words)
    assert (asked.returncode, why in asked.stderr) == (2, True), asked.stderr


def test_a_terminal_is_no_archive(tmp_path: Path):
    master, slave = os.openpty()
    asked = relctl(tmp_path, "unpack", "v2", stdin=slave)
    os.close(master)
    os.close(slave)
    assert (asked.returncode, "there is no archive on stdin" in asked.stderr) == (2, True)
    assert "tar cz . | ssh HOST relctl unpack v2" in asked.stderr


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    asked = relctl(tmp_path, "unpack", "v2", "/nowhere.tgz", "--json")
    error = json.loads(asked.stdout)["error"]
    assert (asked.returncode, error["code"]) == (1, "unreadable")
    assert "cannot read /nowhere.tgz: No such file" in error["message"]


def lent(path: Path, *words: str, stdin: int, stderr: int) -> list[bool]:
    """Whether each descriptor that is handed over is a terminal."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path / "control.sock"))
        listener.listen(1)
        client = subprocess.Popen(
            [sys.executable, "-m", "relctl", *words],
            stdin=stdin, stdout=subprocess.PIPE, stderr=stderr,
            env=environment() | {"RELCTL_SOCKET": str(path / "control.sock")},
        )  # fmt: skip
        listener.settimeout(20)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            _, given, _, _ = socket.recv_fds(connection, 1, 10)
            found = [os.isatty(one) for one in given]
            for one in given[1:]:
                os.write(one, b"said\n")
            for one in given:
                os.close(one)
            answer = b'{"release": "v2", "message": "there", "exit": 0}'
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
            connection.sendall(head + answer)
        said, _ = client.communicate(timeout=20)
        assert client.returncode == 0, said
        assert said.startswith(b"said\n" if words[0] == "run" else b"there")
    return found


@pytest.mark.parametrize("words", [("run", "true"), ("unpack", "v2", "/dev/null")])
def test_a_terminal_is_never_handed_to_somebody_elses_process(
    tmp_path: Path, words: tuple[str, ...]
):
    master, slave = os.openpty()
    found = lent(tmp_path, *words, stdin=slave, stderr=slave)
    os.close(slave)
    assert os.read(master, 100) == b"said\r\n"
    os.close(master)
    assert found == [False] * (3 if words[0] == "run" else 2)
