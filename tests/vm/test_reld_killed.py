"""kill -9 of reld at each of its dealings with systemd, in the middle of switches, under load.

What an instance is a unit for: the next reld takes it over without a restart, and whatever it has missed
is known. (All other points, with instances that are children: tests/crash.)
"""

from __future__ import annotations

import pytest

from tests.vm import machine
from tests.vm.box import Box

POINTS = [
    f"{when}:{what}"
    for what in ("spawn", "release", "prove-ready", "reload", "stop", "kill", "await-exit")
    for when in ("before", "after")
    # It begins when the instance does, and is over when the old slot's instances are.
] + ["before:persist:4", "after:persist:4"]
DROP_IN = "/run/systemd/system/reld@web.service.d/failpoint.conf"
QUICK = "--steps 50,100 --step-time 500ms --bake 500ms"


@pytest.fixture(scope="module")
def armed(installed):
    """The app is live; reld dies at the point that a file names."""
    with Box(installed.layers) as box:
        box.boot()
        box.write(
            DROP_IN, "[Service]\nEnvironment=RELD_FAILPOINT=@/run/failpoint\nRestartSec=200ms\n"
        )
        box.sh("systemctl daemon-reload")
        box.sh("systemctl enable --quiet --now reld@web && relctl switch v1 2>&1")
        yield box


def deaths(box: Box) -> int:
    return int(box.sh("systemctl show -P NRestarts reld@web"))


@pytest.mark.parametrize("point", POINTS)
def test_a_switch_ends_well_wherever_reld_is_killed(armed: Box, point: str):
    before, live = deaths(armed), machine.pids(armed)
    was = machine.status(armed)["release"]
    wanted = "v2" if was != "v2" else "v3"
    with machine.Load(armed) as load:
        armed.write("/run/failpoint", point)
        armed.sh(f"relctl switch {wanted} --no-wait {QUICK} || true")
        machine.until("reld to die", lambda: deaths(armed) > before)
        armed.sh("rm /run/failpoint")
        machine.until("the end", lambda: machine.status(armed)["rollout"] is None)
    assert load.failed == []
    now = machine.status(armed)
    assert now["degraded"] is None
    assert now["release"] in {was, wanted}
    if now["release"] == was:
        assert machine.pids(armed) == live, "the live slot was restarted"
    assert machine.release(armed) == now["release"]
    assert len(machine.pids(armed)) == 2
    # Nothing is left behind: as many units as instances.
    units = armed.sh("systemctl list-units --all --plain --no-legend 'relctl-web-*.service'")
    assert len(units.splitlines()) == 2, units
