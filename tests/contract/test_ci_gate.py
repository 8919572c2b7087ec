"""The forced command of a CI's key: what it takes, and what it takes for an attack."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

GATE = Path(__file__).parents[2] / "packaging/examples/ci-gate"
RELCTL = """\
#!/bin/sh
echo "$@" >&2
env >&2
cat
exit 7
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    relctl = tmp_path / "relctl"
    relctl.write_text(RELCTL)
    relctl.chmod(0o755)
    return tmp_path


def ask(
    place: Path, command: str | None, sent: bytes = b"", *options: str
) -> subprocess.CompletedProcess[bytes]:
    given = {"PATH": "/usr/bin:/bin", "RELCTL_SOCKET": "/tmp/evil", "PYTHONPATH": str(place)}
    if command is not None:
        given["SSH_ORIGINAL_COMMAND"] = command
    return subprocess.run(
        [GATE, "--app", "web", *options, "--relctl", str(place / "relctl")],
        input=sent, env=given, capture_output=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        None, "", " ", "sh", "unpack", "unpack ", "unpack v2 ", "unpack  v2", " unpack v2", "unpack v2\n",
        "unpack v2; id", "unpack $(id)", "unpack ../v2", "unpack .", "unpack ..", "unpack .v2",
        "unpack -v2", "unpack a/b", "unpack " + "v" * 65, "unpack v\xe9", "unpack v2 v3", "unpack\tv2",
        "switch", "switch -h", "switch --offline", "switch v2 --now", "switch ..", "switch `id`",
        "switch v2\nrollback", "status --json", "status;id", "rollback --force", "rollback v1",
        "stop", "mend", "abort 1", "Status", "internal-sftp", "scp -t /", "/usr/lib/openssh/sftp-server",
    ],
)  # fmt: skip
def test_nothing_else_is_understood(place: Path, command):
    done = ask(place, command, b"sent")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"cannot do that: only unpack RELEASE")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("switch v2", "--app web switch --on-disconnect detach -- v2"),
        ("status", "--app web status"),
        ("rollback", "--app web rollback"),
    ],
)
def test_relctl_gets_its_words_an_empty_stdin_and_no_variables_of_the_client(
    place: Path, command, words
):
    done = ask(place, command, b"secret")
    first, *variables = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, first) == (7, b"", words)
    names = {line.partition("=")[0] for line in variables}
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "LANG"}


def test_an_archive_goes_to_relctl_as_it_came(place: Path):
    done = ask(place, "unpack v2", b"an archive")
    assert (done.returncode, done.stdout) == (7, b"an archive")
    assert done.stderr.decode().splitlines()[0] == "--app web unpack -- v2"
