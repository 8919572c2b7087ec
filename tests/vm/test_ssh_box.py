"""The harness itself: logins over ssh as on a real machine, and nothing that stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import leftovers, machine, mirrors, roots
from tests.vm.box import Box

pytestmark = pytest.mark.timeout(300)

TREE = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=roots.SUITES)
def bare(request: pytest.FixtureRequest) -> Iterator[Box]:
    with Box([roots.build(roots.server(request.param))]) as one:
        one.boot()
        one.sh("useradd -m -s /bin/bash anna")
        yield one


def test_a_command_has_its_users_login_its_input_and_its_exit_status(bare: Box):
    said = bare.ssh("id -un; cat; echo wrong >&2; cat /proc/self/loginuid; exit 7", user="anna")
    assert (said.returncode, said.stderr) == (7, "wrong\n")
    name, login = said.stdout.split()
    assert name == "anna"
    assert login == bare.sh("id -u anna").strip()
    assert bare.ssh("cat", user="anna", sent="as it is\n").stdout == "as it is\n"


def test_a_terminal_is_there_only_when_it_is_asked_for(bare: Box):
    assert bare.ssh("tty", user="anna").stdout == "not a tty\n"
    assert bare.ssh("tty", user="anna", tty=True).stdout.startswith("/dev/pts/")


def test_a_key_may_be_bound_to_one_command(bare: Box):
    bare.authorize("anna", "ci", 'restrict,command="echo only $SSH_ORIGINAL_COMMAND"')
    assert bare.ssh("rm -rf /", user="anna", key="ci").stdout == "only rm -rf /\n"
    refused = bare.ssh("true", user="anna", key="ci", tty=True)
    assert "PTY allocation request failed" in refused.stderr


def test_a_client_that_is_killed_is_a_connection_lost(bare: Box):
    client = bare.ssh_start("echo begun; cat; touch /tmp/input-ended", user="anna")
    assert client.stdout
    assert client.stdout.readline() == "begun\n"
    client.kill()
    client.communicate()
    machine.until("the end of its input", lambda: bare.sh("ls /tmp/input-ended"))


def test_a_wire_that_is_cut_tells_nobody(bare: Box):
    client = bare.ssh_start("echo begun; cat", user="anna")
    assert client.stdin
    assert client.stdout
    assert client.stdout.readline() == "begun\n"
    bare.network.cut()
    client.stdin.write("late\n")
    client.stdin.flush()
    time.sleep(0.3)
    assert client.poll() is None
    assert bare.run("pgrep", "-u", "anna", "-x", "cat").returncode == 0
    bare.network.mend()
    assert client.communicate(timeout=30)[0] == "late\n"


def test_a_socket_in_the_box_can_be_reached_from_here(bare: Box):
    with bare.forward("127.0.0.1:22", user="anna") as here:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(here))
            assert client.recv(8) == b"SSH-2.0-"
    assert not here.exists()


def test_logins_work_after_a_reboot(bare: Box):
    assert bare.ssh("true", user="anna").returncode == 0
    bare.reboot()
    assert bare.ssh("id -un", user="anna").stdout == "anna\n"


def test_a_box_is_cut_off_from_everything_else(bare: Box):
    routes = bare.sh("ip -o route").splitlines()
    assert [route.split()[0] for route in routes] == ["10.77.0.0/24"]


def test_the_wire_and_the_box_of_a_run_that_was_killed_are_gone_at_the_next_start(bare: Box):
    before = _on_the_host()
    code = (
        "import sys; from pathlib import Path; from tests.vm.box import Box\n"
        f"box = Box([Path({str(roots.build(roots.server(roots.SUITES[0])))!r})])\n"
        "box.boot(); box.ssh('true'); print(box.name, flush=True); sys.stdin.read()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code], cwd=TREE,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with run:
        assert run.stdout
        name = run.stdout.readline().strip()
        assert name not in leftovers.sweep(), "a box of a run that lives is nobody else's"
        assert name in _on_the_host()
        os.kill(run.pid, signal.SIGKILL)
    leftovers.sweep()  # as every run does before its first box; another run may have been faster
    assert name not in _on_the_host()
    assert bare.name in before
    assert bare.ssh("true").returncode == 0


def test_a_failure_while_a_box_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    half_made = f"half-made-{os.getpid()}"
    monkeypatch.setattr("secrets.token_hex", lambda _: half_made)
    nothing = tmp_path / "no.squashfs"
    nothing.write_bytes(b"")
    with pytest.raises(subprocess.CalledProcessError):
        Box([nothing])
    assert half_made not in _on_the_host()


def test_a_machine_that_cannot_be_made_is_a_failure_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RELCTL_VM_CACHE", str(tmp_path))
    monkeypatch.setattr(mirrors, "_answers", lambda _: False)
    with pytest.raises(mirrors.NoRoot, match="cannot make the root of noble: not on ") as told:
        roots.build(roots.server("noble"))
    assert 'next: a mirror that has noble, or the others alone: make test-vm SUITES="' in str(
        told.value
    )


def _on_the_host() -> str:
    """Everything that could name a box: processes, mounts, namespaces, cgroups and files."""
    seen = [
        Path("/proc/self/mountinfo").read_text(),
        subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout,
        *(str(p) for h in leftovers.hierarchies() for p in h.iterdir()),
        *(str(p) for p in leftovers.PLACES.iterdir()),
        *(str(p) for p in Path("/run/systemd/nspawn/propagate").glob("*")),
    ]
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            seen.append(command.read_bytes().decode(errors="replace").replace("\0", " "))
        except OSError:
            continue
    return "\n".join(seen)
