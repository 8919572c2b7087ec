"""In the middle of a rollout: the gate is killed or upgraded, the site's nginx is reloaded or stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.load.load import Mix
from tests.rig import HELD, LoadInThread, Rig, runs, wait_for
from tests.scenes import lines_of
from tests.site.site import NGINX, Site, wait_until

MIX = Mix(8, 4, 0, 0, 0, 0, think=0.02, oneshot_think=0.05, limit=50.0)
CLIENTS = 12

OWN_BINARY = """
import os
from dataclasses import replace
from pathlib import Path
import reld.daemon as daemon

usual = daemon.gate_settings
own = Path(os.environ["GATE_BINARY"])
daemon.gate_settings = lambda *words: replace(usual(*words), binary=own)
"""


def workers(rig: Rig) -> list[int]:
    gate = rig.gate_pid()
    return [int(p) for p in Path(f"/proc/{gate}/task/{gate}/children").read_text().split()]


def half(rig: Rig, load: LoadInThread) -> subprocess.Popen[str]:
    """v2 has 50 % of the requests and keeps them until somebody says otherwise."""
    switch = rig.relctl_begun("switch", "v2", "--steps", "50,100")
    rig.wait_share(50)
    load.wait_for(30)
    return switch


def brought_to_its_end(rig: Rig, switch: subprocess.Popen[str]) -> None:
    """Nothing that happened has turned it, and nobody was blamed."""
    shown = rig.wait_status(lambda s: s["degraded"] is None)
    assert shown["rollout"], rig.receipt(2)
    assert (shown["rollout"]["phase"], shown["rollout"]["percent"]) == ("shifting", 50), shown
    assert shown["rollout"]["verdict"] not in ("worse", "doubt"), shown
    assert rig.relctl("promote").code == 0
    rig.wait_phase("baking")
    assert rig.relctl("promote").code == 0
    out, err = switch.communicate(timeout=40)
    assert switch.returncode == 0, out + err
    rig.wait_status(lambda s: s["degraded"] is None and s["rollout"] is None)
    assert rig.leftovers() == rig.pids()


def test_the_gates_master_is_killed_at_half_of_the_traffic_and_nothing_is_lost() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = half(rig, load)
            gate = rig.gate_pid()
            assert gate is not None
            os.kill(gate, signal.SIGKILL)
            wait_for(lambda: rig.gate_pid() not in (None, gate), 10, "the gate stays away")
            load.wait_for(50)
            brought_to_its_end(rig, switch)
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert rig.receipt(2)["outcome"] == "done"


def test_all_workers_of_the_gate_are_killed_and_only_what_they_held_is_lost() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2", latency=0.02)
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = half(rig, load)
            victims = workers(rig)
            killed = time.monotonic()
            for pid in victims:
                os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not set(victims) & set(workers(rig)), 10, "the workers live on")
            load.wait_for(50)
            brought_to_its_end(rig, switch)
            summary = load.stop()
        assert len(summary.whole.failed) <= CLIENTS, summary.text()
        for failure in summary.whole.failed:
            assert failure.when - killed < 0.5, summary.text()
        assert rig.receipt(2)["outcome"] == "done"
        assert rig.leftovers() == rig.pids()


def test_the_gates_binary_is_upgraded_in_a_rollout_by_reld_and_by_hand() -> None:
    with Rig() as elsewhere:  # a directory that outlives nothing but the test
        binary = elsewhere.home / "nginx"
        shutil.copy(NGINX, binary)
        with Rig(rest=HELD, hook=OWN_BINARY, variables={"GATE_BINARY": str(binary)}) as rig:
            rig.live_v1("v2")
            with LoadInThread(rig.listen, None, MIX) as load:
                switch = half(rig, load)
                first = rig.gate_pid()
                assert first is not None
                shutil.copy(NGINX, elsewhere.home / "upgraded")
                (elsewhere.home / "upgraded").rename(binary)
                wait_for(lambda: not runs(first), 20, "the old binary serves on")
                load.wait_for(50)
                second = rig.gate_pid()
                assert second not in (None, first)
                by_hand(rig, int(second or 0))
                load.wait_for(50)
                brought_to_its_end(rig, switch)
                summary = load.stop()
            assert not summary.whole.failed, summary.text()
            assert rig.receipt(2)["outcome"] == "done"


def by_hand(rig: Rig, old: int) -> None:
    """As nginx's manual says: USR2, and QUIT to the old one when the new one runs."""
    os.kill(old, signal.SIGUSR2)
    wait_for(lambda: rig.gate_pid() not in (None, old) and workers(rig) != [], 10, "no new master")
    os.kill(old, signal.SIGQUIT)
    wait_for(lambda: not runs(old), 20, "the old master stays")


def test_the_sites_nginx_is_reloaded_restarted_and_away_and_the_rollout_goes_on() -> None:
    with Rig(rest=HELD) as rig, Site(rig.listen) as site:
        rig.live_v1("v2")
        with LoadInThread(site.port, None, MIX) as load:
            switch = half(rig, load)
            site.reload()
            load.wait_for(30)
            away(site, 0.0)
            load.wait_for(30)
            away(site, 2.0)
            load.wait_for(30)
            brought_to_its_end(rig, switch)
            load.stop()
        receipt = rig.receipt(2)
        assert receipt["outcome"] == "done"
        # What the site lost is the site's: the gate and both releases have answered everything.
        assert [slot["errors"] for slot in receipt["requests"].values()] == [0, 0], receipt
        bad = [line for line in lines_of(rig.logged()) if line.status >= 500 and line.attempts]
        assert bad == []


def away(site: Site, seconds: float) -> None:
    """`systemctl stop`, and started again on the same ports after a while."""
    assert site.master is not None
    site.master.terminate()
    site.master.wait(10)
    time.sleep(seconds)
    command = [NGINX, "-p", f"{site.prefix}/", "-c", "nginx.conf", "-e", "error.log"]
    site.master = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(site.accepts, "the site's nginx accepts again")
