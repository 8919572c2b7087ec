"""A whole rollout through the site's nginx and the gate, under clients that never retry."""

from __future__ import annotations

import json
import os
import signal

from tests.load.load import Mix, Summary
from tests.rig import HELD, LoadInThread, Rig, fast
from tests.site import Site

MIX = Mix(
    keepalive=8,
    oneshot=4,
    http2=1,
    http2_streams=2,
    websockets=2,
    uploads=1,
    think=0.05,
    oneshot_think=0.05,
    upload_seconds=1.0,
    limit=60.0,
)


def nothing_lost(summary: Summary) -> None:
    assert not summary.whole.failed, summary.text()
    assert summary.whole.ok > 100, summary.text()


def test_a_switch_under_load_loses_nothing_and_its_receipt_says_so() -> None:
    with Rig(rest=fast(drain_max="2s")) as rig, Site(rig.listen) as site:
        rig.live_v1("v2")
        with LoadInThread(site.port, site.tls_port, MIX) as load:
            load.wait_for(50)
            switch = rig.relctl("switch", "v2", "--json")
            load.wait_for(50)
            summary = load.stop()
        nothing_lost(summary)
        assert switch.code == 0, switch.text
        receipt = switch.json
        assert receipt["outcome"] == "done"
        assert receipt["reloads"] == 2
        blue, green = receipt["requests"]["blue"], receipt["requests"]["green"]
        assert (blue["errors"], green["errors"]) == (0, 0)
        assert blue["total"] > 10
        assert green["total"] > 10
        assert blue["total"] + green["total"] <= summary.whole.total + 4  # websockets count too
        assert {"v1", "v2"} <= summary.whole.releases.keys()
        # Websockets live until the end of the drain, then the app closes them itself.
        closed = {(c.code, c.release) for c in summary.kinds["websocket"].closed}
        assert closed <= {(1001, "v1")}, closed
        assert receipt["drain"]["cut"] == len(summary.kinds["websocket"].closed)
        assert [p["phase"] for p in receipt["phases"]] == [
            *("preparing", "starting", "proving", "admitting", "shifting", "baking"),
            *("committing", "draining", "stopping", "finishing"),
        ]


def test_a_rollback_while_baking_loses_nothing_and_is_one_rename() -> None:
    mix = Mix(keepalive=8, oneshot=4, http2=1, websockets=0, think=0.03, upload_seconds=0.5)
    with Rig(rest=fast(bake="60s")) as rig, Site(rig.listen) as site:
        rig.live_v1("v2")
        with LoadInThread(site.port, site.tls_port, mix) as load:
            load.wait_for(20)
            assert rig.relctl("switch", "v2", "--until", "shifted").code == 0
            load.wait_for(50)
            back = rig.relctl("rollback", "--reason", "too blue", "--json")
            load.wait_for(50)
            summary = load.stop()
        nothing_lost(summary)
        assert back.code == 0, back.text
        assert back.json["outcome"] == "rolled_back"
        assert "too blue" in back.json["reason"]
        assert back.json["reloads"] == 2
        assert rig.status()["release"] == "v1"
        assert len(rig.leftovers()) == 1


def test_a_rollback_typed_while_shifting_loses_nothing_and_ends_the_switch_with_3() -> None:
    mix = Mix(keepalive=8, oneshot=4, http2=0, websockets=0, think=0.03, upload_seconds=0.5)
    with Rig(rest=HELD.replace('"300ms"', '"100ms"')) as rig, Site(rig.listen) as site:
        rig.live_v1("v2")
        with LoadInThread(site.port, None, mix) as load:
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_share(5)
            load.wait_for(50)
            assert rig.relctl("promote").code == 0
            rig.wait_share(95)
            load.wait_for(50)
            back = rig.relctl("rollback")
            load.wait_for(20)
            summary = load.stop()
        nothing_lost(summary)
        out, err = switch.communicate(timeout=30)
        assert (back.code, switch.returncode) == (0, 3), back.text + out + err
        assert "v2 was rolled back" in out or "rolled back" in out
        assert rig.status()["release"] == "v1"
        assert rig.get("/")[0] == 200


def test_two_instances_switch_together_and_share_the_traffic() -> None:
    with Rig(instances=2) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, Mix(8, 4, 0, 0, 0, 0, think=0.02)) as load:
            switch = rig.relctl("switch", "v2")
            summary = load.stop()
        assert switch.code == 0, switch.text
        nothing_lost(summary)
        assert len(rig.leftovers()) == 2
        pids = {rig.get("/")[1] for _ in range(60)}  # dealt by chance: all to one once in 2**59
        assert len({p.split(b'"pid": ')[1].split(b",")[0] for p in pids}) == 2


def test_with_a_dead_live_slot_the_fix_ships_at_once() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        rig.release("v3", crash_at_boot=1)
        (rig.releases / "v1" / "knobs.json").write_text('{"crash_at_boot": 4}')
        os.kill(rig.pids()[0], signal.SIGKILL)
        rig.wait_status(lambda s: s["slots"]["blue"]["instances"][0]["restarts"] >= 3)
        assert rig.relctl("status", "--check").code == 3
        answer = rig.relctl("switch", "v2", timeout=20)
        assert answer.code == 0, answer.text
        assert rig.get("/")[0] == 200
        rig.wait_status(lambda s: s["rollout"] is None and s["degraded"] is None)


def test_a_rollback_in_the_drain_of_the_old_slot_is_still_at_once_and_loses_nothing() -> None:
    with Rig(rest=fast(steps=[100], bake="0s", drain="20s", drain_max="30s")) as rig:
        rig.live_v1("v2")
        with LoadInThread(rig.listen, None, Mix(8, 4, 0, 0, 0, 0, think=0.02)) as load:
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_phase("draining")
            assert rig.status()["release"] == "v2"
            load.wait_for(20)
            back = rig.relctl_begun("rollback")
            rig.wait_status(lambda s: s["release"] == "v1", within=5)
            load.wait_for(50)
            assert {json.loads(rig.get("/")[1])["release"] for _ in range(5)} == {"v1"}
            assert rig.relctl("status").code == 0
            summary = load.stop()
            rig.kill_reld()  # twenty seconds of drain are not what this is about
            rig.start_reld()
            assert rig.status()["rollout"]["phase"] == "draining"
        assert not summary.whole.failed, summary.text()
        for left in (back, switch):
            left.send_signal(signal.SIGINT)
            left.communicate(timeout=10)
            assert left.returncode == 130


def test_a_new_release_that_dies_while_the_old_one_drains_is_rolled_back() -> None:
    with Rig(rest=fast(steps=[100], bake="0s", drain="1500ms")) as rig:
        rig.live_v1("v2")
        switch = rig.relctl_begun("switch", "v2")
        rig.wait_phase("draining")
        os.kill(rig.pids("green")[0], signal.SIGKILL)
        out, err = switch.communicate(timeout=30)
        assert switch.returncode == 3, out + err
        assert "while v1 was still warm" in out
        assert rig.status()["release"] == "v1"
        assert rig.get("/")[0] == 200
        assert rig.leftovers() == rig.pids()
