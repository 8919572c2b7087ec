"""kill -9 of an instance in the middle of a switch: only what it held may fail."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.load.load import Mix
from tests.rig import HELD, LoadInThread, Rig

MIX = Mix(8, 4, 0, 0, 0, 0, think=0.02, limit=50.0)
CLIENTS = 12


@pytest.mark.parametrize("share", [5, 95])
def test_the_live_instance_is_killed_and_only_what_it_held_fails(share: int) -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1(latency=0.02)
        rig.release("v2", latency=0.02)
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_share(5)
            if share == 95:
                assert rig.relctl("promote").code == 0
                rig.wait_share(95)
            load.wait_for(50)
            (victim,) = rig.pids("blue")
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            # It is nursed: back on its own port, and the rollout did not lose its place.
            rig.wait_status(
                lambda s: (
                    s["slots"]["blue"]["instances"][0]["pid"] not in (None, victim)
                    and s["slots"]["blue"]["instances"][0]["state"] == "ready"
                )
            )
            load.wait_for(50)
            running = rig.status()["rollout"]
            switch_ended = switch.poll()
            if running is not None and running["phase"] in ("shifting", "baking"):
                assert rig.relctl("abort").code == 0
            out, err = switch.communicate(timeout=30)
            summary = load.stop()
        assert (switch_ended, switch.returncode) == (None, 3), out + err
        assert len(summary.whole.failed) <= CLIENTS, summary.text()
        for failure in summary.whole.failed:
            assert failure.when - killed < 0.5, summary.text()
        assert rig.leftovers() == rig.pids()


def test_the_candidate_is_killed_and_its_switch_goes_back_by_itself() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_share(5)
            assert rig.relctl("promote").code == 0
            rig.wait_share(95)
            load.wait_for(50)
            killed = time.monotonic()
            os.kill(rig.pids("green")[0], signal.SIGKILL)
            out, err = switch.communicate(timeout=30)
            load.wait_for(20)
            summary = load.stop()
        assert switch.returncode == 3, out + err
        assert "killed by signal 9" in out
        for failure in summary.whole.failed:
            assert failure.when - killed < 0.5, summary.text()
        assert rig.receipt(2)["outcome"] == "rolled_back"
        assert rig.leftovers() == rig.pids("blue")


def test_one_of_two_live_instances_is_killed_and_the_other_one_serves() -> None:
    with Rig(instances=2) as rig:
        rig.live_v1()
        with LoadInThread(rig.listen, None, MIX) as load:
            load.wait_for(20)
            victim = rig.pids()[0]
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            load.wait_for(50)
            rig.wait_status(lambda s: s["degraded"] is None and victim not in rig.pids())
            summary = load.stop()
        for failure in summary.whole.failed:
            assert failure.when - killed < 0.5, summary.text()
        assert len(rig.leftovers()) == 2
