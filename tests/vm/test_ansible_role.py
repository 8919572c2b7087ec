"""The role relctl.relctl.vm: a bare Debian becomes a machine that serves, by Debian's own ansible over a real sshd."""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import machine, roots
from tests.vm.ansible import Ansible, Played
from tests.vm.box import Box
from tests.vm.lan import Lan

pytestmark = pytest.mark.timeout(600)

PLAYBOOK = """\
- hosts: vms
  gather_facts: false
  roles:
    - relctl.relctl.vm
  tasks:
    - relctl.relctl.info:
      when: not ansible_check_mode
"""
VARIABLES = """\
relctl_app: web
relctl_deb: {deb}
relctl_operators: [anna, deploy]
relctl_ci_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ci
relctl_env:
  TOKEN: a-secret-token
relctl_first_release: v1
relctl_first_archive: v1.tar.gz
relctl_config:
  app:
    command: [/usr/bin/python3, serve.py]
    directory: /srv/web/releases/{{release}}
    user: web
    instances: 2
    stop_timeout: 20s
  readiness:
    path: /ready
  rollout:
    steps: [20, 50, 100]
    step_time: 2s
    step_requests: 0
    bake: 1s
    drain: 1s
  gate:
    timeout: {timeout}
"""
CHANGED = re.compile(
    r"^TASK \[(?:relctl\.relctl\.)?vm : (.+)\] \*+\n(?:(?!TASK|PLAY|RUNNING).*\n)*?changed:",
    re.MULTILINE,
)
HANDLED = re.compile(
    r"^RUNNING HANDLER \[(?:relctl\.relctl\.)?vm : (.+)\] \*+\nchanged:", re.MULTILINE
)


@dataclass(frozen=True)
class Team:
    """A machine where ansible is, and the one that it sets up."""

    ansible: Ansible
    vm: Box

    def set_up(self, *options: str, deb: Path, timeout: str = "30s") -> Played:
        """`ansible-playbook vm.yml`, with these in the variables."""
        self.ansible.box.put(deb, f"/home/deploy/fleet/{deb.name}")
        variables = VARIABLES.format(deb=deb.name, timeout=timeout)
        self.ansible.write("group_vars/vms.yml", variables)
        return self.ansible.play("vm.yml", *options)


@pytest.fixture(scope="module", params=roots.SUITES)
def team(request: pytest.FixtureRequest) -> Iterator[Team]:
    with Lan() as lan:
        ansible = Ansible(lan.add("controller", [roots.build(roots.controller(request.param))]))
        vm = lan.add("vm1", [roots.build(roots.server(request.param))])
        vm.sh("useradd -m -s /bin/bash deploy; useradd -m anna")
        vm.write("/etc/sudoers.d/deploy", "deploy ALL=(ALL) NOPASSWD: ALL\n", 0o440)
        vm.write("/etc/apt/apt.conf.d/no-way-out", 'Acquire::Retries "0";\n')
        vm.put(machine.HERE / "load.py", "/srv/load.py")
        ansible.manage(vm, "vm1")
        ansible.write("inventory.ini", "[vms]\nvm1\n")
        ansible.write("vm.yml", PLAYBOOK)
        ansible.box.write("/home/deploy/fleet/v1.tar.gz", _archive())
        yield Team(ansible, vm)


@pytest.fixture(scope="module")
def serving(team: Team, deb: Path) -> Team:
    """After the role's first run."""
    if not team.vm.sh("ls /etc/relctl 2>/dev/null || true"):
        played = team.set_up(deb=deb)
        assert played.code == 0, str(played)
    return team


def test_a_check_of_a_bare_machine_says_what_would_change_and_changes_nothing(
    team: Team, deb: Path
):
    team.vm.sh("touch /run/before")
    played = team.set_up("--check", "--diff", deb=deb)
    assert played.code == 0, str(played)
    assert f"relctl {machine.version(deb)} would be installed" in played.said
    assert "anna, deploy would join the group relctl" in played.said
    assert '+command = ["/usr/bin/python3", "serve.py"]' in played.said
    assert "+        proxy_pass http://127.0.0.1:8080;" in played.said
    assert "a-secret-token" not in played.said + played.wrong
    newer = team.vm.sh("find /etc /srv /usr /home /var/lib/dpkg -xdev -newer /run/before -type f")
    assert newer.split() == []
    assert team.vm.run("/bin/sh", "-c", "command -v nginx reld || id web").returncode == 1


