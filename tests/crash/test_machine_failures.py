"""Out of descriptors, of processes, of inodes: it is named, nobody is blamed, and going back works."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.side_by_side import Playing, Scene, named, played
from tests.load.load import Mix
from tests.rig import HELD, LoadInThread, Rig, environment, fast, wait_for

MIX = Mix(6, 2, 0, 0, 0, 0, think=0.02, limit=50.0)
HALF = ("switch", "v2", "--steps", "50,100")
IMPATIENT = '[liveness]\npath = "/live"\ninterval = "100ms"\ntimeout = "1s"\nfailures = 2\n'


@contextlib.contextmanager
def limited(pid: int, what: int, most: int) -> Iterator[None]:
    """For a process that runs, and for what it starts."""
    soft, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (most, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, what, (soft, hard))


def move_back(rig: Rig) -> None:
    """What `relctl rollback --offline` does when nobody answers."""
    code = "import sys; from relctl.offline import take_back; take_back(sys.argv[1])"
    command = [sys.executable, "-c", code, str(rig.runtime)]
    subprocess.run(command, check=True, env=environment(), timeout=20)


def releases(rig: Rig, count: int) -> set[str]:
    return {json.loads(rig.get("/")[1])["release"] for _ in range(count)}


def a_reld_out_of_descriptors_blames_nobody_and_the_way_back_is_open() -> None:
    with Rig(rest=HELD, tables=IMPATIENT) as rig:
        rig.live_v1("v2")
        assert rig.reld is not None
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun(*HALF)
            rig.wait_share(50)
            pids = rig.pids()
            with limited(rig.reld.pid, resource.RLIMIT_NOFILE, 3):
                wait_for(  # many more than it takes to call an instance dead
                    lambda: rig.reld_log().count("cannot ask the app") >= 4,
                    20,
                    lambda: rig.reld_log()[-3000:],
                )
                assert rig.reld.poll() is None
                move_back(rig)
                assert releases(rig, 20) == {"v1"}
            rig.wait_idle()
            out, err = switch.communicate(timeout=40)
            shown = rig.wait_status(lambda s: s["degraded"] is None)
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert switch.returncode == 3, out + err
        assert "the lanes were moved back" in rig.receipt(2)["reason"]
        assert "too many open files" in rig.reld_log().lower()
        assert shown["slots"]["blue"]["instances"][0]["restarts"] == 0, shown
        assert set(rig.pids()) < set(pids)
        assert rig.relctl("switch", "v2", "--now", "--bake", "0s").code == 0


def a_user_out_of_processes_is_named_and_nursed_when_there_is_room_again() -> None:
    with Rig(instances=2, rest=fast(bake="100ms")) as rig:
        rig.live_v1("v2")
        assert rig.reld is not None
        with LoadInThread(rig.listen, None, MIX) as load:
            with limited(rig.reld.pid, resource.RLIMIT_NPROC, 1):
                failed = rig.relctl("switch", "v2")
                assert failed.code == 1, failed.text
                assert "temporarily unavailable" in failed.text, failed.text
                assert rig.status()["release"] == "v1"
                load.wait_for(20)
                victim = rig.pids()[0]
                os.kill(victim, signal.SIGKILL)
                shown = rig.wait_status(lambda s: "unavailable" in first(s)["detail"])
                assert "1 of 2 instances" in shown["degraded"], shown
                load.wait_for(30)
            rig.wait_status(lambda s: s["degraded"] is None and first(s)["state"] == "ready")
            assert rig.relctl("switch", "v2").code == 0
            summary = load.stop()
        assert len(summary.whole.failed) <= 8, summary.text()  # what the victim held
        assert rig.leftovers() == rig.pids()


def first(shown: dict) -> dict:
    return shown["slots"]["blue"]["instances"][0]


@contextlib.contextmanager
def few_inodes(count: int) -> Iterator[Path]:
    """A tmpfs of its own."""
    directory = Path(tempfile.mkdtemp(prefix="relctl-few-"))
    options = f"nr_inodes={count},size=64m,mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)
        directory.rmdir()


@contextlib.contextmanager
def filled(directory: Path) -> Iterator[None]:
    """With empty files, until there is no inode left."""
    made = []
    with contextlib.suppress(OSError):
        while True:
            path = directory / f"filler-{len(made)}"
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            made.append(path)
    try:
        yield
    finally:
        for path in made:
            path.unlink()


def a_tmpfs_out_of_inodes_stops_no_way_back_and_what_needs_room_is_refused_by_name() -> None:
    with few_inodes(900) as directory, Rig(rest=HELD, runtime=directory / "run") as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun(*HALF)
            rig.wait_share(50)
            with filled(directory):
                load.wait_for(50)
                shown = rig.status()
                assert shown["rollout"]["percent"] == 50, shown
                back = rig.relctl("rollback")
                assert back.code == 0, back.text
                out, err = switch.communicate(timeout=40)
                assert switch.returncode == 3, out + err
                rig.wait_idle()
                assert releases(rig, 20) == {"v1"}
                refused = rig.relctl("switch", "v2")
                assert refused.code == 1, refused.text
                assert "No space left on device" in refused.text, refused.text
                rig.kill_reld()
            rig.start_reld()
            rig.wait_status(lambda s: s["degraded"] is None)
            done = rig.relctl("switch", "v2", "--now", "--bake", "0s")
            assert done.code == 0, done.text
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert rig.leftovers() == rig.pids()


SCENES = (
    a_reld_out_of_descriptors_blames_nobody_and_the_way_back_is_open,
    a_user_out_of_processes_is_named_and_nursed_when_there_is_room_again,
    a_tmpfs_out_of_inodes_stops_no_way_back_and_what_needs_room_is_refused_by_name,
)


@pytest.fixture(scope="module")
def playing() -> Iterator[Playing]:
    yield from played(SCENES)


@pytest.mark.parametrize("scene", SCENES, ids=named)
def test_it_is_named_and_goes_by(scene: Scene, playing: Playing) -> None:
    playing[scene].result()
