"""What `apt install ./relctl_*.deb` does to a bare Debian, and what removing and purging leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm import machine
from tests.vm.box import Box
from tests.vm.conftest import Installed

pytestmark = pytest.mark.timeout(400)


def test_a_bare_debian_installs_it_with_nothing_but_debians_own_packages(
    installed: Installed, box: Box
):
    assert "Setting up relctl" in installed.said
    local = box.sh("apt list --installed 2>/dev/null | grep ,local]")
    assert [line.split("/")[0] for line in local.splitlines()] == ["relctl"]
    assert box.sh("dpkg --audit; dpkg -V relctl") == ""
    assert box.sh("relctl --help")
    print(f"apt install: {installed.seconds:.1f} s")


def test_installing_starts_nothing_and_opens_nothing(box: Box):
    assert box.sh("systemctl list-units --no-legend 'reld@*' 'relctl*'") == ""
    assert box.sh("systemctl --failed --no-legend") == ""
    listening = box.sh("ss -Hltn")
    assert ":8080 " not in listening
    assert ":21099 " not in listening


def test_files_belong_to_root_and_nobody_else_writes_them(box: Box):
    listed = "dpkg -L relctl | xargs -d '\\n' stat -c '%a %U:%G %n'"
    wrong = [
        line
        for line in box.sh(listed).splitlines()
        if not line.startswith(("755 root:root ", "644 root:root "))
    ]
    assert wrong == []


def test_the_group_is_there_and_opens_the_socket(serving: Box):
    assert serving.sh("getent group relctl").startswith("relctl:x:")
    socket = serving.sh("stat -c '%a %U:%G' /run/relctl/web/control.sock").strip()
    assert socket == "660 root:relctl"
    serving.sh("useradd -m -G relctl anna; useradd -m eve")
    assert "live     v1" in serving.sh("relctl status", user="anna")
    assert serving.run("relctl", "status", user="eve").returncode == 4


def test_no_other_user_reads_the_state(serving: Box):
    serving.sh("useradd -m eve")
    assert serving.sh("stat -c %a /var/lib/relctl/web").strip() == "700"
    assert serving.run("ls", "/var/lib/relctl/web", user="eve").returncode != 0
    writable = "find /run/relctl /etc/relctl -writable ! -type l ! -type s"
    assert serving.run("/bin/sh", "-c", writable, user="eve").stdout == ""


def test_an_upgrade_in_the_middle_of_a_rollout_loses_nothing(serving: Box, newer: Path):
    machine.add_package(serving, newer)
    before = machine.pids(serving)
    with machine.Load(serving) as load:
        serving.sh("relctl switch v2 --step-time 4s --no-wait")
        machine.until("traffic to move", lambda: machine.status(serving)["rollout"]["percent"])
        new = {i["pid"] for s in machine.status(serving)["slots"].values() for i in s["instances"]}
        machine.apt(serving, f"install /srv/{newer.name}")
        now = machine.status(serving)
        assert now["rollout"]["phase"] in ("shifting", "baking")
        assert {i["pid"] for s in now["slots"].values() for i in s["instances"]} == new >= before
        receipt = serving.sh("relctl watch 2 2>&1; relctl show 2", timeout=60)
    assert load.failed == []
    assert load.answers["v2"] > 0
    assert "done" in receipt
    assert machine.release(serving) == "v2"
    assert machine.version(newer) in serving.sh("relctl version")


def test_a_downgrade_leaves_the_app_alone(serving: Box, deb: Path, newer: Path):
    machine.add_package(serving, newer)
    before = machine.pids(serving)
    machine.apt(serving, f"install /srv/{newer.name}")
    machine.apt(serving, f"install --allow-downgrades /srv/{deb.name}")
    assert machine.until("reld", lambda: machine.pids(serving)) == before
    assert machine.version(newer) not in serving.sh("relctl version")


def test_removing_leaves_the_app_serving_and_says_so(serving: Box):
    before = machine.pids(serving)
    with machine.Load(serving) as load:
        said = machine.apt(serving, "remove relctl")
    assert load.failed == []
    assert "web serves on, without anybody who looks after it" in said
    assert machine.release(serving) == "v1"
    running = serving.sh("pgrep -u web")
    assert before == {int(pid) for pid in running.split()}
    assert serving.sh("systemctl list-units --no-legend 'reld@*.service' 'reld@*.socket'") == ""
    assert serving.sh("ls /etc/relctl /var/lib/relctl") != ""


def test_installing_again_after_a_removal_adopts_what_still_runs(serving: Box, deb: Path):
    before = machine.pids(serving)
    machine.apt(serving, "remove relctl")
    machine.apt(serving, f"install /srv/{deb.name}")
    serving.sh("systemctl start reld@web")
    assert machine.pids(serving) == before


def test_purging_refuses_while_an_instance_runs_or_a_site_points_at_the_gate(serving: Box):
    refused = serving.run("apt-get", "-y", "purge", "relctl")
    assert refused.returncode != 0
    assert "cannot purge: process" in refused.stdout + refused.stderr
    assert serving.sh("ls /etc/relctl/web.toml /var/lib/relctl/web/state.db")
    serving.sh("pkill -QUIT -F /run/relctl/web/gate.pid; pkill -u web; sleep 1")
    refused = serving.run("dpkg", "--purge", "relctl")
    assert "/etc/nginx/sites-enabled/web still points at the gate" in refused.stderr
    assert serving.sh("ls /etc/relctl/web.toml")


def test_purging_leaves_nothing(serving: Box):
    serving.sh("relctl stop 2>&1; systemctl disable --now reld@web 2>&1")
    serving.sh("pkill -QUIT -F /run/relctl/web/gate.pid")
    serving.sh("rm /etc/nginx/sites-enabled/web; systemctl reload nginx; sleep 1")
    machine.apt(serving, "purge relctl")
    left = "find / -xdev -path /proc -prune -o \\( -name '*relctl*' -o -name '*reld*' \\) -print"
    known = ("/srv/relctl_", "/var/log/journal")
    assert [f for f in serving.sh(left).split() if not f.startswith(known)] == []
    assert serving.run("getent", "group", "relctl").returncode == 2
    assert "relctl" not in serving.sh("dpkg-query -W")
