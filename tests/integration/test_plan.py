"""`relctl plan` with a real reld, a real gate and real releases: what it says, and that it only looks."""

from __future__ import annotations

import contextlib
import http.client
import json
import pwd
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps.running import knobs_app
from tests.contract.api_support import request_bytes, user
from tests.integration.test_commands import begun
from tests.rig import HELD, Rig, fast

VIEWER = "daemon"
CHECKED = """
[[smoke]]
name = "work"
path = "/status/200"
times = 2

[access]
viewers = ["daemon"]
"""
FREE = "import reld.processes.resources as r\nr.memory_available = lambda: 1 << 20\n"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """v1 is live and passes the smoke check, v2 is there."""
    with Rig(rest=fast(side_by_side=True), tables=CHECKED) as made:
        made.live_v1("v2")
        yield made


@contextlib.contextmanager
def edited(rig: Rig, old: str, new: str) -> Iterator[None]:
    before = rig.config.read_text()
    rig.edit(old, new)
    try:
        yield
    finally:
        rig.config.write_text(before)


def questions(plan: dict[str, Any]) -> dict[str, str]:
    return {question["name"]: question["answer"] for question in plan["questions"]}


def question(plan: dict[str, Any], name: str) -> dict[str, Any]:
    return next(found for found in plan["questions"] if found["name"] == name)


def planned(rig: Rig, *words: str, code: int = 0) -> dict[str, Any]:
    answer = rig.relctl("plan", *words, "--json")
    assert answer.code == code, answer.text
    assert answer.err == ""
    plan = answer.json
    assert isinstance(plan, dict)
    assert plan["ok"] is (code == 0)
    return plan


def files(rig: Rig) -> set[str]:
    """Where a plan could leave something; what comes and goes with time is elsewhere."""
    places = [rig.state / "gate", rig.state / "logs", rig.runtime / "lanes", rig.releases]
    return {str(path) for place in places for path in place.rglob("*")}


def contents(rig: Rig) -> list[bytes]:
    own = [rig.state / "gate/gate.conf", rig.state / "ports.json", rig.config]
    return [path.read_bytes() for path in own]


def test_a_fine_release_is_told_with_all_that_it_means(rig: Rig) -> None:
    plan = planned(rig, "v2")
    assert plan["plan"]["from"] == "v1"
    names = [stage["name"] for stage in plan["plan"]["stages"]]
    assert names == ["start", "smoke", "5 %", "50 %", "bake", "drain", "stop"]
    assert plan["plan"]["stages"][0]["seconds"] > 0  # as long as v1 took
    assert questions(plan) == {
        "side-by-side": "yes",
        "gate-drains": "unknown",
        "slow-endpoints": "yes",
        "rollback-ready": "yes",
    }
    assert "work: 2 answers" in question(plan, "slow-endpoints")["why"]
    assert plan["memory"]["enough"] is True
    assert plan["memory"]["needed"] > 1 << 20
    assert plan["stops"] == []
    assert plan["approvers"] == {
        "needed": False, "who": [], "text": "nobody else has to agree"
    }  # fmt: skip
    both, after = plan["gate_diff"]
    assert both["when"] == "while both serve"
    live = rig.status()["live"]
    idle = "green" if live == "blue" else "blue"
    assert f"+    upstream {idle}_0 {{" in both["diff"]
    assert "/current/$lane) { set $slot " in both["diff"]
    assert f"-    upstream {live}_0 {{" in after["diff"]
    assert after["text"].startswith("v2 at 127.0.0.1:")


def test_what_was_foreseen_for_the_gate_is_what_it_gets(rig: Rig) -> None:
    rig.release("v5")
    foreseen = planned(rig, "v5")["gate_diff"][1]["diff"]
    ports = {
        line.split(":")[1].split()[0]
        for line in foreseen.split("\n")
        if "+        server 127" in line
    }
    assert len(ports) == 1
    assert rig.relctl("switch", "v5", "--now", "--bake", "0s").code == 0
    assert f"server 127.0.0.1:{ports.pop()} " in (rig.state / "gate/gate.conf").read_text()


def test_a_plan_changes_nothing(rig: Rig) -> None:
    before = rig.wait_idle()
    there, said, pids = files(rig), contents(rig), rig.pids()
    planned(rig, "v2", "--now", "--bake", "1m")
    planned(rig, "v9", code=1)
    after = rig.status()
    assert files(rig) - there == set()
    assert contents(rig) == said
    assert rig.pids() == pids
    assert (after["rollout"], after["release"]) == (None, before["release"])
    rows = rig.relctl("audit", "--json").json["audit"]
    assert "plan" not in {row["command"] for row in rows}


