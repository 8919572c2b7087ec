"""The machine goes down and comes up, at rest and in every part of a rollout: one release serves again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm import machine
from tests.vm.box import Box
from tests.vm.conftest import Installed

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def running(installed: Installed) -> Iterator[Box]:
    """Some release is live with two instances; the tests go on from each other's."""
    with Box(installed.layers) as box:
        box.boot()
        box.sh("systemctl enable --quiet --now reld@web && relctl switch v1 2>&1")
        yield box


def test_reld_in_its_sandbox_sees_that_it_is_another_boot(running: Box):
    asked = (
        "nsenter -m -t $(systemctl show -P MainPID reld@web) cat /proc/sys/kernel/random/boot_id"
    )
    before = running.sh(asked)
    running.reboot()
    assert running.sh(asked) != before
    assert running.sh(asked) == running.sh("cat /proc/sys/kernel/random/boot_id")
    _assert_only(running, "v1")


def test_the_live_release_is_back_in_its_slot_with_both_instances(running: Box):
    running.sh("relctl switch v2 --now --bake 0s 2>&1")
    before = machine.status(running)
    seconds = running.reboot()
    _assert_only(running, "v2")
    assert machine.status(running)["live"] == before["live"]
    assert running.sh("systemctl --failed --no-legend") == ""
    print(f"reboot: {seconds:.1f} s")


@pytest.mark.parametrize("phase", ["shifting", "baking"])
def test_what_was_not_committed_goes_back(running: Box, phase: str):
    live = machine.status(running)["release"]
    number = _begin(running, "v3", phase)
    running.reboot()
    machine.until("the end", lambda: machine.status(running)["rollout"] is None, 60)
    _assert_only(running, live)
    assert "rolled back" in running.sh(f"relctl show {number}")
    assert "reboot" in running.sh(f"relctl show {number}")


def test_what_was_committed_stays(running: Box):
    assert machine.status(running)["release"] == "v2"
    number = _begin(running, "v3", "draining")
    running.reboot()
    machine.until("the end", lambda: machine.status(running)["rollout"] is None, 60)
    _assert_only(running, "v3")
    assert "done" in running.sh(f"relctl show {number}")


def test_a_power_cut_in_the_middle_of_a_rollout_ends_with_one_release(running: Box):
    live = machine.status(running)["release"]
    _begin(running, "v1", "shifting")
    running.pull_the_plug()
    running.boot()
    machine.until("the end", lambda: machine.status(running)["rollout"] is None, 60)
    _assert_only(running, live)


def test_the_first_switch_after_all_that_loses_nothing(running: Box):
    with machine.Load(running) as load:
        running.sh("relctl switch v1 2>&1")
    assert load.failed == []
    _assert_only(running, "v1")


def _begin(box: Box, release: str, phase: str) -> int:
    """A rollout that stays in `phase` for a minute; its number."""
    long = {
        "shifting": "--step-time 60s",
        "baking": "--now --bake 60s",
        "draining": "--now --bake 0s --drain 60s",
    }
    said = box.sh(f"relctl switch {release} {long[phase]} --no-wait")
    machine.until(phase, lambda: machine.phase(box) == phase)
    if phase == "shifting":
        machine.until("traffic to move", lambda: machine.percent(box))
    return int(said)


def _assert_only(box: Box, release: str) -> None:
    """It serves, from its slot, with two instances; no lane and no process says anything else."""
    machine.until(f"{release} to serve", lambda: machine.release(box) == release)
    machine.until("both instances", lambda: len(machine.pids(box)) == 2)
    now = machine.status(box)
    assert now["release"] == release
    assert {slot["release"] for slot in now["slots"].values() if slot["instances"]} == {release}
    assert {int(pid) for pid in box.sh("pgrep -u web").split()} == machine.pids(box)
    assert machine.shares(box) <= {"000"}
    assert {machine.release(box) for _ in range(20)} == {release}
