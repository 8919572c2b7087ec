"""The playbooks over three VMs with real sshds, behind one HAProxy, under load: packaging/ansible."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm import machine
from tests.vm.conftest import Installed
from tests.vm.fleet import NAMES, Fleet, reasons, table

pytestmark = pytest.mark.timeout(300)

HAPROXY = ("-e", "relctl_balancer=haproxy")


@pytest.fixture(scope="module")
def fleet(installed: Installed) -> Iterator[Fleet]:
    with Fleet(installed) as three:
        yield three


@pytest.fixture(autouse=True)
def whole(fleet: Fleet) -> None:
    """Each test begins with one release on all three, all of them in the balancer."""
    if len(set(fleet.live())) > 1:  # what an earlier test has left
        fleet.play("release", "-e", f"release={fleet.new_release()}")
    assert len(set(fleet.live())) == 1
    machine.until("the balancer to find them well", lambda: set(fleet.states()) == {"UP"})


def test_a_release_goes_over_all_three_and_no_request_is_lost(fleet: Fleet):
    before, release = fleet.live()[0], fleet.new_release()
    looked = fleet.play("release", "-e", f"release={release}", "--check")
    assert looked.code == 0, looked
    assert {row[1] for row in table(looked).values()} == {"would switch"}
    assert fleet.live() == [before] * 3
    again = fleet.tried_again
    with fleet.under_load() as load:
        played = fleet.play("release", "-e", f"release={release} pause=1")
    assert played.code == 0, played
    assert played.said.count("Pausing for 1 seconds") == 2
    print(load.said)
    assert load.failed == []
    assert fleet.tried_again == again
    assert set(load.answers) == {before, release}
    for vm in NAMES:
        assert table(played)[vm][:3] == [release, "done", "0"]
        assert played.recap[vm]["changed"] == 1
    once_more = fleet.play("release", "-e", f"release={release}")
    assert once_more.code == 0, once_more
    assert {row[1] for row in table(once_more).values()} == {"unchanged"}
    assert {counts["changed"] for counts in once_more.recap.values()} == {0}


def test_what_is_bad_on_the_second_vm_goes_back_there_and_never_comes_to_the_third(fleet: Fleet):
    before, release = fleet.live()[0], fleet.new_release(bad="vm2")
    rollouts, again = fleet.rollouts(), fleet.tried_again
    with fleet.under_load() as load:
        played = fleet.play("release", "-e", f"release={release}")
    assert played.code == 2, played
    assert fleet.live() == [release, before, before]
    assert [now - then for now, then in zip(fleet.rollouts(), rollouts, strict=True)] == [1, 1, 0]
    assert [table(played)[vm][:2] for vm in NAMES] == [
        [release, "done"],
        [before, "rolled back"],
        [before, "not begun"],
    ]
    assert set(reasons(played)) == {"vm2"}
    assert f"{release} failed" in reasons(played)["vm2"]
    assert f"ansible-playbook relctl.relctl.rollback -e bad={release}" in played.said
    # What the bad release itself answered is all that any client may have met.
    assert set(load.failed) <= {"500"}
    looked = fleet.play("rollback", "-e", f"bad={release}", "--check")
    assert looked.code == 0, looked
    assert [table(looked)[vm][1] for vm in NAMES] == ["would go back", "unchanged", "unchanged"]
    assert fleet.live() == [release, before, before]
    with fleet.under_load() as load:
        back = fleet.play("rollback", "-e", f"bad={release}")
    assert back.code == 0, back
    assert fleet.live() == [before] * 3
    assert [table(back)[vm][1] for vm in NAMES] == ["done", "unchanged", "unchanged"]
    assert load.failed == []
    assert fleet.tried_again == again


def test_a_play_that_was_killed_is_run_again_and_finishes_the_job(fleet: Fleet):
    release, rollouts, again = fleet.new_release(), fleet.rollouts(), fleet.tried_again
    fleet.vms["vm2"].sh("sed -i 's/^bake.*/bake = \"20s\"/' /etc/relctl/web.toml")
    with fleet.under_load() as load:
        first = fleet.ansible.start(
            "ansible-playbook", "relctl.relctl.release", "-e", f"release={release}"
        )
        machine.until("the second to begin", lambda: machine.percent(fleet.vms["vm2"]), 60)
        first.kill()
        played = fleet.play("release", "-e", f"release={release}")
    fleet.vms["vm2"].sh("sed -i 's/^bake.*/bake = \"1s\"/' /etc/relctl/web.toml")
    assert first.wait().code != 0
    assert played.code == 0, played
    assert [table(played)[vm][:2] for vm in NAMES] == [
        [release, "unchanged"],
        [release, "done"],  # joined
        [release, "done"],
    ]
    assert [now - then for now, then in zip(fleet.rollouts(), rollouts, strict=True)] == [1] * 3
    assert load.failed == []
    assert fleet.tried_again == again


def test_all_is_known_before_the_first_one_is_touched(fleet: Fleet):
    release, rollouts = fleet.new_release(missing="vm3"), fleet.rollouts()
    played = fleet.play("release", "-e", f"release={release}")
    assert played.code == 2, played
    assert set(reasons(played)) == {"vm3"}
    assert release in reasons(played)["vm3"]
    assert [table(played)[vm][1] for vm in NAMES] == ["not begun", "not begun", "refused"]
    release = fleet.new_release()
    fleet.vms["vm2"].network.cut()
    try:
        played = fleet.play("release", "-e", f"release={release}")
    finally:
        fleet.vms["vm2"].network.mend()
    assert played.code == 2, played
    assert "cannot reach vm2" in reasons(played)["vm2"]
    assert "--limit" in reasons(played)["vm2"]
    assert [table(played)[vm][1] for vm in NAMES] == ["not begun", "unreachable", "not begun"]
    assert fleet.rollouts() == rollouts


def test_a_vm_that_vanishes_in_the_middle_stops_the_play_and_finishes_by_itself(fleet: Fleet):
    before, release = fleet.live()[0], fleet.new_release()
    first = fleet.ansible.start(
        "ansible-playbook", "relctl.relctl.release", "-e", f"release={release} bake=5s"
    )
    machine.until("the second to begin", lambda: machine.percent(fleet.vms["vm2"]), 60)
    fleet.vms["vm2"].network.cut()
    try:
        played = first.wait()
    finally:
        fleet.vms["vm2"].network.mend()
    assert played.code == 2, played
    assert "lost sight of vm2" in reasons(played)["vm2"]
    assert [table(played)[vm][1] for vm in NAMES] == ["done", "lost sight", "not begun"]
    machine.until("vm2 to finish", lambda: fleet.live() == [release, release, before])
    # In the middle of it, all over the place: away from it.
    fleet.vms["vm3"].sh(f"relctl switch {release} --bake 1m --no-wait 2>&1")
    machine.until("the third to have it", lambda: machine.percent(fleet.vms["vm3"]), 60)
    back = fleet.play("rollback", "-e", f"bad={release}")
    assert back.code == 0, back
    assert [table(back)[vm][1] for vm in NAMES] == ["done", "done", "rolled back"]
    assert fleet.live() == [before] * 3


def test_one_after_the_other_is_out_of_the_balancer_and_no_request_is_lost(fleet: Fleet):
    release, again = fleet.new_release(), fleet.tried_again
    with fleet.under_load() as load:
        running = fleet.ansible.start(
            "ansible-playbook", "relctl.relctl.release", "-e", f"release={release}", *HAPROXY
        )
        outs = set()
        while running.goes_on:
            outs.add(tuple(name for name in NAMES if fleet.said(name)["status"] == "DRAIN"))
        played = running.wait()
    assert played.code == 0, played
    assert outs == {(), ("vm1",), ("vm2",), ("vm3",)}
    assert fleet.live() == [release] * 3
    assert set(fleet.states()) == {"UP"}
    assert load.failed == []
    assert fleet.tried_again == again


def test_what_fails_out_of_the_balancer_comes_in_with_what_it_had(fleet: Fleet):
    before, release = fleet.live()[0], fleet.new_release()
    fleet.vms["vm1"].sh(f"echo 'raise SystemExit(3)' > /srv/web/releases/{release}/serve.py")
    with fleet.under_load() as load:
        played = fleet.play("release", "-e", f"release={release}", *HAPROXY)
    assert played.code == 2, played
    assert [table(played)[vm][1] for vm in NAMES] == ["failed", "not begun", "not begun"]
    assert fleet.live() == [before] * 3
    assert set(fleet.states()) == {"UP"}
    assert load.failed == []


def test_a_vm_that_a_killed_play_left_out_comes_in_with_the_next_one(fleet: Fleet):
    release = fleet.new_release()
    with fleet.under_load() as load:
        first = fleet.ansible.start(
            "ansible-playbook", "relctl.relctl.release", "-e", f"release={release}", *HAPROXY
        )
        machine.until("the first to begin", lambda: machine.phase(fleet.vms["vm1"]), 60)
        first.kill()
        first.wait()
        assert fleet.states() == ["DRAIN", "UP", "UP"]
        machine.until("vm1 to finish", lambda: fleet.live()[0] == release)
        played = fleet.play("release", "-e", f"release={release}", *HAPROXY)
    assert played.code == 0, played
    assert fleet.live() == [release] * 3
    assert set(fleet.states()) == {"UP"}
    assert load.failed == []


def test_the_last_ones_stay_in_and_what_a_person_took_out_stays_out(fleet: Fleet):
    before, release = fleet.live()[0], fleet.new_release()
    for name in ("vm1", "vm2"):
        fleet.balancer(f"set server web/{name} state maint")
    try:
        with fleet.under_load() as load:
            played = fleet.play("release", "-e", f"release={release}", *HAPROXY)
        assert played.code == 0, played
        assert set(load.answers) == {before, release}
        assert load.failed == []
        assert [state.split()[0] for state in fleet.states()] == ["MAINT", "MAINT", "UP"]
        assert fleet.live() == [release] * 3
    finally:
        for name in ("vm1", "vm2"):
            fleet.balancer(f"set server web/{name} state ready")


def test_the_balancer_sees_of_a_vm_what_a_user_would_see(fleet: Fleet):
    vm = fleet.vms["vm2"]
    vm.sh("relctl stop 2>&1")
    machine.until("it to be out", lambda: fleet.states() == ["UP", "DOWN", "UP"])
    assert fleet.said("vm2")["check_code"] == "503"
    vm.sh("relctl start 2>&1")
    machine.until("it to be in", lambda: set(fleet.states()) == {"UP"})
    vm.sh("relctl maintenance on 2>&1")
    try:
        fails = fleet.said("vm2")["chkfail"]
        passes = len(vm.sh("grep -c /ready /var/log/nginx/access.log"))
        machine.until(
            "checks meanwhile",
            lambda: len(vm.sh("grep -c /ready /var/log/nginx/access.log")) >= passes,
        )
        assert fleet.said("vm2")["chkfail"] == fails
        assert set(fleet.states()) == {"UP"}
    finally:
        vm.sh("relctl maintenance off 2>&1")


def test_a_rehearsal_on_every_vm_moves_nobody(fleet: Fleet):
    before = fleet.live()
    with fleet.under_load() as load:
        played = fleet.play("rehearse", "-e", "time=2s")
    assert played.code == 0, played
    assert {row[1] for row in table(played).values()} == {"rehearsed"}
    assert fleet.live() == before
    assert load.failed == []
