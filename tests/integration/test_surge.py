"""Two releases of three instances change places one by one, through real nginx, under load."""

from __future__ import annotations

import http.client
import json
import threading
import time
from types import TracebackType
from typing import Any, Self

from tests.load.load import Mix, Summary
from tests.rig import LoadInThread, Rig, fast
from tests.scenes import Play, watched
from tests.site import Site

MIX = Mix(keepalive=6, oneshot=3, http2=1, websockets=0, think=0.03, upload_seconds=0.5)
SURGE = fast(steps=[20, 100], surge=1, drain="200ms", bake="500ms")


class Most:
    """How many processes of the app there ever were at a time."""

    def __init__(self, rig: Rig) -> None:
        self.most = 0
        self._rig = rig
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(10)

    def _look(self) -> None:
        while not self._over.is_set():
            self.most = max(self.most, len(self._rig.leftovers()))
            time.sleep(0.05)


def nothing_lost(summary: Summary) -> None:
    assert not summary.whole.failed, summary.text()
    assert summary.whole.ok > 100, summary.text()


def turn(port: int, **knobs: Any) -> None:
    """The app behaves otherwise from now on."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/knobs", json.dumps(knobs))
    assert connection.getresponse().status == 200
    connection.close()


def states(status: dict[str, Any], color: str) -> list[str]:
    return [instance["state"] for instance in status["slots"][color]["instances"]]


def test_there_and_back_never_run_more_than_one_process_more_and_lose_nothing():
    with Rig(instances=3, rest=SURGE) as rig, Site(rig.listen) as site:
        rig.live_v1("v2")
        with LoadInThread(site.port, site.tls_port, MIX) as load, Most(rig) as seen:
            load.wait_for(20)
            there = rig.relctl("switch", "v2", "--json")
            assert there.code == 0, there.text
            rig.edit('bake = "500ms"', 'bake = "30s"')
            assert rig.relctl("switch", "v1", "--until", "shifted").code == 0
            baking = rig.wait_phase("baking")
            back = rig.relctl("rollback", "--reason", "by hand", "--json")
            load.wait_for(50)
            summary = load.stop()
        nothing_lost(summary)
        assert seen.most == 4
        assert there.json["reloads"] == 2 + 2 * 2
        live = baking["slots"][baking["live"]]
        assert [i["state"] for i in live["instances"]] == ["ready", "parked", "parked"]
        assert baking["rollout"]["warm"].startswith("1 of 3 old instances is warm")
        assert back.json["outcome"] == "rolled_back"
        assert rig.status()["release"] == "v2"
        whole = rig.wait_status(lambda s: states(s, s["live"]) == ["ready"] * 3)
        assert whole["degraded"] is None
        assert len(rig.leftovers()) == 3


def test_a_reld_that_is_killed_in_the_middle_goes_on_and_loses_nothing():
    with Rig(instances=3, rest=SURGE) as rig, Site(rig.listen) as site:
        rig.live_v1("v2")
        with LoadInThread(site.port, site.tls_port, MIX) as load, Most(rig) as seen:
            load.wait_for(20)
            assert rig.relctl("switch", "v2", "--no-wait").code == 0
            for percent in (33, 66):
                rig.wait_share(percent)
                rig.kill_reld()
                rig.start_reld()
            rig.wait_idle()
            load.wait_for(50)
            summary = load.stop()
        nothing_lost(summary)
        assert seen.most == 4
        assert rig.status()["release"] == "v2"
        assert rig.receipt(2)["outcome"] == "done"


def test_a_release_that_turns_bad_with_half_of_the_old_ones_left_goes_back_and_no_user_sees_it():
    with Rig(instances=4, rest=watched(steps=[75, 100], surge=1)) as rig, Most(rig) as seen:
        rig.live_v1("v2")
        with Play(rig, posts=0.0) as playing:
            shared = rig.wait_share(75)
            for instance in shared["slots"][playing.scene.color]["instances"][:3]:
                turn(instance["port"], get_error_rate=0.2)
        scene = playing.scene
        phases = [p["phase"] for p in scene.receipt["phases"]]
        assert scene.receipt["outcome"] == "rolled_back", scene.text
        assert phases[phases.index("shifting") + 1 :][:2] == ["returning", "reverting"]
        assert scene.seen.failed == [], scene.text
        assert seen.most == 5
        whole = rig.wait_status(lambda s: states(s, s["live"]) == ["ready"] * 4)
        assert (whole["release"], len(rig.leftovers())) == ("v1", 4)
