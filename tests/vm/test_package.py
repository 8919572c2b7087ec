"""What `apt install ./relctl_*.deb` does to a bare Debian, and what removing and purging leave."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.vm import machine, roots
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
    # The gate's user comes through to its own directory, and nobody sees what else is there.
    assert serving.sh("stat -c '%a %U' /var/lib/relctl/web").strip() == "711 root"
    assert serving.run("ls", "/var/lib/relctl/web", user="eve").returncode != 0
    for file in serving.sh("ls -A /var/lib/relctl/web").split():
        look = f"cat /var/lib/relctl/web/{file}/* /var/lib/relctl/web/{file}"
        assert serving.run("/bin/sh", "-c", look, user="eve").stdout == "", file
    writable = "find /run/relctl /etc/relctl -writable ! -type l ! -type s"
    assert serving.run("/bin/sh", "-c", writable, user="eve").stdout == ""


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


def test_what_removing_says_ends_what_it_left(serving: Box):
    said = machine.apt(serving, "remove relctl")
    (line,) = [
        line for line in said.splitlines() if line.startswith("  systemctl stop relctl-gate")
    ]
    serving.sh(line)
    assert serving.run("pgrep", "-u", "web").returncode == 1
    assert serving.run("pgrep", "-u", "relctl-gate").returncode == 1


def test_purging_refuses_while_something_runs_or_needs_it_and_says_how_to_go_on(serving: Box):
    refused = serving.run("apt-get", "-y", "purge", "relctl")
    assert refused.returncode != 0
    for what in ("an instance of an app", "an instance of an app", "the gate of web"):
        refused = serving.run("dpkg", "--purge", "relctl")
        assert refused.returncode != 0
        told = re.search(
            r"cannot purge: process (\d+) is (.*)\n  next: (.*), then: ", refused.stderr
        )
        assert told, refused.stderr
        assert told[2].startswith(what)
        assert int(told[1]) in {int(p) for p in serving.sh("pgrep -u web,relctl-gate").split()}
        assert serving.sh("ls /etc/relctl/web.toml /var/lib/relctl/web/state.db")
        serving.sh(told[3])
        serving.run("/bin/sh", "-c", f"while kill -0 {told[1]}; do sleep 0.1; done")
    refused = serving.run("dpkg", "--purge", "relctl")
    assert refused.returncode != 0
    assert "/etc/nginx/sites-enabled/web still points at the gate" in refused.stderr
    assert "nginx -t, systemctl reload nginx" in refused.stderr
    serving.sh("sed -i 's,127.0.0.1:8080,localhost:8080,' /etc/nginx/sites-enabled/web")
    assert serving.run("dpkg", "--purge", "relctl").returncode != 0
    # None of these is the gate: another port, a comment, a site that is not enabled.
    serving.sh(
        "sed -i 's,localhost:8080;,127.0.0.1:18080; #127.0.0.1:8080,' /etc/nginx/sites-enabled/web"
    )
    serving.write("/etc/nginx/sites-available/old", "proxy_pass http://127.0.0.1:8080;")
    serving.sh("dpkg --purge relctl 2>&1")
    assert serving.run("ls", "/etc/relctl").returncode != 0


def test_purging_leaves_nothing(serving: Box):
    serving.sh("relctl stop 2>&1; systemctl disable --now reld@web 2>&1")
    serving.sh("systemctl stop relctl-gate@web")
    serving.sh("rm /etc/nginx/sites-enabled/web; systemctl reload nginx; sleep 1")
    machine.apt(serving, "purge relctl")
    left = "find / -xdev -path /proc -prune -o \\( -name '*relctl*' -o -name '*reld*' \\) -print"
    known = ("/srv/relctl_", "/var/log/journal")
    assert [f for f in serving.sh(left).split() if not f.startswith(known)] == []
    run = "find /run /dev/shm \\( -name '*relctl*' -o -name '*reld*' \\) ! -path '/run/systemd/*' -print"
    assert serving.sh(run) == ""
    units = "systemctl list-units --all --plain --no-legend 'relctl*' 'reld*'"
    assert serving.sh(units) == ""
    for database, name in (
        ("group", "relctl"),
        ("group", "relctl-gate"),
        ("passwd", "relctl-gate"),
        ("passwd", "relctl-notify"),
    ):
        assert serving.run("getent", database, name).returncode == 2, name
    assert "relctl" not in serving.sh("dpkg-query -W")


def test_people_of_the_group_keep_it(serving: Box):
    serving.sh("useradd -G relctl anna; relctl stop 2>&1; systemctl disable --now reld@web 2>&1")
    serving.sh("systemctl stop relctl-gate@web; rm /etc/nginx/sites-enabled/web")
    machine.apt(serving, "purge relctl")
    assert serving.sh("getent group relctl").strip().endswith(":anna")


def test_purging_leaves_exactly_the_files_that_were_there_before(installed: Installed, deb: Path):
    with Box([roots.build(roots.tester(installed.suite))]) as box:
        box.boot()
        machine.add_package(box, deb)
        before = _everything(box)
        box.sh(f"dpkg -i /srv/{deb.name} 2>&1")
        default = box.sh("cat /etc/nginx/sites-enabled/default")
        machine.add_site(box)
        box.sh("systemctl enable --quiet --now reld@web && relctl switch v1 2>&1")
        assert len(_everything(box) - before) > 50
        box.sh("relctl stop 2>&1; systemctl disable --quiet --now reld@web")
        box.sh("systemctl stop relctl-gate@web; rm /etc/nginx/sites-enabled/web")
        box.sh("dpkg --purge relctl 2>&1")
        # What the test itself changed.
        box.sh("userdel web; ln -s ../sites-available/default /etc/nginx/sites-enabled/default")
        assert box.sh("cat /etc/nginx/sites-enabled/default") == default
        assert sorted(_everything(box) ^ before) == []


def _everything(box: Box) -> set[str]:
    """Every file, with its mode and owners; below /etc, where only people write, its content too."""
    # Logs and caches, what dpkg keeps for its own undoing, and what the test puts into /srv.
    skipped = ("/var/log", "/var/cache", "/var/lib/dpkg", "/var/lib/systemd", "/srv")
    prune = " -o ".join(f"-path {place}" for place in skipped)
    names = f"find / -xdev \\( {prune} \\) -prune -o ! -name '*-' -printf '%M %u:%g %p\\n'"
    content = "find /etc -type f ! -name '*-' -exec sha256sum {} +"
    info = "find /var/lib/dpkg/info /var/lib/systemd -name '*rel*'"
    return set(box.sh(f"{names}; {content}; {info}").splitlines())