def test_the_options_of_switch_are_those_of_plan(rig: Rig) -> None:
    line = "v2 --steps 10,100 --bake 2m --drain 1s --wait-lock --timeout 1m --reason why --no-wait"
    plan = planned(rig, *line.split())
    assert [s["name"] for s in plan["plan"]["stages"]][2:4] == ["10 %", "bake"]
    assert plan["plan"]["seconds"] >= 120
    assert planned(rig, "v2", "--stop-first")["plan"]["strategy"] == "stop-first"


@pytest.mark.parametrize("incomplete", [False, True])
def test_a_release_that_cannot_be_started_is_said_in_the_words_of_the_switch(
    rig: Rig, incomplete: bool
) -> None:
    name = "v3" if incomplete else "v4"
    if incomplete:
        (rig.release(name) / ".relctl-incomplete").touch()
    (stop,) = planned(rig, name, code=1)["stops"]
    switched = rig.relctl("switch", name)
    assert switched.code == 1
    assert stop["message"] in switched.text
    assert stop["hint"] in switched.text


def test_a_check_that_fails_on_what_serves_now_is_a_no(rig: Rig) -> None:
    port = rig.status()["slots"][rig.status()["live"]]["instances"][0]["port"]
    knob(port, error_rate=1.0)
    try:
        plan = planned(rig, "v2", code=1)
    finally:
        knob(port, error_rate=0.0)
    found = question(plan, "slow-endpoints")
    assert found["answer"] == "no"
    assert "work: answer 1 of 2: " in found["why"]
    assert plan["stops"] == []


def test_a_check_that_is_new_in_the_config_proves_nothing_against_what_serves(rig: Rig) -> None:
    with edited(rig, "/status/200", "/status/500"):
        plan = planned(rig, "v2")
    found = question(plan, "slow-endpoints")
    assert found["answer"] == "unknown"
    assert "it is new in the config" in found["why"]
    assert {"key": "smoke work.path", "from": "/status/200", "to": "/status/500"} in plan["config"]


