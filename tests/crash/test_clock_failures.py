"""The wall clock is set back and forth by an hour: nothing may be decided by it.

Only for reld and the gate, by a library of ours: the machine's clock is everybody's.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.load.load import Mix
from tests.rig import LoadInThread, Rig, fast
from tests.scenes import lines_of

MIX = Mix(6, 2, 0, 0, 0, 0, think=0.02, limit=50.0)
HOUR = 3600
STEP = 2.0
SOURCE = Path(__file__).with_name("clock_shift.c")
FOR_THE_GATE_TOO = """
import os
from reld.nginx import command

command.ENVIRONMENT |= {name: os.environ[name] for name in ("LD_PRELOAD", "CLOCK_SHIFT")}
"""


class Clock:
    """`set` moves the wall clock of everybody who was started with `variables`."""

    def __init__(self, directory: Path) -> None:
        library, shift = directory / "clock_shift.so", directory / "shift"
        command = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        shift.write_bytes(bytes(mmap.PAGESIZE))
        self._shift = shift
        self.variables = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}

    def set(self, seconds: int) -> None:
        with self._shift.open("r+b") as file:
            file.write(struct.pack("@l", seconds))


@pytest.fixture
def clock() -> Iterator[Clock]:
    # Not pytest's tmp_path: that is closed to the gate's user.
    place = Path(tempfile.mkdtemp(prefix="clock-"))
    place.chmod(0o755)
    yield Clock(place)
    shutil.rmtree(place)


def rig_with(clock: Clock) -> Rig:
    steps = fast(steps=[50, 100], step_time=f"{STEP:.0f}s", step_requests=10, bake="1s")
    return Rig(rest=steps, hook=FOR_THE_GATE_TOO, variables=clock.variables)


def test_a_clock_that_leaps_an_hour_on_and_two_back_neither_shortens_a_step_nor_stops_it(
    clock: Clock,
) -> None:
    with rig_with(clock) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load:
            began = time.monotonic()
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_share(50)
            clock.set(HOUR)
            load.wait_for(20)
            shown = rig.status()
            assert shown["rollout"]["percent"] == 50, shown
            assert abs(shown["rollout"]["seconds"] - (time.monotonic() - began)) < 10, shown
            clock.set(-HOUR)
            rig.wait_share(100)
            at_all = time.monotonic()
            clock.set(HOUR)
            out, err = switch.communicate(timeout=40)
            ended = time.monotonic()
            summary = load.stop()
        assert switch.returncode == 0, out + err
        assert not summary.whole.failed, summary.text()
        receipt = rig.receipt(2)
        assert receipt["outcome"] == "done", receipt
        assert at_all - began >= STEP
        assert ended - at_all >= 1.0
        assert ended - began < 40
        # The gate's log has really leapt, and each of its lines counts once.
        times = [line.at for line in lines_of(rig.logged())]
        assert max(times) - min(times) > 1.9 * HOUR
        assert all(
            slot["errors"] == 0 and slot["total"] > 20 for slot in receipt["requests"].values()
        )
        shifting = next(p for p in receipt["phases"] if p["phase"] == "shifting")
        assert STEP <= shifting["seconds"] < 40, receipt["phases"]


def test_a_release_that_fails_after_the_clock_was_set_back_is_still_found(clock: Clock) -> None:
    with rig_with(clock) as rig:
        rig.live_v1()
        rig.release("v2", error_rate=1.0)
        rig.edit('step_time = "2s"', 'step_time = "30s"')
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_share(50)
            clock.set(-HOUR)
            out, err = switch.communicate(timeout=25)
            load.stop()
        assert switch.returncode == 3, out + err
        assert rig.receipt(2)["outcome"] == "rolled_back"
        assert rig.status()["release"] == "v1"
