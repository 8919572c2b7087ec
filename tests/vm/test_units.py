"""reld, its gate and its app under systemd: restarts, kills, reboots, and what the units say of themselves."""

from __future__ import annotations

import time

import pytest

from tests.vm import machine
from tests.vm.box import Box

pytestmark = pytest.mark.timeout(400)

UNITS = "reld@web.service reld@web.socket relctl-gate@web.service relctl.slice"


def test_a_switch_under_load_loses_nothing(serving: Box):
    with machine.Load(serving) as load:
        said = serving.sh("relctl switch v2 2>&1")
    assert load.failed == []
    assert load.answers["v1"] > 0
    assert load.answers["v2"] > 0
    assert "rollout 2  done" in said
    assert machine.release(serving) == "v2"


def test_restarts_of_reld_are_none_of_the_apps_business(serving: Box):
    before = machine.pids(serving)
    with machine.Load(serving) as load:
        for _ in range(3):
            serving.sh("systemctl restart reld@web")
        assert machine.pids(serving) == before
    assert load.failed == []


def test_no_call_is_refused_while_reld_restarts_ten_times(serving: Box):
    before = serving.sh("stat -c %i /run/relctl/web/control.sock")
    asking = serving.start(
        "/bin/bash", "-c",
        "for i in $(seq 100); do relctl status >/dev/null || echo refused; sleep 0.1; done",
    )  # fmt: skip
    for _ in range(10):
        serving.sh("systemctl restart reld@web")
    said, wrong = asking.communicate(timeout=120)
    assert said + wrong == ""
    assert serving.sh("stat -c %i /run/relctl/web/control.sock") == before


def test_a_call_waits_for_a_reld_that_was_killed(serving: Box):
    serving.sh("systemctl kill --signal=KILL --kill-whom=main reld@web; sleep 0.2")
    assert "live     v1" in serving.sh("relctl status")


def test_a_killed_reld_comes_back_and_finishes_its_rollout(serving: Box):
    before = machine.pids(serving)
    with machine.Load(serving) as load:
        serving.sh("relctl switch v2 --no-wait")
        machine.until("traffic to move", lambda: machine.status(serving)["rollout"]["percent"])
        serving.sh("systemctl kill --signal=KILL --kill-whom=main reld@web")
        assert before <= {int(pid) for pid in serving.sh("pgrep -u web").split()}
        machine.until("v2 to be live", lambda: machine.status(serving)["release"] == "v2")
        machine.until("the end", lambda: machine.status(serving)["rollout"] is None)
    assert load.failed == []
    assert "done" in serving.sh("relctl show 2")


def test_systemd_brings_reld_back_however_often_it_is_killed(serving: Box):
    before = machine.pids(serving)
    for _ in range(6):
        serving.sh("systemctl kill --signal=KILL --kill-whom=main reld@web; sleep 0.2")
        serving.sh("relctl status")
    assert machine.pids(serving) == before


def test_the_first_switch_after_a_reboot_goes_through_the_gate_that_systemd_started(serving: Box):
    serving.reboot()
    machine.until("v1 to serve", lambda: machine.release(serving) == "v1")
    gate = serving.sh("systemctl show -P MainPID relctl-gate@web")
    with machine.Load(serving) as load:
        serving.sh("relctl switch v2 2>&1")
    assert load.failed == []
    assert machine.release(serving) == "v2"
    assert serving.sh("systemctl show -P MainPID relctl-gate@web") == gate


def test_the_gate_serves_after_a_boot_without_reld(serving: Box):
    serving.sh("systemctl disable --quiet reld@web; systemctl mask --quiet reld@web")
    # What its Wants= would have started, had reld's unit not been broken.
    serving.sh("systemctl add-wants --quiet multi-user.target relctl-gate@web")
    serving.reboot()
    assert serving.sh("systemctl is-active relctl-gate@web").strip() == "active"
    assert machine.release(serving) == "502"  # there is no app, but there is an answer


def test_the_gate_serves_while_reld_cannot_start(serving: Box):
    serving.sh("echo nonsense >> /etc/relctl/web.toml")
    serving.reboot()
    assert serving.sh("systemctl is-active relctl-gate@web").strip() == "active"
    assert machine.release(serving) == "502"
    serving.sh("sed -i '/^nonsense/d' /etc/relctl/web.toml")
    machine.until("reld to come by itself", lambda: machine.release(serving) == "v1")


def test_a_killed_gate_is_started_again_without_a_person(serving: Box):
    serving.reboot()
    machine.until("v1 to serve", lambda: machine.release(serving) == "v1")
    serving.sh("systemctl kill --signal=KILL --kill-whom=main relctl-gate@web")
    machine.until(
        "another gate",
        lambda: serving.run("pkill", "-0", "-F", "/run/relctl/web/gate/gate.pid").returncode == 0,
    )
    assert machine.release(serving) == "v1"
    serving.sh("sleep 7")  # systemd's own try comes after 5 s, and finds that there is a gate
    assert machine.release(serving) == "v1"
    assert serving.sh("pgrep -fc '^nginx: master process.*relctl/web'").strip() == "1"


