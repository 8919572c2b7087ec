"""The gate under its unit: whose it is, what others may do with its files, and that there is always one."""

from __future__ import annotations

import pytest

from tests.vm import machine
from tests.vm.box import Box

pytestmark = pytest.mark.timeout(400)

UNIT = "relctl-gate@web"
RUN, STATE = "/run/relctl/web", "/var/lib/relctl/web"
PID = f"{RUN}/gate/gate.pid"
KILL = f"systemctl kill --signal=KILL --kill-whom=main {UNIT}"
# Owner, group and mode of what the gate and reld share; `find -printf '%p %u %g %m'`.
OWNERS = {
    RUN: "root root 755",
    f"{RUN}/gate": "relctl-gate relctl-gate 750",
    f"{RUN}/lanes": "root root 755",
    STATE: "root root 711",
    f"{STATE}/gate": "root relctl-gate 750",
    f"{STATE}/gate/gate.conf": "root relctl-gate 640",
    f"{STATE}/state.db": "root root 600",
    f"{STATE}/reld.lock": "root root 600",
    f"{RUN}/reld.lock": "root root 600",
}


def masters(box: Box) -> list[int]:
    said = box.run("pgrep", "-f", "^nginx: master process.*relctl/web").stdout
    return [int(pid) for pid in said.split()]


def main_pid(box: Box) -> int:
    return int(box.sh(f"systemctl show -P MainPID {UNIT}"))


def settled(box: Box, was: int) -> int:
    """The one master that there is now, as systemd and its pid file say."""

    def same() -> int:
        (found,) = masters(box)
        assert box.sh(f"systemctl is-active {UNIT}").strip() == "active"
        assert found == main_pid(box) == int(box.sh(f"cat {PID}"))
        return found if found != was else 0

    return int(machine.until("another gate", same, 40))


def test_the_first_switch_starts_the_gate_as_its_own_user_under_its_unit(serving: Box):
    gate = settled(serving, 0)
    said = serving.sh(f"ps -o user= -p {gate} --ppid {gate}").split()
    assert len(said) >= 3
    assert set(said) <= {"relctl-gate", "relctl-+"}
    status = serving.sh(
        f"grep -E '^(Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/{gate}/status"
    )
    values = dict(line.split() for line in status.splitlines())
    assert {values.pop("NoNewPrivs:"), values.pop("Seccomp:")} == {"1", "2"}
    assert {int(value, 16) for value in values.values()} == {0}
    assert "relctl.slice" in serving.sh(f"cat /proc/{gate}/cgroup")
    assert serving.sh(f"cat {RUN}/gate/error.log") == ""


def test_a_switch_reloads_the_gate_and_its_log_is_read(serving: Box):
    gate = settled(serving, 0)
    with machine.Load(serving) as load:
        said = serving.sh("relctl switch v2 2>&1")
    assert load.failed == []
    assert load.answers["v2"] > 0
    assert "green" in said
    assert "green 0, 0 errors" not in said  # the sensor saw its requests
    assert masters(serving) == [gate]


def test_files_have_the_owners_and_modes_that_they_should(serving: Box):
    serving.sh("relctl switch v2 --step-time 20s --no-wait")
    machine.until("traffic to move", lambda: machine.status(serving)["rollout"]["percent"])
    said = serving.sh(f"find {RUN} {STATE} -not -type l -printf '%p %u %g %m\\n'")
    found = {path: rest for path, _, rest in (line.partition(" ") for line in said.splitlines())}
    print(said)
    assert {path: found[path] for path in OWNERS} == OWNERS
    for path, rest in found.items():
        owner, _, mode = rest.split()
        inside = path.startswith(f"{RUN}/gate")
        assert (owner == "relctl-gate") is inside, (path, rest)
        if path.startswith(f"{STATE}/") and not path.startswith(f"{STATE}/logs"):
            assert int(mode, 8) & 0o007 == 0, (path, rest)
        assert int(mode, 8) & 0o002 == 0, (path, rest)


def test_another_user_reads_neither_log_nor_config_and_writes_nothing(serving: Box):
    serving.sh("relctl switch v2 --step-time 30s --no-wait")
    machine.until("traffic to move", lambda: machine.status(serving)["rollout"]["percent"])
    serving.sh("useradd --system mallory")
    for path in (f"{RUN}/gate/requests.log", f"{RUN}/gate/error.log", PID, f"{STATE}/gate/gate.conf",
                 f"{STATE}/state.db", f"{STATE}/state.db-wal", f"{RUN}/reld.lock"):  # fmt: skip
        tried = serving.run("/bin/cat", path, user="mallory")
        assert (tried.returncode, tried.stdout) == (1, ""), path
    lanes = f"{RUN}/lanes/2"
    for line in (
        f"echo x >> {RUN}/gate/requests.log",
        f"echo x >> {STATE}/gate/gate.conf",
        f"mv {RUN}/gate {RUN}/gone",
        f"touch {RUN}/thin",
        f"touch {lanes}/noshield",
        f"ln -sfn 100 {lanes}/current",
        f"mv -T {lanes}/100 {lanes}/current",
        f"rm {lanes}/current",
        "kill $(pgrep -f '^nginx: master process.*relctl/web')",
    ):
        assert serving.run("/bin/sh", "-c", line, user="mallory").returncode != 0, line
    # The gate's own user is confined to its directory: the lanes and the config are not its either.
    for line in (f"ln -sfn 100 {lanes}/current", f"touch {lanes}/noshield", f"mv {RUN}/lanes /tmp",
                 f"rm {RUN}/control.sock", f"echo x >> {STATE}/gate/gate.conf",
                 f"rm {STATE}/gate/gate.conf", f"touch {STATE}/x"):  # fmt: skip
        assert serving.run("/bin/sh", "-c", line, user="relctl-gate").returncode != 0, line
    assert machine.status(serving)["rollout"]["percent"] == 20


