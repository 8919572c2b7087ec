"""Edits of [gate] hold when reld is restarted, and cost nobody anything."""

from __future__ import annotations

import signal
import urllib.request

from reld.nginx.mark import read_back
from tests.load.load import Mix
from tests.rig import LoadInThread, Rig, fast, wait_for

MIX = Mix(keepalive=6, oneshot=6, http2=0, websockets=1, uploads=1, upload_seconds=0.5)


def text(rig: Rig) -> str:
    return (rig.state / "gate/gate.conf").read_text()


def served(rig: Rig) -> int:
    """The generation that the gate itself answers with."""
    with urllib.request.urlopen(f"http://127.0.0.1:{rig.status_port}/", timeout=10) as answer:
        return int(answer.read().split()[2])


def restart(rig: Rig) -> None:
    rig.kill_reld(signal.SIGTERM)
    rig.start_reld()


def test_an_edit_of_the_gate_holds_after_a_restart_of_reld_and_no_request_is_lost():
    with Rig(gate='timeout = "60s"', rest=fast()) as rig:
        rig.live_v1()
        made, _ = read_back(text(rig))
        restart(rig)
        assert read_back(text(rig))[0] == made, "nothing was edited, and the gate was reloaded"
        with LoadInThread(rig.listen, None, MIX) as load:
            load.wait_for(50)
            rig.edit('timeout = "60s"', 'timeout = "41s"')
            told = rig.wait_status(lambda s: "[gate] changed since" in (s["config"] or ""))
            assert "applies it, and loses no request" in told["config"]
            restart(rig)
            wait_for(lambda: served(rig) > made, 20, "the gate was not loaded anew")
            assert "proxy_read_timeout 41000ms;" in text(rig)
            load.wait_for(50)
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert "[gate]" not in (rig.status()["config"] or "")
