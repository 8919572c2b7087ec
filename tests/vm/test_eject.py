"""`relctl eject`: the way out, to plain units that need no relctl, as safe as the way in."""

from __future__ import annotations

import json
import re

import pytest

from reld.plain_units import command_line
from tests.vm import machine
from tests.vm.box import Box

pytestmark = pytest.mark.timeout(400)

ONE = machine.CONFIG.replace("instances = 2", "instances = 1")
DUMP = """\
import json, os, sys
with open("/tmp/seen", "w") as file:
    json.dump({"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd(),
               "limits": open("/proc/self/limits").read().split("Max open files")[1].split()[0],
               "umask": open("/proc/self/status").read().split("Umask:")[1].split()[0],
               "id": [os.getuid(), os.getgid(), sorted(os.getgroups())]}, file)
sys.path.insert(0, "/srv/web/releases/v1")
exec(open("/srv/web/releases/v1/serve.py").read())
"""
NASTY = ["two words", "", "'", '"', "back\\slash", "$HOME", "${HOME}", "$$", "%h", "%%", "%", ";",
         "\\;", "#no", "a;b", "ta\tb", "-", "@x", "ümläut €", "{", "\\x41", "*", "~", "!", "&", "|"]  # fmt: skip


def one_instance(box: Box, config: str = ONE) -> Box:
    box.write("/etc/relctl/web.toml", config)
    box.sh("systemctl enable --quiet --now reld@web && relctl switch v1 2>&1")
    return box


def eject(box: Box, *options: str) -> tuple[int, str]:
    ended = box.run("relctl", "eject", *options, timeout=200)
    return ended.returncode, ended.stdout + ended.stderr


def left_of_a_unit(box: Box, name: str = "web") -> str:
    files = f"ls -A /etc/systemd/system /etc/default | grep '^[.]*{name}'; "
    return box.sh(f"{files} systemctl list-units --all --no-legend '{name}*.service' || true")


def point_the_site_elsewhere(box: Box, said: str) -> None:
    """By the line that eject has printed, and nothing else."""
    found = re.search(r"proxy_pass http://(\S+) -> http://(\S+)", said)
    assert found, said
    before, after = (address.replace(".", r"\.") for address in found.groups())
    upstream = re.search(r"before its server: (upstream .*)", said)
    site = "/etc/nginx/sites-enabled/web"
    if upstream:
        box.write("/etc/nginx/conf.d/upstream.conf", upstream[1] + "\n")
    master = box.sh("systemctl show -P MainPID nginx").strip()
    workers = box.sh(f"cat /proc/{master}/task/{master}/children").split()
    box.sh(f"sed -i 's,{before},{after},' {site} && nginx -t 2>&1 && systemctl reload nginx")
    # `reload` does not wait; who connects to an old worker is cut off by its end.
    for pid in workers:
        machine.until(
            "it to leave", lambda pid=pid: box.run("test", "-d", f"/proc/{pid}").returncode
        )


def test_the_way_out_loses_nothing_and_nothing_of_relctl_is_needed_after_it(serving: Box):
    with machine.Load(serving) as load:
        code, said = eject(serving)
        assert code == 0, said
        assert machine.release(serving) == "v1"
        assert serving.sh("systemctl is-active web-8000 web-8001").split() == ["active"] * 2
        assert "relctl" not in serving.sh("cat /etc/systemd/system/web-800?.service").lower()
        live = machine.status(serving)["slots"][machine.status(serving)["live"]]
        assert [i["port"] for i in live["instances"]] == [8000, 8001]
        assert serving.sh("systemctl list-units --no-legend 'relctl-web-r*'") == ""
    assert load.failed == []
    point_the_site_elsewhere(serving, said)  # a reload of the site's nginx is what it always was
    with machine.Load(serving) as load:
        for line in said.splitlines():
            if line.strip().startswith("sudo systemctl disable"):
                serving.sh(f"{line} 2>&1")
        machine.apt(serving, "purge relctl")
    assert load.failed == []
    serving.reboot()
    assert machine.until("the app", lambda: machine.release(serving) == "v1")
    assert serving.sh("pgrep -c -u web").strip() == "2"


