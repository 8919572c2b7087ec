"""What root is told to type while the package is removed: nothing that the gate's user has made up."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "packaging/debian"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    place = tmp_path / "run/relctl/web/gate"
    place.mkdir(parents=True)
    return place


def run(script: str, asked: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """As dpkg would, on a machine of our own: no systemd, no users that it could remove."""
    text = (SCRIPTS / script).read_text().replace("/proc/[0-9]*", "/nobody")
    text = re.sub(r"/(?=(run|etc|var/lib)/)", f"{tmp_path}/", text)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("userdel", "groupdel", "deb-systemd-invoke", "systemctl", "nginx"):
        (tools / name).write_text(f"#!/bin/sh\necho {name} >> {tmp_path}/asked\n")
        (tools / name).chmod(0o755)
    (tools / "getent").write_text("#!/bin/sh\necho 'relctl-gate:x:999:999:A person:/:/bin/sh'\n")
    (tools / "getent").chmod(0o755)
    return subprocess.run(
        ["/bin/sh", "-c", text, script, asked],
        env={"PATH": f"{tools}:/usr/bin:/bin"}, capture_output=True, text=True, timeout=10,
        check=False,
    )  # fmt: skip


def test_a_gate_that_runs_is_named(gate: Path, tmp_path: Path):
    (gate / "gate.pid").write_text(f"{os.getpid()}\n")
    assert f"kill -QUIT {os.getpid()};" in run("relctl.prerm", "remove", tmp_path).stdout


@pytest.mark.parametrize("said", ["-1", "0", "1 2", "; reboot", "../1", ""])
def test_what_is_no_process_is_not_repeated(gate: Path, tmp_path: Path, said):
    (gate / "gate.pid").write_text(said)
    done = run("relctl.prerm", "remove", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_process_of_another_user_is_no_gate(gate: Path, tmp_path: Path):
    (gate / "gate.pid").write_text("1\n")
    if os.geteuid() == 0:
        os.chown(gate / "gate.pid", 12345, 12345)
    assert run("relctl.prerm", "remove", tmp_path).stdout == ""


def test_a_pipe_or_a_link_in_the_place_of_the_pid_file_holds_nobody(gate: Path, tmp_path: Path):
    os.mkfifo(gate / "gate.pid")
    assert run("relctl.prerm", "remove", tmp_path).stdout == ""


def test_purging_is_refused_for_a_gate_and_for_nothing_made_up(gate: Path, tmp_path: Path):
    (gate / "gate.pid").write_text(f"{os.getpid()}\n")
    refused = run("relctl.postrm", "purge", tmp_path)
    assert refused.returncode == 1
    assert f"cannot purge: process {os.getpid()} is the gate of web" in refused.stderr


def test_purging_leaves_a_user_that_it_did_not_make(gate: Path, tmp_path: Path):
    (gate / "gate.pid").write_text("-1")
    assert run("relctl.postrm", "purge", tmp_path).returncode == 0
    asked = tmp_path / "asked"
    assert "userdel" not in (asked.read_text() if asked.exists() else "")
    assert not gate.exists()
