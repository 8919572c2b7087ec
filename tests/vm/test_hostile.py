"""Somebody with a shell on the machine and no rights, and an app that was broken into: one try each."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.vm import machine
from tests.vm.box import Box
from tests.vm.conftest import Installed

pytestmark = pytest.mark.timeout(300)

STATE, RUN = "/var/lib/relctl/web", "/run/relctl/web"
SOCKET = f"{RUN}/control.sock"
HELD = "--step-time 10m --step-max 1h --bake 10m --no-wait"
SECRET = "hunter2-in-the-env-file"
# Listens on a port of the app, and answers what no release says.
TAKE = """\
import socket, sys, time
s = socket.socket()
for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
    s.setsockopt(socket.SOL_SOCKET, option, 1)
end = time.monotonic() + float(sys.argv[3])
print("waiting", flush=True)
while True:
    try:
        s.bind((sys.argv[1], int(sys.argv[2])))
        s.listen(64)
        break
    except OSError as error:
        if time.monotonic() > end: sys.exit(str(error))
        time.sleep(0.001)
print("taken", flush=True)
body = b"mallory 1\\n"
while True:
    c = s.accept()[0]
    c.recv(65536)
    c.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
    c.close()
"""
# ask.py ADDRESS TIMES REQUEST: the first word of each answer's body, or what went wrong.
ASK = """\
import socket, sys
address, times, request = sys.argv[1:]
raw = request.encode().decode("unicode_escape").encode("latin-1")
for _ in range(int(times)):
    try:
        if address.startswith("/"):
            s = socket.socket(socket.AF_UNIX)
            s.connect(address)
        else:
            s = socket.create_connection(("127.0.0.1", int(address)))
        s.settimeout(5)
        s.sendall(raw)
        answer = b""
        while data := s.recv(65536):
            answer += data
        head, _, body = answer.partition(b"\\r\\n\\r\\n")
        words = (body if head.split()[1] < b"400" or address[0] == "/" else head.split()[1]).split()
        print(words[0].decode() if len(words) < 9 else body.decode())
    except (OSError, IndexError) as error:
        print(type(error).__name__)
    s.close()