def test_one_instance_becomes_one_unit_of_the_apps_name_and_a_dry_run_shows_it(box: Box):
    one_instance(box)
    code, said = eject(box, "--dry-run")
    assert code == 0
    assert left_of_a_unit(box) == ""
    code, told = eject(box, "--json")
    receipt = json.loads(told.splitlines()[-1])
    assert (code, receipt["outcome"], receipt["kind"]) == (0, "done", "eject")
    unit = box.sh("cat /etc/systemd/system/web.service")
    assert all(line.strip() in said for line in unit.splitlines())
    assert "proxy_pass http://127.0.0.1:8080 -> http://127.0.0.1:8000" in "".join(receipt["notes"])
    assert box.sh("systemctl is-enabled web").strip() == "enabled"
    assert box.sh("systemd-analyze verify web.service 2>&1") == ""


def test_the_unit_runs_what_the_instance_ran_to_the_last_character(box: Box):
    words = json.dumps(NASTY, ensure_ascii=False).replace("{", "{{").replace("}", "}}")
    config = ONE.replace('command = ["/usr/bin/python3", "serve.py"]', 'command = ["./my %s $serve", '
        f'"{{port}}", "{{slot}}", "{{release}}", "{{instance}}", "{{directory}}", {words[1:]}')  # fmt: skip
    config = config.replace("[readiness]", 'env_file = "/etc/relctl/web.env"\n[app.env]\n'
        'LINES = "one\\ntwo\\n"\nEMPTY = ""\n[readiness]').replace("releases/{release}", "%n o$o ü/{release}")  # fmt: skip
    secret = "hunter2 \"quoted\" $HOME `id` \\n \\ # %h 'x' ü;"
    box.write("/etc/relctl/web.env", f"SECRET={secret}\nPORT=99\nPADDED='  x  '\n")
    place = "/srv/web/%n o$o ü/v1/my %s $serve"
    box.write(place, f"#!/usr/bin/python3\n{DUMP}", mode=0o755)
    one_instance(box, config)
    before = json.loads(box.sh("cat /tmp/seen; rm /tmp/seen"))
    code, said = eject(box)
    assert code == 0, said
    after = json.loads(box.sh("cat /tmp/seen"))
    assert after["argv"][:5] == ["8000", "green", "v1", "0", "/srv/web/%n o$o ü/v1"]
    assert after["argv"][5:] == before["argv"][5:] == NASTY
    for key in ("cwd", "limits", "umask", "id"):
        assert after[key] == before[key], key
    ours = {"SECRET", "LINES", "EMPTY", "PADDED", "RELCTL_APP", "RELCTL_RELEASE", "LANG"}
    for name in ours:
        assert after["env"].get(name) == before["env"].get(name), name
    assert after["env"]["SECRET"] == secret
    assert after["env"]["PORT"] == "8000"
    assert "RELCTL_INSTANCE" not in after["env"]
    assert box.sh("stat -c '%a %U:%G' /etc/default/web").strip() == "600 root:root"
    assert "hunter2" not in box.sh("cat /etc/systemd/system/web.service; systemctl show web")
    assert "hunter2" not in said


def test_a_unit_that_does_not_come_up_moves_nothing_and_is_removed_again(box: Box):
    one_instance(box)
    before = machine.pids(box)
    box.write("/srv/web/releases/v1/serve.py", "import sys; print('no database'); sys.exit(3)\n")
    with machine.Load(box) as load:
        code, said = eject(box)
    assert code == 1
    assert "web.service does not run on" in said
    assert "no database" in said
    assert load.failed == []
    assert machine.pids(box) == before
    assert left_of_a_unit(box) == ""
    assert box.sh("systemctl --failed --no-legend") == ""


@pytest.mark.parametrize(
    ("made", "options", "words"),
    [
        ("systemd-run --quiet --unit=squatter python3 -m http.server 8000; sleep 1", (), "has it"),
        ("echo x > /etc/default/web", (), "/etc/default/web: it is there already"),
        ("true", ("--unit", "nginx"), "is there already"),
        ("true", ("--port", "8080"), "it is reld's own"),
        ("true", ("--port", "21050"), "it is reld's own"),
    ],
)
def test_what_belongs_to_others_is_refused_with_the_way_round_it(
    box: Box, made: str, options: tuple[str, ...], words: str
):
    one_instance(box)
    box.sh(made)
    before = machine.pids(box)
    nginx = box.sh("systemctl show -p MainPID nginx; cat /lib/systemd/system/nginx.service")
    for dry_run in (["--dry-run"], []):
        code, said = eject(box, *dry_run, *options)
        assert code == 1, said
        assert words in said
        assert "relctl eject --" in said
        assert machine.pids(box) == before
    assert nginx == box.sh("systemctl show -p MainPID nginx; cat /lib/systemd/system/nginx.service")


