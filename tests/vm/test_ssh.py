"""What people and CIs do over SSH: exit codes, clean output, lost connections, forwarded sockets, one key."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig import environment
from tests.vm import machine
from tests.vm.box import Box
from tests.vm.conftest import Installed

pytestmark = pytest.mark.timeout(300)

SOCKET = "/run/relctl/web/control.sock"
HELD = "--step-time 10m --step-max 1h --bake 10m"
BOUND = "--on-disconnect abort"
LINE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z .+")
CI = 'restrict,command="/usr/local/bin/ci-gate --app web"'


@pytest.fixture(scope="module")
def machine_of_all(installed: Installed) -> Iterator[Box]:
    """v1 is live. `deploy` may change, `outsider` may nothing, `ci` has a key for one command."""
    with Box(installed.layers) as one:
        one.boot()
        one.sh("systemctl enable --quiet --now reld@web && relctl switch v1 2>&1")
        one.sh("useradd -m -s /bin/bash -G relctl deploy; useradd -m -s /bin/bash outsider")
        one.sh(
            "useradd -m -s /bin/bash -G relctl ci; install -d -o web /srv/web/releases /srv/web/shared"
        )
        one.put(machine.EXAMPLES / "ci-gate", "/usr/local/bin/ci-gate", 0o755)
        one.ssh("true", user="deploy")  # the box's own key is known from now on
        one.authorize("ci", "ci", CI)
        # A network that is dead is noticed by sshd, if it is told to look.
        one.write(
            "/etc/ssh/sshd_config.d/alive.conf", "ClientAliveInterval 1\nClientAliveCountMax 2\n"
        )
        one.sh("systemctl reload ssh")
        yield one


@pytest.fixture
def vm(machine_of_all: Box) -> Iterator[Box]:
    """Nothing goes on at the end of a test, and v1 is live."""
    yield machine_of_all
    machine_of_all.network.mend()
    machine_of_all.run("relctl", "abort")
    _idle(machine_of_all)
    if machine.status(machine_of_all)["release"] != "v1":
        machine_of_all.sh("relctl switch v1 --now --bake 0s 2>&1")


def _idle(vm: Box) -> None:
    machine.until("the end", lambda: machine.status(vm)["rollout"] is None, 60)


def held(vm: Box, options: str = "", *, tty: bool = False) -> tuple[int, subprocess.Popen[str]]:
    """Somebody watches a rollout to v2, which stays where it is.

    Without traffic that is the bake: steps that could not show anything are skipped.
    """
    client = vm.ssh_start(f"relctl switch v2 {HELD} {options}", user="deploy", tty=tty)
    machine.until("traffic to move", lambda: machine.percent(vm) > 0)
    return machine.status(vm)["rollout"]["id"], client


def lose(client: subprocess.Popen[str]) -> None:
    client.kill()
    client.communicate()


def outcome(vm: Box, number: int) -> str | None:
    return json.loads(vm.sh(f"relctl show {number} --json"))["outcome"]


def clients(vm: Box) -> str:
    return vm.run("pgrep", "-u", "deploy", "-fa", "relctl").stdout


def test_exit_codes_travel(vm: Box):
    for line, user, code in (
        ("relctl status", "deploy", 0),
        ("relctl switch v1", "deploy", 0),
        ("relctl switch nothing-there", "deploy", 1),
        ("relctl swich v2", "deploy", 2),
        ("relctl status --check", "deploy", 0),
        ("relctl status", "outsider", 4),
        ("relctl --socket /run/nothing/control.sock status", "deploy", 5),
    ):
        ended = vm.ssh(line, user=user)
        assert ended.returncode == code, (line, ended.stdout + ended.stderr)
    _, client = held(vm)
    assert vm.ssh("relctl switch v3", user="deploy").returncode == 6
    assert vm.ssh("relctl switch v2 --timeout 1s", user="deploy").returncode == 7
    assert vm.ssh("relctl abort", user="deploy").returncode == 0
    out, err = client.communicate(timeout=60)
    assert client.returncode == 3, out + err


def test_an_invalid_config_and_a_broken_candidate_have_their_codes(vm: Box):
    vm.sh("echo nonsense >> /etc/relctl/web.toml")
    try:
        ended = vm.ssh("relctl switch v2", user="deploy")
    finally:
        vm.sh("sed -i '/^nonsense/d' /etc/relctl/web.toml")
    assert ended.returncode == 8, ended.stderr
    assert "web.toml:" in ended.stderr


def test_without_a_terminal_every_line_is_whole_and_plain(vm: Box):
    ended = vm.ssh("relctl switch v2 2>&1", user="deploy")
    assert ended.returncode == 0, ended.stdout
    assert "\x1b" not in ended.stdout
    assert "\r" not in ended.stdout
    told, _, receipt = ended.stdout.partition("\nrollout ")
    assert all(LINE.fullmatch(line) for line in told.splitlines()), told
    assert "done, switch by deploy" in receipt
    assert ended.stdout.endswith("\n")
    back = vm.ssh("relctl rollback --json", user="deploy")
    lines = [json.loads(line) for line in back.stdout.splitlines()]
    assert (lines[-1]["outcome"], lines[-1]["actor"], back.stderr) == ("done", "deploy", "")


def test_with_a_terminal_the_running_phase_is_rewritten_in_place(vm: Box):
    ended = vm.ssh("relctl switch v2 --now --bake 1s", user="deploy", tty=True)
    assert ended.returncode == 0
    hidden, shown = (ended.stdout.rindex(f"\x1b[?25{way}") for way in "lh")  # the cursor
    assert hidden < shown
    assert "  committing " in ended.stdout


def test_ctrl_c_on_a_terminal_detaches(vm: Box):
    number, client = held(vm, BOUND, tty=True)
    assert client.stdin is not None
    client.stdin.write("\x03")
    client.stdin.flush()
    out, _ = client.communicate(timeout=20)
    assert client.returncode == 130
    assert f"still running: relctl watch {number}" in out
    time.sleep(5)
    assert machine.phase(vm) in ("shifting", "baking")


@pytest.mark.parametrize("tty", [False, True])
def test_a_lost_connection_leaves_the_rollout_running_and_watch_takes_it_up(vm: Box, tty):
    number, client = held(vm, tty=tty)
    lose(client)
    machine.until("its process to end", lambda: not clients(vm), 10)
    time.sleep(4)
    assert machine.phase(vm) in ("shifting", "baking")
    watching = vm.ssh_start("relctl watch", user="deploy")
    assert watching.stdout is not None
    vm.sh("relctl promote --full; relctl promote; relctl promote || true")
    out, err = watching.communicate(timeout=60)
    assert (watching.returncode, err) == (0, "")
    assert f"rollout {number}  done" in out


@pytest.mark.parametrize("tty", [False, True])
def test_a_lost_connection_aborts_where_that_was_asked_for(vm: Box, tty):
    number, client = held(vm, BOUND, tty=tty)
    lose(client)
    _idle(vm)
    assert outcome(vm, number) == "aborted"
    assert "the connection was lost by deploy" in vm.sh(f"relctl show {number}")
    assert clients(vm) == ""


def test_a_client_that_is_killed_on_the_machine_aborts_too(vm: Box):
    number, client = held(vm, BOUND)
    vm.sh("pkill -KILL -u deploy -f 'relctl switch'")
    client.communicate(timeout=20)
    assert client.returncode != 0
    _idle(vm)
    assert outcome(vm, number) == "aborted"


@pytest.mark.parametrize(("options", "ends"), [("", None), (BOUND, "aborted")])
def test_a_network_that_dies_without_a_word_is_a_lost_connection(vm: Box, options, ends):
    number, client = held(vm, options)
    vm.network.cut()
    machine.until("its process to end", lambda: not clients(vm), 20)
    if ends:
        _idle(vm)
    else:
        time.sleep(4)
    assert outcome(vm, number) == ends
    lose(client)
    vm.hang_up()


def test_the_control_socket_can_be_forwarded_for_curl_for_relctl_and_for_a_browser(vm: Box):
    with vm.forward(SOCKET, user="deploy") as here:
        said = subprocess.run(
            ["curl", "-sS", "--unix-socket", here, "http://relctl/v1/status"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert json.loads(said)["release"] == "v1"
        asked = subprocess.run(
            [sys.executable, "-m", "relctl", "switch", "v2", "--now", "--bake", "0s"],
            env=environment() | {"RELCTL_SOCKET": str(here)},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert asked.returncode == 0, asked.stderr
        assert "switch by deploy" in asked.stdout
    with vm.forward(SOCKET, user="outsider") as here:
        said = subprocess.run(
            ["curl", "-sS", "--unix-socket", here, "http://relctl/v1/status"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert said.returncode != 0
        assert "release" not in said.stdout


def test_the_control_socket_can_be_a_port_of_the_laptop(vm: Box):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    vm.ssh("true", user="deploy")  # its key is let in
    options = ("-N", "-o", "ControlPath=none", "-L", f"127.0.0.1:{port}:{SOCKET}")
    command = vm._ssh.command("", user="deploy", key="plain", options=options)
    forward = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        asked = ["curl", "-sS", f"http://127.0.0.1:{port}/v1/status"]
        said = machine.until(
            "an answer",
            lambda: subprocess.run(asked, capture_output=True, text=True, check=False).stdout,
        )
    finally:
        forward.terminate()
        forward.wait(20)
    assert json.loads(said)["release"] == "v1"


# the recipe for a CI's key


def packed(name: str = "serve.py", **fields: object) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        content = (Path(__file__).parent / "serve.py").read_bytes()
        info = tarfile.TarInfo(name)
        info.size = len(content)
        for field, value in fields.items():
            setattr(info, field, value)
        archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def test_a_ci_unpacks_a_release_switches_to_it_and_goes_back(vm: Box):
    sent = vm.ssh("unpack v9", user="ci", key="ci", sent=packed())
    assert (sent.returncode, sent.stdout.splitlines()[-1]) == (0, "next: relctl switch v9"), sent
    assert vm.sh("stat -c %U /srv/web/releases/v9").strip() == "web"
    assert vm.ssh("unpack v9", user="ci", key="ci", sent=packed()).returncode == 1
    switched = vm.ssh("switch v9", user="ci", key="ci")
    assert switched.returncode == 0, switched.stderr
    assert "switch by ci" in switched.stdout
    assert machine.release(vm) == "v9"
    assert "v9" in vm.ssh("status", user="ci", key="ci").stdout
    assert vm.ssh("rollback", user="ci", key="ci").returncode == 0
    assert machine.release(vm) == "v1"
    assert vm.ssh("switch nothing-there", user="ci", key="ci").returncode == 1


@pytest.mark.parametrize(
    "line",
    [
        "", "id", "sh -c id", "relctl stop", "switch v2 --supersede", "switch --offline", "status; id",
        "unpack ../../etc/profile.d/x", "unpack -h", "rollback --force", "scp -t /tmp", "sftp",
        "/usr/lib/openssh/sftp-server", "LD_PRELOAD=/tmp/x status", "switch $(id)", "unpack v2\nid", "run id",
    ],
)  # fmt: skip
def test_a_cis_key_can_do_nothing_else(vm: Box, line):
    ended = vm.ssh(line, user="ci", key="ci", sent=b"id\n")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert ended.stdout == ""
    assert "uid=" not in ended.stderr


def test_a_cis_key_gets_no_terminal_and_no_forwarding(vm: Box):
    refused = vm.ssh("status", user="ci", key="ci", tty=True)
    assert "PTY allocation request failed" in refused.stderr
    with vm.forward(SOCKET, user="ci", key="ci") as here:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as asked:
            asked.settimeout(10)
            asked.connect(str(here))
            asked.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert asked.recv(100) == b""


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("../../../../etc/profile.d/evil", {}),
        ("/etc/profile.d/evil", {}),
        ("evil", {"type": tarfile.SYMTYPE, "linkname": "/etc/shadow", "size": 0}),
        ("evil", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd", "size": 0}),
        ("evil", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3, "size": 0}),
    ],
)
def test_an_archive_of_a_ci_reaches_nothing_outside_its_release(vm: Box, name, fields):
    before = vm.sh("ls -a /srv/web/releases /etc/profile.d")
    sent = vm.ssh("unpack evil", user="ci", key="ci", sent=packed(name, **fields))
    assert sent.returncode == 1
    assert vm.sh("ls -a /srv/web/releases /etc/profile.d") == before


def test_an_upload_whose_connection_is_lost_leaves_no_release(vm: Box):
    client = vm.ssh_start("unpack lost", user="ci", key="ci")
    assert client.stdin is not None
    client.stdin.flush()
    client.stdin.buffer.write(packed()[:300])
    client.stdin.buffer.flush()
    machine.until("it to begin", lambda: "lost" in vm.sh("ls -a /srv/web/releases"))
    lose(client)
    machine.until("it to be gone", lambda: "lost" not in vm.sh("ls -a /srv/web/releases"))


# a command as the app runs


def test_a_command_is_run_as_the_live_release_for_an_operator_who_is_not_its_user(vm: Box):
    said = vm.ssh("relctl run -- sh -c 'id -un; pwd; echo $RELCTL_RELEASE; exit 4'", user="deploy")
    assert (said.returncode, said.stdout.split()) == (4, ["web", "/srv/web/releases/v1", "v1"])
    assert vm.ssh("relctl run -- cat", user="deploy", sent="given").stdout == "given"
    assert vm.ssh("relctl run -- id", user="outsider").returncode == 4


def test_a_command_has_the_terminal_of_ssh(vm: Box):
    said = vm.ssh("relctl run -- sh -c 'test -t 0 && : </dev/tty && tty'", user="deploy", tty=True)
    assert said.returncode == 0, said.stdout
    assert "/dev/pts/" in said.stdout


def test_a_command_ends_with_the_connection(vm: Box):
    client = vm.ssh_start("relctl run -- sleep 4711", user="deploy")
    machine.until("it to begin", lambda: vm.run("pgrep", "-f", "^sleep 4711").returncode == 0)
    lose(client)
    machine.until("it to end", lambda: vm.run("pgrep", "-f", "^sleep 4711").returncode == 1)
