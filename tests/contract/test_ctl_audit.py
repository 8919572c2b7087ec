"""`relctl audit`, `relctl approve` and `--note`: what is sent and what people see."""

from __future__ import annotations

import json

import pytest

from relctl import audit
from relctl.__main__ import main
from tests.fakes.api import fake_reld, rolling

ACCEPTED = {
    "time": "2026-11-23T11:00:00.123Z",
    "uid": 0,
    "user": "root",
    "login_uid": 1000,
    "login": "alice",
    "pid": 7,
    "command": "switch",
    "target": "v2",
    "arguments": {"steps": [50, 100], "bake": 30.0, "force": True, "reason": "a fix"},
    "note": "ticket 7",
    "outcome": "accepted",
    "code": None,
    "told": "",
    "rollout": 42,
}
REFUSED = {
    **ACCEPTED,
    "uid": 1001,
    "user": "eve",
    "login_uid": 1001,
    "login": "eve",
    "command": "abort",
    "target": "42",
    "arguments": {},
    "note": "",
    "outcome": "refused",
    "code": "not-permitted",
    "told": "cannot change anything: user eve is not permitted \x1b[2J",
}


@pytest.fixture
def reld(monkeypatch):
    with fake_reld() as fake:
        monkeypatch.setenv("RELCTL_SOCKET", fake.path)
        monkeypatch.setenv("TZ", "UTC")
        monkeypatch.delenv("RELCTL_APP", raising=False)
        yield fake


def test_the_audit_is_a_table_newest_first(reld, capsys):
    reld.answer("GET", "/v1/audit", {"audit": [ACCEPTED, REFUSED]})
    assert main(["audit", "--limit", "2"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["TIME", "BY", "COMMAND", "ROLLOUT", "OUTCOME", "WHY"]
    assert "alice (as root)" in first
    assert 'switch v2 --steps=50,100 --bake=30 --force --reason="a fix"' in first
    assert first.endswith("42       accepted                ticket 7")
    assert "eve" in second
    assert "refused: not-permitted" in second
    assert "\x1b" not in second
    assert reld.asked("GET", "/v1/audit")[0] == {"limit": "2"}


def test_the_audit_in_json_is_what_reld_said(reld, capsys):
    reld.answer("GET", "/v1/audit", {"audit": [ACCEPTED]})
    assert main(["audit", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"audit": [ACCEPTED]}


def test_an_empty_audit_says_so(reld, capsys):
    reld.answer("GET", "/v1/audit", {"audit": []})
    assert main(["audit"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "nobody has changed anything so far\n")


def test_a_line_is_cut_at_the_edge_of_a_terminal_and_never_in_a_pipe(reld, capsys, monkeypatch):
    reld.answer("GET", "/v1/audit", {"audit": [{**ACCEPTED, "note": "x" * 300}]})
    main(["audit"])
    assert "x" * 300 in capsys.readouterr().out
    monkeypatch.setattr(audit, "_columns", lambda: 80)
    main(["audit"])
    assert max(map(len, capsys.readouterr().out.splitlines())) == 80


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
def test_a_limit_out_of_range_is_a_usage_error(reld, limit):
    assert main(["audit", "--limit", limit]) == 2


def test_who_may_not_see_the_audit_gets_exit_4(reld):
    reld.refuse("GET", "/v1/audit", "not-permitted", 4, 403)
    assert main(["audit"]) == 4


@pytest.mark.parametrize("line", ["approve 42", "approve"])
def test_approve_says_which_and_why(reld, capsys, line):
    reld.status = rolling()
    reld.answer("POST", "/v1/rollouts/42/approve", {"id": 42, "message": "rollout 42 is approved"})
    assert main([*line.split(), "--note", "seen in staging"]) == 0
    assert reld.asked("POST", "/v1/rollouts/42/approve") == [{"note": "seen in staging"}]
    assert capsys.readouterr().out == "rollout 42 is approved\n"


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "abort"])
def test_every_steering_command_takes_a_note(reld, verb):
    reld.answer("POST", f"/v1/rollouts/42/{verb}", {"id": 42, "message": "ok"})
    assert main([verb, "42", "--note", "why"]) == 0
    assert reld.asked("POST", f"/v1/rollouts/42/{verb}") == [{"note": "why"}]


@pytest.mark.parametrize("line", ["switch v2", "rollback", "restart", "start", "stop", "contract"])
def test_every_rollout_takes_a_note(reld, line):
    reld.answer("POST", "/v1/rollouts", {"id": None, "already": True, "message": "so already"})
    assert main([*line.split(), "--note", "why"]) == 0
    assert reld.asked("POST", "/v1/rollouts")[0]["options"] == {"note": "why"}


def test_mend_takes_a_note(reld):
    reld.answer("POST", "/v1/mend", {"mended": False, "message": "nothing to mend"})
    assert main(["mend", "--note", "disk changed"]) == 0
    assert reld.asked("POST", "/v1/mend") == [{"note": "disk changed"}]


def test_the_status_says_what_to_type_when_it_waits_for_an_approver(reld, capsys):
    reld.status = rolling()
    reld.status["rollout"] |= {"approval": "awaited", "waiting": "an approver: relctl approve 42"}
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert "waiting  an approver: relctl approve 42" in out
    assert "next: relctl approve 42 (another person) · relctl abort 42" in out
