"""relctl maintenance on --hold: under load nobody is lost, whatever ends it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.load.load import Mix
from tests.rig import HELD, LoadInThread, Rig, fast, wait_for

MIX = Mix(keepalive=6, oneshot=6, http2=0, websockets=2, uploads=2, upload_seconds=1.0, timeout=25)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(rest=fast()) as rig:
        rig.live_v1("v2")
        yield rig


def held(rig: Rig, seconds: str) -> None:
    done = rig.relctl("maintenance", "on", "--hold", seconds)
    assert (done.code, done.out) == (0, f"requests wait, for {seconds[:-1]} s at most\n"), done.text


def test_under_load_requests_wait_for_the_word_and_none_is_lost(rig: Rig):
    with LoadInThread(rig.listen, None, MIX) as load:
        load.wait_for(50)
        held(rig, "20s")
        shown = rig.status()["maintenance"]
        assert (shown["hold"], shown["in_effect"]) == (20, True)
        assert "requests wait, for 20 s at most" in rig.relctl("maintenance").out
        began = time.monotonic()
        time.sleep(2.5)  # nothing may happen
        assert rig.relctl("maintenance", "off").code == 0
        waited = time.monotonic() - began
        load.wait_for(50)
        summary = load.stop()
    assert not summary.whole.failed, summary.text()
    assert waited > 2
    assert summary.whole.percentile(100) > 2, summary.text()
    told = [row["arguments"] for row in rig.relctl("audit", "--json").json["audit"]]
    assert any(row and row.get("hold") == 20 for row in told), told


def test_it_is_over_by_itself(rig: Rig):
    began = time.monotonic()
    held(rig, "2s")
    assert rig.get()[0] == 200
    assert 2 <= time.monotonic() - began < 12
    wait_for(lambda: rig.status()["maintenance"] is None, 5, "it is not over")
    began = time.monotonic()
    assert rig.get()[0] == 200
    assert time.monotonic() - began < 1.5


def test_a_hold_is_refused_while_one_is_on_and_so_is_a_switch(rig: Rig):
    held(rig, "20s")
    assert "held already" in rig.relctl("maintenance", "on", "--hold", "9s").text
    assert "requests are held" in rig.relctl("switch", "v2").text
    assert rig.relctl("maintenance", "off").code == 0


def test_if_reld_is_killed_requests_go_on_and_so_they_do_when_it_is_back(rig: Rig):
    with LoadInThread(rig.listen, None, MIX) as load:
        load.wait_for(50)
        held(rig, "20s")
        time.sleep(0.5)  # some wait
        rig.kill_reld()
        load.wait_for(100)
        rig.start_reld()
        assert rig.status()["maintenance"] is None
        wait_for(
            lambda: "relctl_go_on" not in (rig.state / "gate" / "gate.conf").read_text(),
            10,
            "the gate still asks",
        )
        load.wait_for(50)
        summary = load.stop()
    assert not summary.whole.failed, summary.text()
    assert summary.whole.percentile(100) < 10, summary.text()


def test_a_rollout_is_not_held(rig: Rig):
    rig.edit(fast(), HELD.replace("[5, 95, 100]", "[50, 100]"))
    rig.relctl("switch", "v2", "--no-wait")
    rig.wait_share(50)
    refused = rig.relctl("maintenance", "on", "--hold", "5s")
    assert refused.code not in (0, 2)
    assert "cannot hold requests: rollout" in refused.text
    rig.relctl("abort")
    rig.wait_idle()
    assert rig.status()["maintenance"] is None