def test_a_shutdown_stops_the_site_then_the_gate_then_the_app(serving: Box):
    serving.reboot()
    machine.until("v1 to serve", lambda: machine.release(serving) == "v1")
    serving.sh("mkdir -p /var/log/journal; journalctl --flush")
    with machine.Load(serving):
        pass
    serving.reboot()
    journal = serving.sh("journalctl -b -1 -o short-monotonic --no-pager")
    site = journal.rindex("Stopped nginx.service")
    gate = journal.rindex("Stopped relctl-gate@web.service")
    assert site < gate
    app = [journal.rindex(line) for line in _lines(journal, "Stopped relctl-web-r1-")]
    assert len(app) == 2
    assert gate < min(app)
    assert "Traceback" not in serving.sh("relctl logs")


def test_the_verdict_is_in_the_journal(serving: Box):
    serving.sh("relctl switch v2 2>&1")
    said = serving.sh("journalctl -u reld@web --no-pager")
    assert "v2 has 100 % of the traffic" in said
    assert "committing to v2" in said
    serving.sh("touch /srv/web/releases/v3/broken")
    with machine.Load(serving):
        bad = serving.run("relctl", "switch", "v3", "--step-time", "20s", timeout=90)
    assert bad.returncode == 3, bad.stdout + bad.stderr
    said = serving.sh("journalctl -u reld@web --no-pager")
    assert "worse" in said or "going back" in said


def test_a_stopped_reld_and_its_socket_stay_away_and_the_app_serves_on(serving: Box):
    serving.sh("systemctl stop reld@web.socket reld@web")
    assert serving.run("relctl", "status").returncode == 5
    assert serving.run("systemctl", "is-active", "reld@web").stdout.strip() == "inactive"
    assert machine.release(serving) == "v1"


def test_a_reld_that_cannot_read_its_config_says_so_itself_within_seconds(serving: Box):
    config = serving.sh("cat /etc/relctl/web.toml")
    serving.write("/etc/relctl/web.toml", config.replace("[app]", "[app]\ncomand = 1", 1))
    assert serving.run("systemctl", "restart", "reld@web").returncode != 0
    for command in ("status", "switch v2"):
        began = time.monotonic()
        ended = serving.run("relctl", *command.split(), timeout=60)
        assert time.monotonic() - began < 20  # not the 30 s that an answer may take
        assert ended.returncode == 5, ended.stdout + ended.stderr
        line = config[: config.index("[app]")].count("\n") + 2
        assert f"/etc/relctl/web.toml:{line}: " in ended.stderr
        assert "comand" in ended.stderr
    assert machine.release(serving) == "v1"
    serving.write("/etc/relctl/web.toml", config)
    assert machine.until("reld", lambda: serving.run("relctl", "status").returncode == 0)
    assert machine.status(serving)["rollout"] is None


def test_systemd_has_nothing_against_the_units(box: Box):
    said = box.run("systemd-analyze", "verify", *UNITS.split())
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_the_security_scores_are_what_the_readme_says(box: Box):
    assert _exposure(box, "relctl-gate@web.service") <= 2.5
    assert _exposure(box, "reld@web.service") <= 3.5


def test_in_its_sandbox_reld_does_all_it_has_to(box: Box):
    hook = '[hooks]\nbefore_start = ["/bin/sh", "-c", "id -un > /tmp/hook; touch /srv/hooked"]\n'
    box.sh("chown web /srv")
    box.write("/etc/relctl/web.toml", box.sh("cat /etc/relctl/web.toml") + hook)
    box.sh("systemctl enable --quiet --now reld@web && relctl switch v1 2>&1")
    assert box.sh("cat /tmp/hook; stat -c %U /srv/hooked").split() == ["web", "web"]
    before = machine.pids(box)
    box.sh("systemctl restart reld@web")
    assert machine.pids(box) == before
    with machine.Load(box) as load:
        box.sh("relctl switch v2 2>&1")
        box.sh("relctl rollback 2>&1")
    assert load.failed == []
    denied = "journalctl -u reld@web --no-pager -p warning -b | grep -i 'permi\\|denied' || true"
    assert box.sh(denied) == ""


def test_instances_have_nothing_of_reld_s_sandbox(serving: Box):
    for pid in machine.pids(serving):
        told = serving.sh(f"grep -E 'NoNewPrivs|Seccomp:|CapBnd' /proc/{pid}/status").split()
        init = serving.sh("grep CapBnd /proc/1/status").split()
        assert told[told.index("NoNewPrivs:") + 1] == "0"
        assert told[told.index("CapBnd:") + 1] == init[1]


def test_an_app_may_have_a_sandbox_of_its_own(box: Box):
    place = "/etc/systemd/system/relctl-web-.service.d"
    box.sh(
        f"mkdir -p {place}; sed s/APP/web/ /usr/share/doc/relctl/examples/app-sandbox.conf"
        f" > {place}/sandbox.conf; systemctl daemon-reload"
    )
    box.sh("systemctl enable --quiet --now reld@web && relctl switch v1 2>&1")
    for pid in machine.pids(box):
        told = box.sh(f"grep -E 'NoNewPrivs|CapEff' /proc/{pid}/status").split()
        assert told[told.index("NoNewPrivs:") + 1] == "1"
        assert int(told[told.index("CapEff:") + 1], 16) == 0
        assert box.sh(f"stat -c %U /proc/{pid}").strip() == "web"
    assert machine.release(box) == "v1"


def _lines(text: str, part: str) -> list[str]:
    return [line for line in text.splitlines() if part in line]


def _exposure(box: Box, unit: str) -> float:
    said = box.sh(f"systemd-analyze security --no-pager {unit} | tail -2")
    return float(said.partition(f"{unit}: ")[2].split()[0])
