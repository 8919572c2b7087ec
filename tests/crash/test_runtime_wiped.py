"""The runtime directory or the lanes in it are removed or made unreadable while traffic depends on them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.crash.side_by_side import Playing, Scene, named, played
from tests.load.load import Mix
from tests.rig import HELD, LoadInThread, Rig, Told, environment, wait_for
from tests.scenes import lines_of

MIX = Mix(6, 2, 0, 0, 0, 0, think=0.02, limit=50.0)
HALF = ("switch", "v2", "--steps", "50,100")


def wipe(rig: Rig) -> None:
    """As somebody's cleaning job does it."""
    shutil.rmtree(rig.runtime)


def the_runtime_directory_is_gone_while_reld_runs_and_all_of_it_comes_back() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun(*HALF)
            rig.wait_share(50)
            pids, gate = rig.pids(), rig.gate_pid()
            wipe(rig)
            wait_for(rig.socket.exists, 15, "the control socket stays away")
            rig.wait_status(lambda s: s["degraded"] is None)
            rig.wait_share(50)
            wait_for(rig.request_log.exists, 15, "the gate's log stays away")
            assert (rig.pids(), rig.gate_pid()) == (pids, gate)
            before = len(rig.logged())
            load.wait_for(50)
            wait_for(lambda: len(rig.logged()) > before + 30, 10, "the gate logs elsewhere")
            assert rig.relctl("promote").code == 0
            rig.wait_phase("baking")
            assert rig.relctl("promote").code == 0
            out, err = switch.communicate(timeout=40)
            assert switch.returncode == 0, out + err
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert "made anew" in rig.reld_log()
        assert rig.receipt(2)["outcome"] == "done"
        assert rig.leftovers() == rig.pids()


def the_runtime_directory_is_gone_when_reld_comes_back_and_nothing_is_claimed() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun(*HALF)
            rig.wait_share(50)
            gate = int(rig.gate_pid() or 0)
            rig.kill_reld()
            wipe(rig)
            load.wait_for(30)
            rig.start_reld()
            with Told(rig) as told:
                rig.wait_status(lambda s: s["degraded"] is None and rig.gate_pid() == gate)
                rig.wait_share(50)
                load.wait_for(30)
            assert rig.relctl("abort").code == 0, told.texts
            switch.communicate(timeout=40)
            rig.wait_idle()
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert rig.status()["release"] == "v1"
        assert rig.leftovers() == rig.pids()


def releases(rig: Rig, count: int) -> set[str]:
    return {json.loads(rig.get("/")[1])["release"] for _ in range(count)}


def lanes_that_are_deleted_in_mid_shift_are_told_and_made_anew() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load, Told(rig) as told:
            switch = rig.relctl_begun(*HALF)
            rig.wait_share(50)
            shutil.rmtree(rig.runtime / "lanes")
            wait_for(lambda: any("are gone" in text for text in told.texts), 10, "not told")
            rig.wait_share(50)
            wait_for(lambda: releases(rig, 20) == {"v1", "v2"}, 10, "nobody gets to v2")
            assert rig.relctl("rollback").code == 0
            switch.communicate(timeout=40)
            rig.wait_idle()
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert rig.receipt(2)["outcome"] == "rolled_back"


def lanes_that_cannot_be_made_again_are_never_claimed_and_going_back_works() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun(*HALF)
            rig.wait_share(50)
            shutil.rmtree(rig.runtime / "lanes")
            (rig.runtime / "lanes").write_text("a file where the directory should be")
            rig.wait_status(lambda s: "lanes of rollout 2" in (s["degraded"] or ""))
            shown = rig.wait_share(0)
            assert shown["slots"]["green"]["percent"] == 0, shown
            assert shown["slots"]["blue"]["percent"] == 100, shown
            assert releases(rig, 20) == {"v1"}
            assert rig.relctl("rollback").code == 0
            switch.communicate(timeout=40)
            rig.wait_idle()
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert rig.receipt(2)["outcome"] == "rolled_back"
        assert rig.status()["degraded"] is None
        (rig.runtime / "lanes").unlink()
        assert rig.relctl("switch", "v2", "--now", "--bake", "0s").code == 0


def lanes_that_the_gate_may_not_read_are_told_and_made_readable() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load, Told(rig) as told:
            switch = rig.relctl_begun(*HALF)
            rig.wait_share(50)
            (rig.runtime / "lanes").chmod(0o700)
            wait_for(lambda: any("does not obey" in t for t in told.texts), 10, "not told")
            rig.wait_share(50)
            wait_for(lambda: releases(rig, 20) == {"v1", "v2"}, 10, "nobody gets to v2")
            assert rig.relctl("rollback").code == 0
            switch.communicate(timeout=40)
            summary = load.stop()
        assert not summary.whole.failed, summary.text()


def an_offline_rollback_beside_a_reld_that_runs_is_a_rollback() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun(*HALF)
            rig.wait_share(50)
            move_back(rig)
            rig.wait_idle()
            out, err = switch.communicate(timeout=40)
            summary = load.stop()
        assert switch.returncode == 3, out + err
        assert rig.receipt(2)["outcome"] == "rolled_back"
        assert "the lanes were moved back" in rig.receipt(2)["reason"]
        assert not summary.whole.failed, summary.text()
        assert [line for line in lines_of(rig.logged()) if line.status >= 502] == []


def move_back(rig: Rig) -> None:
    """What `relctl rollback --offline` does when nobody answers."""
    code = "import sys; from relctl.offline import take_back; take_back(sys.argv[1])"
    command = [sys.executable, "-c", code, str(rig.runtime)]
    subprocess.run(command, check=True, env=environment(), timeout=20)


SCENES = (
    the_runtime_directory_is_gone_while_reld_runs_and_all_of_it_comes_back,
    the_runtime_directory_is_gone_when_reld_comes_back_and_nothing_is_claimed,
    lanes_that_are_deleted_in_mid_shift_are_told_and_made_anew,
    lanes_that_cannot_be_made_again_are_never_claimed_and_going_back_works,
    lanes_that_the_gate_may_not_read_are_told_and_made_readable,
    an_offline_rollback_beside_a_reld_that_runs_is_a_rollback,
)


@pytest.fixture(scope="module")
def playing() -> Iterator[Playing]:
    yield from played(SCENES)


@pytest.mark.parametrize("scene", SCENES, ids=named)
def test_nothing_is_lost_and_nothing_claimed_when(scene: Scene, playing: Playing) -> None:
    playing[scene].result()