def test_a_bare_machine_serves_after_one_play(team: Team, serving: Team):
    vm = team.vm
    assert machine.release(vm) == "v1"
    assert vm.sh("systemctl is-enabled reld@web nginx").split() == ["enabled", "enabled"]
    assert vm.sh("stat -c '%a %U %G' /etc/relctl/web.env").split() == ["600", "root", "root"]
    (pid, *_) = machine.pids(vm)
    assert "TOKEN=a-secret-token" in vm.sh(f"tr '\\0' '\\n' < /proc/{pid}/environ").split()
    assert vm.sh("stat -c %U /srv/web/releases/v1/serve.py").strip() == "web"
    assert vm.sh("relctl status --json", user="anna")
    line = vm.sh("cat ~ci/.ssh/authorized_keys")
    assert line.startswith('restrict,command="/usr/local/bin/ci-gate --app web" ssh-ed25519 ')
    vm.sh("runuser -u ci -- env SSH_ORIGINAL_COMMAND=status /usr/local/bin/ci-gate --app web")


def test_a_second_run_changes_nothing(serving: Team, deb: Path):
    played = serving.set_up(deb=deb)
    assert played.code == 0, str(played)
    assert played.recap["vm1"]["changed"] == 0, str(played)


def test_a_mistake_is_refused_in_relds_words_and_everything_stays_as_it_was(
    serving: Team, deb: Path
):
    before = serving.vm.sh("cat /etc/relctl/web.toml")
    played = serving.set_up(deb=deb, timeout="30 parsecs")
    assert played.code != 0
    line = next(n for n, text in enumerate(before.splitlines(), 1) if text.startswith("timeout"))
    assert f"/etc/relctl/web.toml:{line}: gate.timeout: " in played.said, str(played)
    assert played.recap["vm1"]["changed"] == 0
    assert serving.vm.sh("cat /etc/relctl/web.toml") == before
    assert machine.release(serving.vm) == "v1"


def test_a_site_that_nginx_refuses_is_not_written(serving: Team, deb: Path):
    before = serving.vm.sh("cat /etc/nginx/sites-enabled/web; ls -A /etc/nginx")
    serving.ansible.write("mistyped.conf.j2", "server { listen 80; locatio / { } }\n")
    played = serving.set_up("-e", "relctl_site=mistyped.conf.j2", deb=deb)
    assert played.code != 0
    said = 'unknown directive \\"locatio\\" in /etc/nginx/sites-enabled/web:1'
    assert said in played.said, str(played)
    assert serving.vm.sh("cat /etc/nginx/sites-enabled/web; ls -A /etc/nginx") == before


def test_an_edit_in_the_middle_of_a_rollout_changes_the_config_and_loses_nothing(
    serving: Team, deb: Path
):
    vm = serving.vm
    vm.sh("cp -a /srv/web/releases/v1 /srv/web/releases/v2")
    reld = vm.sh("systemctl show -P MainPID reld@web")
    with machine.Load(vm) as load:
        vm.sh("relctl switch v2 --no-wait")
        machine.until("traffic to move", lambda: machine.percent(vm))
        vm.sh("relctl pause")
        before = _slots(vm)
        played = serving.set_up("--diff", deb=deb, timeout="31s")
        assert vm.sh("systemctl show -P MainPID reld@web") != reld
        assert _slots(vm) == before
        vm.sh("relctl resume && relctl watch 2>&1")
    assert played.code == 0, str(played)
    assert changed(played) == ["Write the config", "Let reld look after it"]
    assert '-timeout = "30s"\n+timeout = "31s"\n' in played.said
    assert load.failed == []
    assert load.answers["v2"] > 0
    assert machine.release(vm) == "v2"


def test_a_newer_package_takes_the_old_ones_place_and_loses_nothing(
    serving: Team, deb: Path, newer: Path
):
    vm = serving.vm
    before = machine.pids(vm), machine.release(vm)
    timeout = vm.sh("""sed -n 's/^timeout = "\\(.*\\)"/\\1/p' /etc/relctl/web.toml""").strip()
    with machine.Load(vm) as load:
        played = serving.set_up(deb=newer, timeout=timeout)
    assert played.code == 0, str(played)
    assert changed(played) == ["Copy the package", "Install relctl"]
    assert machine.version(newer) in vm.sh("relctl version")
    assert load.failed == []
    assert (machine.pids(vm), machine.release(vm)) == before


def changed(played: Played) -> list[str]:
    """The names of the tasks and handlers that changed something."""
    return [*CHANGED.findall(played.said), *HANDLED.findall(played.said)]


def _slots(vm: Box) -> dict[str, tuple[int, set[int]]]:
    """Who gets which share of the traffic: release → percent, pids."""
    slots = machine.status(vm)["slots"].values()
    return {s["release"]: (s["percent"], {i["pid"] for i in s["instances"]}) for s in slots}


def _archive() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(machine.HERE / "serve.py", arcname="serve.py")
    return packed.getvalue()
