"""From an app that somebody else started to the first release of reld's, and back."""

from __future__ import annotations

import json

from tests.apps.running import knobs_app
from tests.load.load import Mix
from tests.rig import LoadInThread, Rig, fast
from tests.site import Site

MIX = Mix(keepalive=8, oneshot=4, http2=1, http2_streams=2, websockets=0, uploads=1, think=0.03,
          upload_seconds=0.5, limit=60.0)  # fmt: skip


def external(port: int) -> str:
    return f'[external]\naddress = "127.0.0.1:{port}"\nunit = "old-web.service"\n'


def served(rig: Rig) -> str:
    return str(json.loads(rig.get("/")[1])["release"])


def test_from_an_old_unit_to_the_first_release_nothing_is_lost_and_it_is_never_signalled() -> None:
    with knobs_app("old") as app, Rig(tables=external(app.port)) as rig, Site(rig.listen) as site:
        rig.release("v2")
        rig.wait_status(lambda s: s["live"] and s["degraded"] is None)
        assert served(rig) == "old"
        assert "external" in rig.relctl("status").out
        with LoadInThread(site.port, site.tls_port, MIX) as load:
            load.wait_for(50)
            answer = rig.relctl("switch", "v2", "--json")
            load.wait_for(50)
            summary = load.stop()
        assert answer.code == 0, answer.text
        assert not summary.whole.failed, summary.text()
        assert {"old", "v2"} <= summary.whole.releases.keys()
        assert app.process.poll() is None
        assert "got SIGTERM" not in answer.text
        (note,) = answer.json["notes"]
        assert "systemctl disable --now old-web.service" in note
        assert "old-web.service" in rig.relctl("show", str(answer.json["id"])).out
        # It is no slot any more: the next release takes the other one.
        rig.release("v3")
        assert rig.relctl("switch", "v3", "--now", "--bake", "0s").code == 0
        assert served(rig) == "v3"
        assert app.process.poll() is None


def test_a_rollback_while_baking_returns_to_the_old_app() -> None:
    with knobs_app("old") as app, Rig(tables=external(app.port), rest=fast(bake="60s")) as rig:
        rig.release("v2")
        rig.wait_status(lambda s: s["live"] and s["degraded"] is None)
        with LoadInThread(rig.listen, None, Mix(8, 4, 0, 0, 0, 0, think=0.03)) as load:
            assert rig.relctl("switch", "v2", "--until", "shifted").code == 0
            load.wait_for(20)
            answer = rig.relctl("rollback")
            load.wait_for(20)
            summary = load.stop()
        assert answer.code == 0, answer.text
        assert not summary.whole.failed, summary.text()
        assert served(rig) == "old"
        assert app.process.poll() is None
        assert rig.leftovers() == []


def test_what_reld_did_not_start_it_does_not_stop_or_restart() -> None:
    with knobs_app("old") as app, Rig(tables=external(app.port)) as rig:
        rig.wait_status(lambda s: s["live"])
        for command in ("stop", "restart"):
            answer = rig.relctl(command)
            assert (answer.code, "not started by reld" in answer.err) == (1, True), answer.text
        assert app.process.poll() is None


def test_a_bad_first_release_leaves_the_old_app_alone() -> None:
    with knobs_app("old") as app, Rig(tables=external(app.port)) as rig:
        rig.release("v2", crash_at_boot=3)
        rig.wait_status(lambda s: s["live"])
        answer = rig.relctl("switch", "v2")
        assert answer.code == 1, answer.text
        assert served(rig) == "old"
        assert rig.leftovers() == []
