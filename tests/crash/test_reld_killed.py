"""kill -9 of reld in every phase: the app goes on, and reld, back again, brings the rollout to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.apps.running import knobs_app
from tests.load.load import Mix
from tests.rig import ROOT, LoadInThread, Rig, environment, fast, runs, wait_for

MIX = Mix(6, 4, 0, 0, 0, 1, think=0.03, upload_seconds=0.4, limit=50.0)
HOOK = """[hooks]
{name} = ["/bin/sh", "-c", "echo begun $RELCTL_HOOK_ATTEMPT >> {out}; sleep 1; echo ended >> {out}"]
"""
SMOKE = '[[smoke]]\nname = "slow"\npath = "/slow?seconds=0.7"\nwithin = "5s"\n'
HOOKS = {"preparing": "before_start", "finishing": "after_retire"}
PHASES = (
    *("preparing", "starting", "proving", "admitting", "shifting", "baking"),
    *("committing", "draining", "stopping", "finishing"),
)


def rig_for(phase: str) -> Rig:
    """The phase lasts long enough to be met."""
    return Rig(
        rest=fast(steps=[50, 100], step_time="500ms", bake="500ms", drain="500ms"),
        app='stop_timeout = "700ms"',
        tables=SMOKE if phase == "proving" else "",
    )


def with_hook(rig: Rig, phase: str) -> None:
    """From the next rollout on."""
    out = rig.home / "attempts.txt"
    out.touch()
    out.chmod(0o666)
    with rig.config.open("a") as file:
        file.write(HOOK.format(name=HOOKS[phase], out=out))


@pytest.mark.parametrize("phase", PHASES)
def test_reld_is_killed_in_this_phase_and_nothing_is_lost(phase: str) -> None:
    with rig_for(phase) as rig:
        rig.live_v1(ignore_sigterm=phase == "stopping")
        rig.release("v2", boot_delay=0.7 if phase == "starting" else 0.0)
        if phase in HOOKS:
            with_hook(rig, phase)
        with LoadInThread(rig.listen, None, MIX) as load:
            load.wait_for(20)
            switch = rig.relctl_begun("switch", "v2", "--json")
            before = met(rig, phase)
            rig.kill_reld()
            load.wait_for(30)
            rig.start_reld()
            out, err = switch.communicate(timeout=40)
            rig.wait_idle()
            load.wait_for(20)
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        # The checks before a start cannot be gone on with; all other phases go on where they were.
        outcome = "failed" if phase == "preparing" else "done"
        assert rig.receipt(2)["outcome"] == outcome, rig.receipt(2)
        assert switch.returncode == (0 if outcome == "done" else 1), out + err
        shown = rig.status()
        assert shown["release"] == ("v2" if outcome == "done" else "v1"), shown
        assert shown["degraded"] is None
        # Whoever serves now ran before the crash already, and nobody else is left.
        assert rig.leftovers() == rig.pids()
        assert set(rig.pids()) <= before
        lanes_are_removed(rig)
        if phase in HOOKS:  # what was interrupted is ended, then it runs again and is told so
            told = attempts(rig).replace("begun 1\nended\n", "begun 1\n")  # reld came back late
            assert told.splitlines() == ["begun 1", "begun 2", "ended"]


def met(rig: Rig, phase: str) -> set[int]:
    """Pids of the instances, once the phase has really begun."""
    shown = rig.wait_phase(phase)
    if phase == "starting":
        shown = rig.wait_status(
            lambda s: [i["state"] for i in s["slots"]["green"]["instances"]] == ["starting"]
        )
    if phase in HOOKS:
        wait_for(lambda: "begun" in attempts(rig), 5, "the hook does not begin")
    return {i["pid"] for s in shown["slots"].values() for i in s["instances"]}


def attempts(rig: Rig) -> str:
    return (rig.home / "attempts.txt").read_text()


def lanes_are_removed(rig: Rig) -> None:
    lanes = rig.runtime / "lanes"
    wait_for(
        lambda: not lanes.exists() or not [d for d in lanes.iterdir() if d.name.isdecimal()],
        10,
        lambda: f"lanes stay: {list(lanes.iterdir())}",
    )


@pytest.mark.parametrize("phase", ["reverting", "draining"])
def test_reld_is_killed_while_going_back_and_it_goes_on_going_back(phase: str) -> None:
    with Rig(rest=fast(steps=[50, 100], step_time="30s", drain="700ms")) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_share(50)
            load.wait_for(20)
            back = rig.relctl_begun("rollback")
            assert back.stdout is not None
            assert "rollout 2" in back.stdout.readline()  # it was told the number
            rig.wait_phase(phase)
            rig.kill_reld()
            load.wait_for(20)
            rig.start_reld()
            back.communicate(timeout=40)
            switch.communicate(timeout=40)
            rig.wait_idle()
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert (back.returncode, switch.returncode) == (0, 3)
        assert rig.receipt(2)["outcome"] == "rolled_back"
        assert rig.status()["release"] == "v1"
        assert rig.leftovers() == rig.pids()
        lanes_are_removed(rig)


def test_reld_is_killed_again_and_again_and_the_switch_still_ends() -> None:
    with Rig() as rig:
        rig.live_v1("v2")
        v1 = rig.pids()
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_status(lambda s: s["rollout"])
            for number in range(3):
                load.wait_for(5 + 3 * number)
                rig.kill_reld()
                rig.start_reld()
            switch.communicate(timeout=40)
            rig.wait_idle()
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert rig.receipt(2)["outcome"] in ("done", "failed", "rolled_back")
        assert rig.leftovers() == rig.pids()
        assert rig.receipt(2)["outcome"] == "done" or rig.pids() == v1


def test_reld_restarts_politely_and_the_app_does_not_notice() -> None:
    with Rig() as rig:
        rig.live_v1()
        before = rig.pids()
        with LoadInThread(rig.listen, None, MIX) as load:
            load.wait_for(20)
            rig.kill_reld(signal.SIGTERM)
            load.wait_for(20)
            rig.start_reld()
            load.wait_for(20)
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert rig.pids() == before
        assert rig.status()["slots"]["blue"]["instances"][0]["restarts"] == 0


def test_an_app_that_died_while_reld_was_away_is_started_again() -> None:
    with Rig() as rig:
        rig.live_v1()
        (pid,) = rig.pids()
        rig.kill_reld()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not runs(pid), 5, "it lives")
        rig.start_reld()
        rig.wait_status(lambda s: s["degraded"] is None and s["slots"]["blue"]["instances"])
        assert rig.get("/")[0] == 200
        assert rig.pids() != [pid]


def test_a_second_reld_for_the_same_app_refuses_and_names_the_first() -> None:
    with Rig() as rig:
        rig.live_v1()
        assert rig.reld is not None
        command = [sys.executable, "-m", "reld", str(rig.config)]
        directories = ["--state-dir", str(rig.state), "--runtime-dir", str(rig.runtime)]
        second = subprocess.run(
            command + directories,
            capture_output=True,
            text=True,
            timeout=20,
            env=environment(),
            check=False,
            cwd=ROOT,
        )
        assert second.returncode != 0
        assert f"pid {rig.reld.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert rig.relctl("status").code == 0
        assert rig.get("/")[0] == 200


def test_a_gate_whose_master_is_killed_in_a_rollout_is_started_again_at_once() -> None:
    with Rig(rest=fast(steps=[50, 100], step_time="1s")) as rig:
        rig.live_v1("v2")
        switch = rig.relctl_begun("switch", "v2")
        rig.wait_share(50)
        gate = rig.gate_pid()
        assert gate is not None
        os.kill(gate, signal.SIGKILL)
        wait_for(lambda: rig.gate_pid() not in (None, gate), 10, "the gate stays away")
        out, err = switch.communicate(timeout=40)
        assert switch.returncode == 0, out + err
        assert rig.get("/")[0] == 200
        rig.wait_status(lambda s: s["degraded"] is None)
        assert rig.leftovers() == rig.pids()


def test_reld_is_killed_while_an_external_app_is_replaced_and_both_go_on() -> None:
    with knobs_app("old") as app:
        table = f'[external]\naddress = "127.0.0.1:{app.port}"\n'
        with Rig(rest=fast(steps=[50, 100]), tables=table) as rig:
            rig.release("v2")
            rig.wait_status(lambda s: s["live"] and s["degraded"] is None)
            with LoadInThread(rig.listen, None, MIX) as load:
                switch = rig.relctl_begun("switch", "v2")
                rig.wait_share(50)
                rig.kill_reld()
                load.wait_for(20)
                rig.start_reld()
                out, err = switch.communicate(timeout=40)
                summary = load.stop()
            assert switch.returncode == 0, out + err
            assert not summary.whole.failed, summary.text()
            assert app.process.poll() is None
            assert rig.leftovers() == rig.pids("blue") + rig.pids("green")