def test_links_that_the_gates_user_makes_lead_root_nowhere(serving: Box):
    serving.sh(
        "mkdir -m 700 /srv/closed; echo secret > /srv/closed/secret; chmod 600 /srv/closed/secret"
    )
    before = serving.sh(
        "stat -c '%n %U %a %s %Y' /srv/closed/secret /etc/passwd; ls /srv/closed /etc"
    )
    serving.sh(
        f"cd {RUN}/gate; ln -s /srv/closed/secret requests.log.old; ln -sf /etc/passwd error.log; "
        "ln -sf /srv/closed/made unclean; rm gate.pid; ln -s /etc/made gate.pid",
        user="relctl-gate",
    )
    # nginx -t cannot write its log: refused, which harms nobody.
    assert "cannot load the gate config" in serving.sh("relctl switch v2 2>&1 || true")
    serving.sh(f"{KILL}; sleep 3; systemctl restart reld@web; sleep 3")
    after = serving.sh(
        "stat -c '%n %U %a %s %Y' /srv/closed/secret /etc/passwd; ls /srv/closed /etc"
    )
    assert after == before
    serving.sh(f"rm -f {RUN}/gate/error.log {RUN}/gate/gate.pid", user="relctl-gate")
    machine.until("v1 to serve", lambda: machine.release(serving) == "v1")
    assert "done" in serving.sh("sleep 3; relctl switch v2 2>&1")


def test_a_killed_master_is_replaced_under_its_unit_without_a_lost_request(serving: Box):
    gate = settled(serving, 0)
    with machine.Load(serving) as load:
        for _ in range(3):
            serving.sh(KILL)
            gate = settled(serving, gate)
    assert load.failed == []
    assert serving.sh(f"systemctl show -P NFileDescriptorStore {UNIT}").strip() == "0"
    # The orphans left when the new master was there.
    machine.until(
        "only its own workers",
        lambda: serving.sh("pgrep -u relctl-gate | wc -l").strip() == "3",
    )
    assert "v2" in serving.sh("relctl switch v2 2>&1")


def test_a_killed_master_is_replaced_without_reld_too(serving: Box):
    gate = settled(serving, 0)
    serving.sh("systemctl stop reld@web.socket reld@web")
    with machine.Load(serving) as load:
        serving.sh(KILL)
        gate = settled(serving, gate)
    assert load.failed == []
    serving.sh("systemctl start reld@web")
    assert machine.status(serving)["release"] == "v1"
    assert masters(serving) == [gate]


def test_a_gate_of_which_nothing_is_left_is_back_within_seconds(serving: Box):
    gate = settled(serving, 0)
    serving.sh("pkill -KILL -u relctl-gate")
    settled(serving, gate)
    assert machine.release(serving) == "v1"


def test_a_gate_that_somebody_stops_is_started_again_by_reld(serving: Box):
    gate = settled(serving, 0)
    serving.sh(f"systemctl stop {UNIT}")
    settled(serving, gate)
    assert machine.release(serving) == "v1"


def test_starting_it_twice_is_one_gate(serving: Box):
    gate = settled(serving, 0)
    serving.sh(f"systemctl start {UNIT} & systemctl start {UNIT}; wait; systemctl start {UNIT}")
    assert masters(serving) == [gate]
    serving.sh(f"systemctl stop reld@web.socket reld@web {UNIT}")
    assert masters(serving) == []
    serving.sh(f"systemctl start reld@web & systemctl start {UNIT} & systemctl start {UNIT}; wait")
    settled(serving, gate)


def test_an_upgraded_nginx_is_put_into_service_and_systemd_knows_its_new_master(serving: Box):
    gate = settled(serving, 0)
    with machine.Load(serving) as load:
        serving.sh("cp /usr/sbin/nginx /usr/sbin/n; mv /usr/sbin/n /usr/sbin/nginx")
        settled(serving, gate)
    assert load.failed == []


def test_after_a_reboot_it_serves_the_live_release_as_its_own_user(serving: Box):
    serving.sh("relctl switch v2 2>&1")
    serving.reboot()
    machine.until("v2 to serve", lambda: machine.release(serving) == "v2")
    gate = settled(serving, 0)
    assert serving.sh(f"stat -c %U /proc/{gate}").strip() == "relctl-gate"
    assert serving.sh(f"stat -c '%U %a' {RUN} {RUN}/gate").split() == [
        "root", "755", "relctl-gate", "750",
    ]  # fmt: skip
    assert serving.sh("systemctl --failed --no-legend") == ""


def test_why_it_does_not_start_is_told_in_nginxs_own_words(serving: Box):
    serving.sh(f"systemctl stop reld@web.socket reld@web {UNIT}")
    listen = serving.start("/usr/bin/python3", "-m", "http.server", "-b", "127.0.0.1", "8080")
    machine.until("the port to be taken", lambda: serving.sh("ss -Hltn sport = :8080"))
    serving.run("systemctl", "start", "reld@web")
    machine.until(
        "reld to say who has it",
        lambda: (
            "is taken by pid" in serving.sh("journalctl -u reld@web -b --no-pager")
            or "is taken by pid" in serving.sh("relctl status")
        ),
    )
    serving.sh("pkill -f [h]ttp.server")
    listen.wait(10)
    settled(serving, 0)


def test_its_exposure_is_at_most_2(box: Box):
    said = box.sh(f"systemd-analyze security --no-pager {UNIT}.service | tail -2")
    assert float(said.partition(f"{UNIT}.service: ")[2].split()[0]) <= 2.0
