"""relctl maintenance: on and off under load, beside a rollout, across a kill of everything."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator

import pytest

from tests.load.load import Mix
from tests.rig import HELD, LoadInThread, Rig, fast, wait_for

MIX = Mix(keepalive=6, oneshot=4, http2=0, websockets=0, uploads=1, upload_seconds=1.0)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(rest=fast(steps=[50, 100])) as rig:
        rig.live_v1("v2")
        (rig.home / "sorry.html").write_text("<h1>Back at noon</h1>")
        yield rig


def asked(rig: Rig, path: str = "/", **headers: str) -> tuple[int, bytes, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", rig.listen, timeout=10)
    try:
        connection.request(
            "GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("Retry-After")
    finally:
        connection.close()


def test_on_and_off_are_said_shown_and_written_down(rig: Rig):
    assert rig.relctl("maintenance").out == "off\n"
    page = str(rig.home / "sorry.html")
    words = ("maintenance", "on", "--page", page, "--allow", "192.0.2.9/24", "--reason", "new disk")
    done = rig.relctl(*words, "--note", "T-12")
    assert (done.code, done.out) == (0, "maintenance is on\n"), done.text
    assert asked(rig) == (503, b"<h1>Back at noon</h1>", "30")
    assert asked(rig, "/ready")[0] == 200
    assert asked(rig, X_Forwarded_For="192.0.2.77")[0] == 200
    assert "already on" in rig.relctl(*words).out
    shown = rig.status()["maintenance"]
    assert shown.pop("since")
    assert shown.pop("by")
    assert shown == {
        "hold": None,
        "reason": "new disk",
        "page": True,
        "allow": ["192.0.2.0/24"],
        "in_effect": True,
    }
    assert ": new disk; open to 192.0.2.0/24" in rig.relctl("maintenance").out
    assert "new disk" in rig.relctl("status").out
    changed = rig.relctl("maintenance", "on")
    assert changed.out == "maintenance is on\n"
    assert b"Closed for a moment" in asked(rig)[1]
    assert rig.relctl("maintenance", "off", "--json").json["maintenance"] is None
    assert asked(rig)[0] == 200
    assert "already off" in rig.relctl("maintenance", "off").out
    audit = rig.relctl("audit", "--json").json["audit"]
    told = [(row["command"], row["target"], row["note"]) for row in audit]
    assert ("maintenance", "on", "T-12") in told


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("on", "--page", "/nowhere.html"), 2),
        (("off", "--allow", "192.0.2.1"), 2),
        (("on", "--allow", "everybody"), 2),
        (("--page", "x"), 2),
        (("off", "--hold", "5s"), 2),
        (("on", "--hold", "31s"), 2),
        (("on", "--hold", "0"), 2),
        (("on", "--hold", "5s", "--page", "/dev/null"), 2),
    ],
)
def test_what_makes_no_sense_changes_nothing(rig: Rig, words: tuple[str, ...], code: int):
    assert rig.relctl("maintenance", *words).code == code
    assert rig.status()["maintenance"] is None


def test_it_outlives_reld_the_gate_and_both(rig: Rig):
    assert rig.relctl("maintenance", "on", "--page", str(rig.home / "sorry.html")).code == 0
    rig.kill_reld()
    assert asked(rig)[0] == 503
    gate = rig.gate_pid()
    assert gate is not None
    os.kill(gate, signal.SIGKILL)
    rig.start_reld()
    wait_for(lambda: rig.gate_pid() not in (gate, None), 10, "the gate is not started again")
    assert asked(rig) == (503, b"<h1>Back at noon</h1>", "30")
    assert rig.status()["maintenance"]["in_effect"]
    assert rig.relctl("maintenance", "off").code == 0
    assert asked(rig)[0] == 200


def test_under_load_there_are_answers_and_503s_and_nothing_else(rig: Rig):
    with LoadInThread(rig.listen, None, MIX) as load:
        for _ in range(2):
            load.wait_for(30)
            assert rig.relctl("maintenance", "on").code == 0
            assert asked(rig)[0] == 503
            assert rig.relctl("maintenance", "off").code == 0
        load.wait_for(30)
        summary = load.stop()
    failed = summary.whole.failed
    assert {f.kind for f in failed} <= {"status"}, summary.text()
    assert all("503" in f.detail for f in failed), summary.text()


def test_a_rollout_goes_on_beside_it_and_its_503s_are_nobodys(rig: Rig):
    rig.edit(fast(steps=[50, 100]), HELD.replace("[5, 95, 100]", "[50, 100]"))
    number = int(rig.relctl("switch", "v2", "--no-wait").out)
    rig.wait_share(50)
    assert rig.relctl("maintenance", "on").code == 0
    for _ in range(30):
        assert asked(rig)[0] == 503
    assert rig.relctl("promote").code == 0
    rig.wait_phase("baking")
    assert asked(rig)[0] == 503
    assert rig.relctl("maintenance", "off").code == 0
    assert asked(rig)[0] == 200
    assert rig.relctl("promote").code == 0
    rig.wait_idle()
    told = rig.receipt(number)
    assert told["outcome"] == "done"
    assert told["requests"]["blue"]["errors"] == told["requests"]["green"]["errors"] == 0
    assert rig.status()["release"] == "v2"