def knob(port: int, **knobs: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/knobs", json.dumps(knobs))
    assert connection.getresponse().status == 200
    connection.close()


def test_a_viewer_gets_the_plan_and_asks_the_app_nothing(rig: Rig) -> None:
    rig.socket.chmod(0o666)
    color = rig.status()["live"]
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        with user(pwd.getpwnam(VIEWER).pw_uid):
            client.connect(str(rig.socket))
        client.sendall(request_bytes("POST", "/v1/plan", json.dumps({"release": "v2"}).encode()))
        raw = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b" 200 " in head.split(b"\r\n")[0], raw
    plan = json.loads(body)
    found = question(plan, "slow-endpoints")
    assert (found["answer"], found["mend"]) == ("unknown", "as an operator: relctl plan v2")
    assert "operators can run the checks" in found["why"]
    assert question(plan, "rollback-ready")["answer"] == "yes"
    assert rig.status()["live"] == color


def test_an_edit_of_the_gate_is_a_diff_and_no_switch_brings_it(rig: Rig) -> None:
    with edited(rig, "[gate]\n", '[gate]\ntimeout = "7s"\n'):
        plan = planned(rig, "v2")
        page = rig.relctl("plan", "v2").out
    edit = plan["gate_diff"][-1]
    assert "after a restart of reld" in edit["when"]
    assert "+    proxy_read_timeout 7000ms;" in edit["diff"]
    assert "-    proxy_read_timeout 60000ms;" in edit["diff"]
    assert "systemctl restart reld@web" in plan["gate_note"]
    assert not any("7000ms" in part["diff"] for part in plan["gate_diff"][:-1])
    assert "  +    proxy_read_timeout 7000ms;" in page


def test_an_edit_of_the_app_is_told_with_both_values(rig: Rig) -> None:
    with edited(rig, "instances = 1", 'instances = 2\nstop_timeout = "9s"'):
        plan = planned(rig, "v2")
    assert plan["config"] == [
        {"key": "app.instances", "from": "1", "to": "2"},
        {"key": "app.stop_timeout", "from": "30", "to": "9"},
    ]


def test_a_config_that_is_wrong_would_stop_it(rig: Rig) -> None:
    with edited(rig, "[readiness]", "[readyness]"):
        (stop,) = planned(rig, "v2", code=1)["stops"]
        switched = rig.relctl("switch", "v2")
    assert (stop["code"], stop["exit"], switched.code) == ("config-invalid", 8, 8)
    assert stop["message"].splitlines()[0] in switched.text


def test_what_is_live_already_is_nothing_to_do(rig: Rig) -> None:
    release = rig.status()["release"]
    plan = planned(rig, release)
    assert plan["already"] == f"{release} is already live"
    assert "nothing to do" in rig.relctl("plan", release).out


def test_a_declared_no_is_a_no_for_ci(rig: Rig) -> None:
    with edited(rig, "side_by_side = true", "side_by_side = false"):
        assert questions(planned(rig, "v2", code=1))["side-by-side"] == "no"
        assert questions(planned(rig, "v2", "--stop-first"))["side-by-side"] == "yes"


def test_the_page_fits_eighty_columns_and_ends_with_the_result(rig: Rig) -> None:
    answer = rig.relctl("plan", "v2")
    assert answer.code == 0, answer.text
    shown = answer.out.splitlines()
    assert [line for line in shown if len(line) > 80] == []
    assert shown[0].startswith("switch ")
    assert shown[-1] == "nothing stops it, 1 question is open: relctl switch v2"
    assert "upstream" not in answer.out
    assert "upstream" in rig.relctl("plan", "v2", "--diff").out


def test_a_dry_run_says_where_the_whole_page_is(rig: Rig) -> None:
    answer = rig.relctl("switch", "v2", "--dry-run")
    assert answer.code == 0, answer.text
    assert "relctl plan v2" in answer.err


def test_a_way_back_that_is_gone_is_a_no(rig: Rig) -> None:
    place = rig.releases / rig.status()["release"]
    away = place.with_name("away")
    place.rename(away)
    try:
        plan = planned(rig, "v2", code=1)
    finally:
        away.rename(place)
    found = question(plan, "rollback-ready")
    assert (found["answer"], "is not there any more" in found["why"]) == ("no", True), found


def test_while_a_rollout_runs_it_says_so_at_once_and_leaves_it_alone() -> None:
    with Rig(rest=HELD) as rig:
        assert "nothing is live" in question(planned(rig, "v1x", code=1), "side-by-side")["why"]
        rig.live_v1("v2", "v3")
        number = begun(rig, "switch", "v2")
        rig.wait_share(5)
        (stop,) = planned(rig, "v3", code=1)["stops"]
        assert (stop["code"], stop["exit"]) == ("busy", 6)
        assert "it began " in stop["message"]
        same = planned(rig, "v2")
        assert same["attached"] == f"rollout {number} brings v2 already: a switch would watch it"
        assert question(same, "rollback-ready")["answer"] == "unknown"
        ended = planned(rig, "v3", "--supersede")
        assert ended["warnings"] == [f"rollout {number} (v2) would be ended first"]
        running = rig.status()["rollout"]
        assert (running["id"], running["phase"], running["percent"]) == (number, "shifting", 5)


def test_an_app_that_reld_did_not_start_is_asked_and_its_memory_is_not_known() -> None:
    with knobs_app("old") as app:
        with Rig(tables=f'{CHECKED}\n[external]\naddress = "127.0.0.1:{app.port}"\n') as rig:
            rig.release("v2")
            rig.wait_status(lambda s: s["live"] and s["degraded"] is None)
            plan = planned(rig, "v2")
            knob(app.port, error_rate=1.0)
            failing = planned(rig, "v2", code=1)
    assert (plan["stops"], plan["memory"]["needed"]) == ([], None)
    assert "it was not started by reld" in plan["memory"]["text"]
    assert question(plan, "slow-endpoints")["answer"] == "yes"
    assert question(plan, "rollback-ready")["answer"] == "unknown"
    assert f"127.0.0.1:{app.port}" in question(plan, "rollback-ready")["why"]
    assert question(failing, "slow-endpoints")["answer"] == "no"


def test_too_little_memory_would_stop_it_in_the_words_of_the_switch() -> None:
    with Rig(hook=FREE) as rig:
        rig.live_v1("v2")
        plan = planned(rig, "v2", code=1)
        (stop,) = plan["stops"]
        assert plan["memory"]["enough"] is False
        assert stop["message"].startswith("two copies do not fit: the live one uses ")
        assert "relctl switch v2 --stop-first" in stop["hint"]
        switched = rig.relctl("switch", "v2")
        assert "two copies do not fit: the live one uses " in switched.text
        assert planned(rig, "v2", "--stop-first")["memory"]["needed"] is None