POINTS = (
    *("after:prepare", "before:run-units", "after:smoke", "after:reload", "before:reload:2"),
    *("after:move-lanes", "after:reload:2", "before:count-drain", "after:stop"),
)


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_reld_leaves_one_of_the_two_worlds(box: Box, point: str):
    _armed(box)
    with machine.Load(box) as load:
        box.write("/run/relctl/web/failpoint", point)
        eject(box, "--no-wait")
        machine.until("reld to be killed", lambda: _restarts(box))
        box.sh("rm -f /run/relctl/web/failpoint")
        ended = machine.until("the end", lambda: _ended(box), 90)
    assert load.failed == []
    assert machine.release(box) == "v1"
    if ended["outcome"] == "done":
        assert box.sh("systemctl is-active web; systemctl is-enabled web").split() == [
            "active",
            "enabled",
        ]
        assert box.sh("pgrep -c -u web").strip() == "1"
    else:
        assert left_of_a_unit(box) == ""
        assert len(machine.pids(box)) == 1


def test_a_reld_that_is_killed_on_the_way_back_removes_the_unit_all_the_same(box: Box):
    _armed(box)
    box.write("/srv/web/releases/v1/serve.py", "import sys; sys.exit(3)\n")
    for point in ("before:remove-units", "after:remove-units"):
        box.write("/run/relctl/web/failpoint", point)
        killed = _restarts(box)
        eject(box, "--no-wait")
        machine.until("reld to be killed", lambda k=killed: _restarts(box) > k)
        box.sh("rm -f /run/relctl/web/failpoint")
        assert machine.until("the end", lambda: _ended(box), 90)["outcome"] == "failed"
        assert left_of_a_unit(box) == ""
    assert len(machine.pids(box)) == 1


def test_a_reboot_before_any_traffic_moved_goes_back_and_removes_the_unit(box: Box):
    one_instance(box)
    eject(box, "--no-wait")
    box.sh("relctl pause 2>&1")
    machine.until("the pause", lambda: "paused" in str(machine.status(box)["rollout"]["waiting"]))
    assert box.sh("systemctl is-enabled web").strip() == "enabled"
    box.reboot()
    assert machine.until("the end", lambda: _ended(box), 60)["outcome"] == "failed"
    assert machine.until("the app", lambda: machine.release(box) == "v1")
    assert len(machine.pids(box)) == 1
    assert left_of_a_unit(box) == ""


def test_a_reboot_after_the_commit_starts_the_unit(box: Box):
    one_instance(box, ONE.replace('drain = "1s"', 'drain = "60s"'))
    eject(box, "--no-wait")
    machine.until("the drain", lambda: machine.phase(box) == "draining")
    box.reboot()
    assert machine.until("the app", lambda: machine.release(box) == "v1")
    assert box.sh("systemctl is-active web").strip() == "active"


def test_the_way_in_again_is_a_switch_and_says_what_is_left_of_the_unit(box: Box):
    one_instance(box)
    assert eject(box)[0] == 0
    assert "already runs without reld" in eject(box)[1]
    with machine.Load(box) as load:
        said = box.sh("relctl switch v1 2>&1", timeout=200)
    assert load.failed == []
    assert "systemctl disable --now web.service" in said
    assert len(machine.pids(box)) == 1


@pytest.mark.parametrize("word", ["x\ny", "x\ry", "\x1b[31m", "\x00"])
def test_what_a_unit_file_cannot_say_is_refused(word: str):
    with pytest.raises(Exception, match="cannot write a unit"):
        command_line("/bin/true", (word,))


def _armed(box: Box) -> None:
    """From now on reld dies where the file says."""
    drop_in = "[Service]\nEnvironment=RELD_FAILPOINT=@/run/relctl/web/failpoint\n"
    box.write("/etc/systemd/system/reld@web.service.d/failpoint.conf", drop_in)
    box.sh("systemctl daemon-reload")
    one_instance(box)


def _restarts(box: Box) -> int:
    return int(box.sh("systemctl show --property=NRestarts --value reld@web"))


def _ended(box: Box) -> dict[str, object] | None:
    rows = json.loads(box.sh("relctl history --json"))["rollouts"]
    newest: dict[str, object] = rows[0]
    return newest if newest["outcome"] and newest["kind"] == "eject" else None