"""
VISIT = "GET / HTTP/1.1\\r\\nHost: www.example.com\\r\\nConnection: close\\r\\n\\r\\n"


@pytest.fixture(scope="module")
def machine_of_all(installed: Installed) -> Iterator[Box]:
    with Box(installed.layers) as one:
        one.boot()
        one.write("/etc/relctl/web.env", f"SECRET={SECRET}\n", 0o600)
        one.sh("sed -i 's,^user = .*,&\\nenv_file = \"/etc/relctl/web.env\",' /etc/relctl/web.toml")
        one.sh("systemctl enable --quiet --now reld@web && relctl switch v1 2>&1")
        one.sh("relctl switch v2 2>&1")
        one.sh("useradd -m -s /bin/bash mallory")
        one.write("/srv/take.py", TAKE)
        one.write("/srv/ask.py", ASK)
        one.ssh("true", user="mallory")
        yield one


@pytest.fixture
def vm(machine_of_all: Box) -> Iterator[Box]:
    """v2 serves before and after each try, with the same processes where the try says nothing else."""
    yield machine_of_all
    machine_of_all.run("relctl", "abort")
    machine.until("rest", lambda: machine.status(machine_of_all)["rollout"] is None, 60)
    machine.until("v2 to serve", lambda: machine.release(machine_of_all) == "v2")
    machine.until("both", lambda: len(machine.pids(machine_of_all)) == 2)


def tried(vm: Box, line: str, user: str = "mallory") -> tuple[int, str]:
    if user == "mallory":
        ended = vm.ssh(line, user=user)
    else:
        ended = vm.run("/bin/bash", "-c", line, user=user)
    return ended.returncode, ended.stdout + ended.stderr


def answers(vm: Box, number: int = 60) -> list[str]:
    """What so many visitors get, one after another, as fast as they can."""
    return vm.sh(f"python3 /srv/ask.py 80 {number} '{VISIT}'").split()


def ports(vm: Box) -> list[int]:
    now = machine.status(vm)
    return [int(i["port"]) for i in now["slots"][now["live"]]["instances"]]


# what nobody else may read


@pytest.mark.parametrize("user", ["mallory", "web", "relctl-gate", "www-data"])
def test_secrets_and_state_can_be_read_by_nobody(vm: Box, user: str):
    private = vm.sh(
        f"find {STATE} -type f ! -path '*/gate/*'; find {RUN} -name 'watch*'; echo /etc/relctl/web.env"
    ).split()
    assert any(path.endswith("state.db") for path in private)
    for path in private:
        code, said = tried(vm, f"cat {path}", user)
        assert code != 0, f"{user} reads {path}"
        assert SECRET not in said
    for place in (STATE, f"{STATE}/logs", "/var/lib/relctl"):
        code, said = tried(vm, f"ls -A {place} && ls {place}/* | head -1", user)
        assert code != 0 or not said.strip(), (user, place, said)


def test_the_env_of_the_app_is_in_no_unit_no_command_line_and_no_environment_that_can_be_read(
    vm: Box,
):
    for line in (
        "systemctl show '*' --all | grep -a hunter[2]",
        "systemctl cat 'relctl-web*' | grep -a hunter[2]",
        "cat /proc/[0-9]*/cmdline 2>/dev/null | grep -a hunter[2]",
        "cat /proc/[0-9]*/environ 2>/dev/null | grep -a hunter[2]",
        "grep -ra hunter[2] /run/systemd /run/relctl /etc/systemd /var/lib/relctl 2>/dev/null",
        (
            "busctl tree org.freedesktop.systemd1 --list | grep relctl | xargs -rn1 busctl introspect "
            "org.freedesktop.systemd1 2>/dev/null | grep -a hunter[2]"
        ),
    ):
        code, said = tried(vm, line)
        assert code != 0, (line, said[:300])


def test_the_apps_lines_in_the_journal_are_not_everybodys(vm: Box):
    _, said = tried(
        vm, "journalctl -q --no-pager -n 1000 -t web; journalctl -q --no-pager -u reld@web"
    )
    assert "serves with" not in said
    assert "committing" not in said


@pytest.mark.parametrize("user", ["mallory", "www-data"])
def test_the_request_log_can_be_read_by_nobody_else(vm: Box, user: str):
    code, said = tried(vm, f"cat {RUN}/gate/requests.log", user)
    assert code != 0, said


# what nobody else may write


@pytest.mark.parametrize("user", ["mallory", "web", "www-data"])
def test_nothing_of_relctls_can_be_written_replaced_or_removed(vm: Box, user: str):
    everything = vm.sh(
        f"find {STATE} {RUN} /run/relctl /var/lib/relctl /etc/relctl /usr/lib/systemd/system/rel* "
        "/usr/bin/rel* /usr/lib/python3/dist-packages/rel*"
    )
    vm.write("/srv/all", everything)
    code, said = tried(
        vm,
        "while read -r path; do "
        'if [ -w "$path" ] && [ ! -S "$path" ] && [ ! -L "$path" ]; then echo "writable $path"; fi; '
        'mv -f "$path" "$path.gone" 2>/dev/null && echo "moved $path"; '
        'ln -sfn /etc/passwd "$path" 2>/dev/null && echo "linked $path"; '
        "done < /srv/all; true",
        user,
    )
    assert (code, said) == (0, "")
    assert vm.sh(f"test -S {SOCKET} && echo there") == "there\n"


def test_the_gate_itself_can_change_neither_lanes_nor_state_nor_its_own_config(vm: Box):
    vm.sh(f"relctl switch v1 {HELD}")
    percent = machine.until("traffic to move", lambda: machine.percent(vm))
    for line in (
        f"ln -sfn 100 {RUN}/lanes/*/current",
        f"touch {RUN}/lanes/x {RUN}/thin {RUN}/x",
        f"echo x >> {STATE}/gate/gate.conf",
        f"mv {STATE}/gate/gate.conf {STATE}/gate/x",
        f"rm -rf {SOCKET}",
        f"mv {RUN}/gate {RUN}/gone",
    ):
        code, said = tried(vm, line, "relctl-gate")
        assert code != 0, (line, said)
    assert machine.percent(vm) == percent


def test_a_false_line_cannot_be_fed_to_the_sensor(vm: Box):
    log = f"{RUN}/gate/requests.log"
    line = "1764000000.123|0.1|0.1|-|127.0.0.1:21000|500|500|GET|plain|-|9|9|-"
    for attempt in (f"echo '{line}' >> {log}", f"cp /dev/null {log}", f"ln -f {log} ~/log"):
        for user in ("mallory", "web"):
            assert tried(vm, attempt, user)[0] != 0, (attempt, user)
    # By way of a request: what a client says is in no field of its own making.
    before = len(vm.sh(f"cat {log}").splitlines())
    for request in (
        "GET|plain|-|9|9|- / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n",
        "GET /|500|500|GET HTTP/1.1\\r\\nHost: a|b\\r\\nCookie: relctl_web=|5|\\r\\nConnection: close\\r\\n\\r\\n",
        "GET / HTTP/1.1\\r\\nHost: a\\r\\nUpgrade: |x|\\r\\nAccept: |\\nx|\\r\\nConnection: close\\r\\n\\r\\n",
        "GET /%0a1764000000.123|0.1|0.1 HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n",
    ):
        tried(vm, f"python3 /srv/ask.py 8080 3 '{request}'")
    # They are in the log, or reld has read them and put it away.
    time.sleep(0.5)
    for said in vm.sh(f"cat {log}").splitlines():
        assert len(said.split("|")) in (5, 13), said
    assert len(vm.sh(f"cat {log}").splitlines()) > before


# who may ask


def test_the_control_socket_is_closed_to_who_is_in_no_group(vm: Box):
    for line in ("status", "switch v1", "abort", "stop", "rollback", "mend", "audit", "logs"):
        code, said = tried(vm, f"relctl {line}")
        assert code == 4, (line, said)
    request = "GET /v1/status HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n"
    assert "web" in vm.sh(f"python3 /srv/ask.py {SOCKET} 1 '{request}'")
    assert tried(vm, f"python3 /srv/ask.py {SOCKET} 1 '{request}'") == (0, "PermissionError\n")
    code, said = tried(vm, "relctl rollback --offline")
    assert code != 0, said


def test_the_app_itself_may_ask_for_nothing(vm: Box):
    for line in ("status", "switch v1", "stop", "rollback --offline"):
        code, said = tried(vm, f"relctl {line}", "web")
        assert code != 0, (line, said)


def test_a_socket_of_somebody_else_is_never_picked_by_default(vm: Box):
    fake = (
        "mkdir -p /tmp/relctl/web /tmp/web; cd /tmp/relctl/web; rm -f control.sock; "
        "python3 -c 'import socket; s = socket.socket(1); s.bind(\"control.sock\"); s.listen()'; "
        "mkdir -p /run/relctl/evil && echo made; ln -s /tmp/relctl /run/relctl/evil && echo linked; "
        "ln -s /tmp/relctl/web /run/user/$(id -u)/relctl"
    )
    _, said = tried(vm, fake)
    assert "made" not in said
    assert "linked" not in said
    assert "v2" in vm.sh("cd /tmp/relctl && relctl status")


def test_a_stranger_cannot_use_up_the_connections_of_members(vm: Box):
    many = (
        "import socket, time\nkept = []\n"
        "for _ in range(600):\n"
        "    s = socket.socket(socket.AF_UNIX)\n"
        f"    try: s.connect('{SOCKET}')\n"
        "    except OSError as error: last = error; continue\n"
        "    kept.append(s)\n"
        "print(len(kept), flush=True)\ntime.sleep(20)\n"
    )
    vm.write("/srv/many.py", many, 0o644)
    stranger = vm.ssh_start("python3 /srv/many.py", user="mallory")
    assert stranger.stdout is not None
    assert stranger.stdout.readline() == "0\n"
    assert "v2" in vm.sh("relctl status")
    # A member who may look, but sends nothing, is not alone in the room either.
    vm.sh("useradd -m -s /bin/bash -G relctl member")
    member = vm.ssh_start("python3 /srv/many.py", user="member")
    assert member.stdout is not None
    member.stdout.readline()
    began = time.monotonic()
    assert "v2" in vm.sh("relctl status")
    assert time.monotonic() - began < 5
    for client in (stranger, member):
        client.kill()
        client.communicate()
    vm.sh("pkill -KILL -f /srv/[m]any.py || true")


# what nobody else may stop, start or move


def test_nothing_can_be_signalled_stopped_or_started(vm: Box):
    app = " ".join(str(pid) for pid in machine.pids(vm))
    reld = vm.sh("systemctl show -P MainPID reld@web").strip()
    gate = vm.sh(f"cat {RUN}/gate/gate.pid").strip()
    before = machine.pids(vm)
    for line in (
        f"kill -KILL {app} {reld} {gate}",
        f"kill -STOP {app} {reld} {gate}",
        "systemctl --no-ask-password stop reld@web",
        "systemctl --no-ask-password restart relctl-gate@web",
        "systemctl --no-ask-password stop 'relctl-web-*'",
        "systemctl --no-ask-password kill relctl.slice",
        "systemctl --no-ask-password freeze relctl.slice",
        "systemctl --no-ask-password set-property reld@web MemoryMax=1M",
        "systemd-run --no-ask-password --unit=relctl-web-r9-blue-99 --slice=relctl.slice true",
        "echo 1 > /sys/fs/cgroup/relctl.slice/cgroup.kill",
        (
            "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "
            "StopUnit ss reld@web.service replace"
        ),
    ):
        code, said = tried(vm, line)
        assert code != 0, (line, said)
    assert machine.pids(vm) == before
    assert vm.sh("systemctl show -P MainPID reld@web").strip() == reld


def test_a_broken_app_can_signal_neither_reld_nor_the_gate(vm: Box):
    reld = vm.sh("systemctl show -P MainPID reld@web").strip()
    gate = vm.sh(f"cat {RUN}/gate/gate.pid").strip()
    for pid in (reld, gate):
        assert tried(vm, f"kill -0 {pid}", "web")[0] != 0
        assert tried(vm, f"cat /proc/{pid}/environ", "web")[0] != 0


def test_traffic_cannot_be_moved(vm: Box):
    vm.sh(f"relctl switch v1 {HELD}")
    percent = machine.until("traffic to move", lambda: machine.percent(vm))
    for user in ("mallory", "web"):
        for line in (
            f"ln -sfn 100 {RUN}/lanes/x; ln -sfn 100 {RUN}/lanes/*/current",
            f"touch {RUN}/lanes/*/000/00",
            f"rm -rf {RUN}/lanes",
            f"mv {RUN}/lanes /tmp/",
        ):
            assert tried(vm, line, user)[0] != 0, (user, line)
    assert machine.percent(vm) == percent


def test_files_in_tmp_in_the_home_or_in_the_environment_start_nothing(vm: Box):
    evil = "import os; os.system('touch /srv/evil /tmp/evil-ran')"
    vm.sh("rm -f /tmp/evil-ran")
    tried(
        vm,
        f"mkdir -p /tmp/reld /tmp/relctl; for f in /tmp/sitecustomize.py /tmp/reld.py /tmp/json.py "
        f'/tmp/reld/__init__.py /tmp/click.py; do echo "{evil}" > $f; done; '
        "cp /tmp/sitecustomize.py ~; echo '[app]' > /tmp/web.toml; export PYTHONPATH=/tmp "
        "RELCTL_SOCKET=/tmp/x; cd /tmp; python3 -m venv 2>/dev/null; relctl status",
    )
    assert tried(vm, "touch /etc/relctl/evil.toml; mkdir /srv/web/releases/evil")[0] != 0
    vm.sh(
        "cd /tmp && relctl status && systemctl restart reld@web && relctl switch v1 --now --bake 0s 2>&1"
    )
    vm.sh("cd /tmp && relctl switch v2 --now --bake 0s 2>&1")
    assert vm.run("ls", "/srv/evil").returncode != 0
    ran = vm.run("stat", "-c", "%U", "/tmp/evil-ran").stdout.strip()
    assert ran in ("", "mallory")  # what he starts himself is his own


def test_a_config_that_others_can_write_starts_nothing(vm: Box):
    vm.sh("cp /etc/relctl/web.toml /srv/kept; chmod 666 /etc/relctl/web.toml")
    try:
        ended = vm.run("relctl", "switch", "v1")
        assert ended.returncode == 8, ended.stderr
        assert "others than its owner can write it" in ended.stderr
        vm.sh("chmod 644 /etc/relctl/web.toml; chown mallory /etc/relctl/web.toml")
        ended = vm.run("relctl", "switch", "v1")
        assert ended.returncode == 8, ended.stderr
    finally:
        vm.sh("chown root:root /etc/relctl/web.toml; chmod 644 /etc/relctl/web.toml")


def test_a_name_of_a_release_leads_nowhere_else(vm: Box):
    tried(vm, "mkdir -p /tmp/evil; echo 'import os' > /tmp/evil/serve.py")
    for name in (
        "../../../tmp/evil",
        "..",
        ".",
        "/tmp/evil",
        "evil/../../x",
        "$(id)",
        "v1;id",
        "%2e%2e",
    ):
        ended = vm.run("relctl", "switch", name)
        assert ended.returncode == 2, (name, ended.stderr)
        body = json.dumps({"kind": "switch", "release": name})
        request = (
            "POST /v1/rollouts HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n"
            f"Content-Length: {len(body)}\\r\\n\\r\\n{body}"
        )
        said = vm.run("/usr/bin/python3", "/srv/ask.py", SOCKET, "1", request).stdout
        assert json.loads(said)["error"]["exit"] == 2


# what root's reld must not be led to by files that others own


def test_a_broken_apps_links_lead_reld_nowhere(vm: Box):
    """The app owns the directory of a release, and may put into it what it likes."""
    vm.sh(
        "cp -r /srv/web/releases/v1 /srv/web/releases/owned; chown -R web: /srv/web/releases/owned"
    )
    shadow = vm.sh("sha256sum /etc/shadow /etc/passwd; stat -c '%U %a' /etc/shadow /etc/passwd")
    vm.sh(
        "cd /srv/web/releases/owned; for f in stdout.log owned.log log logs reld.log .env env core; "
        "do runuser -u web -- ln -s /etc/shadow $f; done"
    )
    vm.sh("relctl switch owned --now --bake 0s 2>&1; relctl logs --release owned; relctl releases")
    vm.sh("relctl switch v2 --now --bake 0s 2>&1")
    assert (
        vm.sh("sha256sum /etc/shadow /etc/passwd; stat -c '%U %a' /etc/shadow /etc/passwd")
        == shadow
    )
    assert tried(vm, f"ls {STATE}/logs", "web")[0] != 0


def test_links_in_the_gates_own_directory_lead_reld_nowhere(vm: Box):
    """The gate's user may write there; root's reld reads, renames and removes there."""
    shadow = vm.sh("sha256sum /etc/shadow; stat -c '%U %a' /etc/shadow")
    gate = f"{RUN}/gate"
    for line in (
        f"cd {gate} && mv requests.log real && ln -s /etc/shadow requests.log",
        f"cd {gate} && ln -sf /etc/shadow requests.log.old",
    ):
        tried(vm, line, "relctl-gate")
        time.sleep(3)
        said = vm.sh("journalctl -u reld@web --no-pager -n 50; relctl status --json")
        assert "root:" not in said
    assert vm.sh("sha256sum /etc/shadow; stat -c '%U %a' /etc/shadow") == shadow
    vm.sh(
        f"cd {gate} && rm -f requests.log requests.log.old; mv real requests.log 2>/dev/null; true"
    )
    # Its pid file says whom root signals.
    mine = vm.sh("systemctl show -P MainPID ssh").strip()
    kept = vm.sh(f"cat {gate}/gate.pid").strip()
    tried(vm, f"echo {mine} > {gate}/gate.pid", "relctl-gate")
    vm.run("relctl", "switch", "v1", "--now", "--bake", "0s", timeout=90)
    assert vm.sh("systemctl show -P MainPID ssh").strip() == mine
    vm.sh(f"echo {kept} > {gate}/gate.pid; chown relctl-gate: {gate}/gate.pid")
    vm.run("relctl", "abort")
    machine.until("rest", lambda: machine.status(vm)["rollout"] is None, 60)
    vm.sh("relctl switch v2 --now --bake 0s 2>&1 || true")


# ports that get users' requests


def test_ports_that_are_in_use_cannot_be_shared(vm: Box):
    for port in (*ports(vm), 8080, 21099):
        for address in ("127.0.0.1", "0.0.0.0"):
            code, said = tried(vm, f"timeout 5 python3 /srv/take.py {address} {port} 0.5")
            assert "taken" not in said or address == "0.0.0.0", (port, code)
    assert set(answers(vm)) == {"v2"}


def test_a_port_that_somebody_took_before_is_not_given_to_an_instance(vm: Box):
    first = 21000
    taken = [
        vm.ssh_start(f"python3 /srv/take.py 127.0.0.1 {port} 0", user="mallory")
        for port in range(first, first + 12)
        if port not in ports(vm)
    ]
    for one in taken:
        assert one.stdout is not None
        assert (one.stdout.readline(), one.stdout.readline()) == ("waiting\n", "taken\n")
    vm.sh("relctl switch v1 --now --bake 0s 2>&1")
    assert set(answers(vm)) == {"v1"}
    vm.sh("relctl switch v2 --now --bake 0s 2>&1")
    vm.sh("pkill -KILL -u mallory -f take.py || true")


def waits_for(vm: Box, port: int) -> subprocess.Popen[str]:
    """He tries to take it, a thousand times a second."""
    taker = vm.ssh_start(f"python3 /srv/take.py 127.0.0.1 {port} 20", user="mallory")
    assert taker.stdout is not None
    assert taker.stdout.readline() == "waiting\n"
    return taker


def killed(vm: Box, port: int) -> None:
    slots = machine.status(vm)["slots"].values()
    every = [i for slot in slots for i in slot["instances"]]
    (pid,) = [i["pid"] for i in every if int(i["port"]) == port and i["pid"]]
    vm.sh(f"kill -KILL {pid}")


def test_a_port_taken_while_its_instance_restarts_gets_no_traffic_for_long(vm: Box):
    port = ports(vm)[0]
    taker = waits_for(vm, port)
    try:
        killed(vm, port)
        got = answers(vm, 200)
        print(f"{got.count('mallory')} of {len(got)}")
        assert taker.stdout is not None
        assert taker.stdout.readline() == "taken\n"
        assert got.count("mallory") < 100
        machine.until("reld to turn away from it", lambda: set(answers(vm)) == {"v2"}, 15)
        assert "v2" in vm.sh("relctl status")
    finally:
        vm.sh("pkill -KILL -u mallory -f take.py || true")
        taker.communicate()


def test_the_only_port_of_an_app_that_is_taken_while_it_restarts_gets_no_traffic_for_long(vm: Box):
    vm.sh("sed -i 's/^instances = 2/instances = 1/' /etc/relctl/web.toml")
    vm.sh("relctl switch v1 --now --bake 0s 2>&1")
    (port,) = ports(vm)
    taker = waits_for(vm, port)
    try:
        killed(vm, port)
        got = answers(vm, 200)
        print(f"{got.count('mallory')} of {len(got)}")
        assert taker.stdout is not None
        assert taker.stdout.readline() == "taken\n"
        machine.until("v1 alone", lambda: set(answers(vm)) == {"v1"}, 30)
    finally:
        vm.sh("pkill -KILL -u mallory -f take.py || true")
        taker.communicate()
        vm.sh("sed -i 's/^instances = 1/instances = 2/' /etc/relctl/web.toml")
        machine.until("v1", lambda: machine.release(vm) == "v1", 30)
        vm.sh("relctl switch v2 --now --bake 0s 2>&1")


def test_a_port_taken_at_boot_before_the_app_gets_no_traffic_for_long(vm: Box):
    port = ports(vm)[0]
    vm.write(
        "/etc/systemd/system/mallory.service",
        "[Unit]\nDefaultDependencies=no\nAfter=network-pre.target\nBefore=relctl-gate@web.service\n"
        f"[Service]\nUser=mallory\nExecStart=/usr/bin/python3 /srv/take.py 127.0.0.1 {port} 60\n"
        "[Install]\nWantedBy=sysinit.target\n",
    )
    vm.sh("systemctl enable --quiet mallory")
    try:
        vm.reboot()
        got = answers(vm, 200)
        print(f"{got.count('mallory')} of {len(got)}")
        machine.until("v2 alone", lambda: set(answers(vm)) == {"v2"}, 30)
    finally:
        vm.sh("systemctl disable --quiet --now mallory; rm /etc/systemd/system/mallory.service")


# what is used up


def test_the_disk_and_run_cannot_be_filled_through_relctl(vm: Box):
    """Refusals are not written, requests are bounded in the log, and the audit is thinned."""
    before = int(vm.sh(f"du -sk {STATE} {RUN} | awk '{{s += $1}} END {{print s}}'"))
    tried(vm, "for i in $(seq 60); do relctl switch v1; done 2>/dev/null")
    request = f"GET /{'x' * 3000} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n"
    tried(vm, f"python3 /srv/ask.py 8080 2000 '{request}' >/dev/null")
    after = int(vm.sh(f"du -sk {STATE} {RUN} | awk '{{s += $1}} END {{print s}}'"))
    assert after - before < 3000, f"{after - before} kB"
