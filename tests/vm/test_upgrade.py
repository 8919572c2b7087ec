"""Another version of the package, in the middle of a rollout and at rest: only reld is another one then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm import machine
from tests.vm.box import Box
from tests.vm.conftest import Installed

pytestmark = pytest.mark.timeout(400)

APT = "DEBIAN_FRONTEND=noninteractive apt-get -y"


@pytest.fixture(scope="module")
def running(installed: Installed, deb: Path, newer: Path) -> Iterator[Box]:
    """v1 is live; both packages lie in /srv."""
    with Box(installed.layers) as box:
        box.boot()
        machine.add_package(box, deb)
        machine.add_package(box, newer)
        box.sh("systemctl enable --quiet --now reld@web && relctl switch v1 2>&1")
        yield box


def test_an_upgrade_in_the_middle_of_a_rollout_loses_nothing(running: Box, newer: Path):
    before = machine.pids(running)
    with machine.Load(running) as load:
        watching = running.ssh_start("relctl switch v2 --step-time 4s")
        machine.until("traffic to move", lambda: machine.percent(running))
        both = _pids_of_both(running)
        old_reld = running.sh("systemctl show -P MainPID reld@web")
        upgraded = running.ssh(f"{APT} install /srv/{newer.name}")
        assert upgraded.returncode == 0, upgraded.stdout + upgraded.stderr
        assert running.sh("systemctl show -P MainPID reld@web") != old_reld
        assert machine.phase(running) in ("shifting", "baking")
        assert _pids_of_both(running) == both > before
        said, wrong = watching.communicate(timeout=90)
    assert load.failed == []
    assert load.answers["v2"] > 0
    assert watching.returncode == 0, said + wrong
    assert "rollout 2  done" in said + wrong
    assert machine.release(running) == "v2"
    assert machine.pids(running) == both - before
    assert machine.version(newer) in running.ssh("relctl version").stdout


def test_a_downgrade_in_the_middle_of_a_rollout_loses_nothing(running: Box, deb: Path, newer: Path):
    assert machine.version(newer) in running.sh("relctl version")
    with machine.Load(running) as load:
        running.ssh("relctl switch v3 --step-time 4s --no-wait")
        machine.until("traffic to move", lambda: machine.percent(running))
        both = _pids_of_both(running)
        said = running.ssh(f"{APT} install --allow-downgrades /srv/{deb.name}")
        assert said.returncode == 0, said.stdout + said.stderr
        assert _pids_of_both(running) == both
        ended = running.ssh("relctl watch 3")
    assert load.failed == []
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert machine.release(running) == "v3"
    assert machine.version(newer) not in running.sh("relctl version")


def test_no_call_is_refused_while_the_package_is_upgraded(running: Box, newer: Path):
    asking = running.start(
        "/bin/bash", "-c",
        "until [ -e /tmp/enough ]; do relctl status >/dev/null || echo refused; sleep 0.05; done",
    )  # fmt: skip
    running.sh(f"{APT} install /srv/{newer.name} 2>&1; sleep 1; touch /tmp/enough")
    said, wrong = asking.communicate(timeout=60)
    assert said + wrong == ""


def test_an_upgrade_leaves_a_reld_alone_that_a_person_stopped(running: Box, deb: Path, newer: Path):
    before = {int(pid) for pid in running.sh("pgrep -u web").split()}
    running.sh("systemctl stop reld@web.socket reld@web")
    running.sh(f"{APT} install --allow-downgrades /srv/{deb.name} 2>&1")
    assert running.run("systemctl", "is-active", "reld@web").stdout.strip() == "inactive"
    assert {int(pid) for pid in running.sh("pgrep -u web").split()} == before
    assert machine.release(running) == "v3"
    running.sh("systemctl start reld@web")
    assert machine.until("reld", lambda: machine.pids(running)) == before


def _pids_of_both(box: Box) -> set[int]:
    slots = machine.status(box)["slots"].values()
    return {one["pid"] for slot in slots for one in slot["instances"]}
