"""`relctl plan` against a fake reld: what is sent, what is printed, what it ends with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from relctl.__main__ import main
from tests.fakes.api import FakeReld, accepted, fake_reld


@pytest.fixture
def reld(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeReld]:
    with fake_reld() as fake:
        monkeypatch.setenv("RELCTL_SOCKET", fake.path)
        monkeypatch.delenv("RELCTL_APP", raising=False)
        yield fake


def answer(**changed: Any) -> dict[str, Any]:
    asked = {"name": "gate-drains", "answer": "yes", "why": "it did", "mend": ""}
    return {"plan": accepted()["plan"], "ok": True, "questions": [asked], "stops": [], **changed}


STOP = {
    "code": "prepare-failed",
    "exit": 1,
    "message": "release v2 is not there",
    "hint": "put it there",
}


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (False, 1)])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_whether_it_would_go_well_is_the_exit_code(
    reld: FakeReld, capsys: pytest.CaptureFixture[str], ok: bool, code: int, flags: list[str]
) -> None:
    told = answer(ok=ok, stops=[] if ok else [STOP])
    reld.answer("POST", "/v1/plan", told)
    assert main(["plan", "v2", *flags]) == code
    said = capsys.readouterr()
    assert said.err == ""
    if flags:
        assert json.loads(said.out) == told
        return
    first, *_, last = said.out.splitlines()
    assert first == "switch v1 → v2, 5 → 25 → 100 %, about 15 min 30 s"
    expected = "nothing stops it: relctl switch v2" if ok else "not ready: 1 thing would stop it"
    assert last == expected
    assert ("next: put it there" in said.out) is not ok


def test_the_options_that_change_a_switch_are_sent_and_the_others_are_taken(reld: FakeReld) -> None:
    reld.answer("POST", "/v1/plan", answer())
    line = (
        "plan v2 --steps 5,100 --step-time 1m --step-max 10m --step-requests 0 --bake 0 --drain 30s "
        "--drain-max 5m --surge 1 --shadow 5% --observe --stop-first --supersede --no-wait --wait-lock "
        "--timeout 1m --reason why --note which --until shifted --on-disconnect abort --on-duty anna"
    )
    assert main(line.split()) == 0
    assert reld.asked("POST", "/v1/plan") == [
        {
            "release": "v2",
            "options": {
                "steps": [5, 100],
                "step_time": 60.0,
                "step_max": 600.0,
                "step_requests": 0,
                "bake": 0.0,
                "drain": 30.0,
                "drain_max": 300.0,
                "surge": 1,
                "shadow": 0.05,
                "observe": True,
                "stop_first": True,
                "supersede": True,
            },
        }
    ]


@pytest.mark.parametrize(
    "words", [["--now", "--steps", "5,100"], ["--steps", "100,5"], ["--bake", "x"]]
)
def test_what_makes_no_sense_is_never_sent(
    reld: FakeReld, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["plan", "v2", *words]) == 2
    assert capsys.readouterr().err.startswith("relctl: cannot ")
    assert reld.asked("POST", "/v1/plan") == []


def test_a_reld_that_knows_no_plans_says_what_to_do(
    reld: FakeReld, capsys: pytest.CaptureFixture[str]
) -> None:
    reld.refuse("POST", "/v1/plan", "not-found", 2, 404)
    assert main(["plan", "v2"]) == 2
    assert "next: do this" in capsys.readouterr().err


def test_a_sparse_answer_of_another_version_is_shown_as_far_as_it_goes(
    reld: FakeReld, capsys: pytest.CaptureFixture[str]
) -> None:
    reld.answer("POST", "/v1/plan", {"ok": True})
    assert main(["plan", "v2"]) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("columns", ["30", "80", "200"])
def test_it_is_never_wider_than_the_terminal_or_eighty_columns(
    reld: FakeReld,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    asked = {"name": "gate-drains", "answer": "no", "why": "word " * 40, "mend": "word " * 40}
    reld.answer("POST", "/v1/plan", answer(ok=False, questions=[asked]))
    assert main(["plan", "v2"]) == 1
    width = min(int(columns), 80)
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > width] == []


def test_a_hostile_name_does_not_steer_the_terminal(
    reld: FakeReld, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {**STOP, "message": "\x1b[31mred\x07", "hint": "\x1b]0;x\x07"}
    part = {"when": "now\x1b[2J", "diff": "--- a\n+++ b\n+\x1b[5mblink"}
    reld.answer("POST", "/v1/plan", answer(ok=False, stops=[bad], gate_diff=[part]))
    assert main(["plan", "v2", "--diff"]) == 1
    assert "\x1b" not in capsys.readouterr().out
