"""Every command against every kind of answer: what is sent, what is printed, what it ends with."""

from __future__ import annotations

import json
import os
import shlex

import pytest

from relctl import find
from relctl.__main__ import main
from relctl.text import local
from tests.fakes import api
from tests.fakes.api import event, fake_reld, phase, progress, receipt, result, rolling, status


@pytest.fixture
def reld(monkeypatch):
    with fake_reld() as fake:
        monkeypatch.setenv("RELCTL_SOCKET", fake.path)
        monkeypatch.delenv("RELCTL_APP", raising=False)
        yield fake


STARTING = ["switch v2", "deploy v2", "rollback", "restart", "start", "stop", "contract", "eject"]
STEERING = ["pause", "resume", "promote", "abort"]
LOOKING = ["status", "history", "show 7", "logs", "logs --new", "releases"]


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("line", STARTING)
def test_a_rollout_that_ends_done_is_zero_with_its_receipt_at_the_end(reld, capsys, line):
    kind = line.split()[0]
    reld.rollout(42, [phase("starting"), phase("shifting", 25), result(kind=kind)], kind=kind)
    assert main(line.split()) == 0
    out = capsys.readouterr().out
    assert "2026-11-23T11:00:00.123Z starting begins" in out
    assert "requests    blue 41210, 0 errors · green 12002, 1 error" in out


@pytest.mark.parametrize("line", STARTING)
def test_in_json_every_line_is_an_object_and_the_last_is_the_receipt(reld, capsys, line):
    kind = line.split()[0]
    reld.rollout(42, [phase("starting"), progress(), result(kind=kind)], kind=kind)
    assert main([*line.split(), "--json"]) == 0
    said = capsys.readouterr()
    assert objects(said.out)[-1] == receipt(kind=kind)
    assert objects(said.out)[0]["id"] == 42
    assert said.err == ""


@pytest.mark.parametrize(
    ("outcome", "more", "code"),
    [
        ("failed", {}, 1),
        ("rolled_back", {}, 3),
        ("aborted", {"moved": True}, 3),
        ("aborted", {"moved": False}, 1),
        ("failed", {"exit": 9}, 9),
    ],
)
@pytest.mark.parametrize("line", ["switch v2", "restart", "watch 42"])
def test_the_outcome_is_the_exit_code(reld, line, outcome, more, code):
    reld.rollout(42, [result(outcome, **more)])
    assert main(line.split()) == code


@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize(("code", "exit_code"), [("refused", 1), ("busy", 6), ("config", 8)])
@pytest.mark.parametrize("line", STARTING)
def test_a_refusal_is_passed_on_with_its_exit_code(reld, capsys, line, code, exit_code, flags):
    reld.refuse("POST", "/v1/rollouts", code, exit_code)
    assert main([*line.split(), *flags]) == exit_code
    said = capsys.readouterr()
    if flags:
        assert [found["error"]["exit"] for found in objects(said.out)] == [exit_code]
        assert said.err == ""
    else:
        assert said.out == ""
        assert said.err == f"relctl: cannot: {code}\n  next: do this\n"


@pytest.mark.parametrize("line", STARTING)
def test_what_is_so_already_is_a_success(reld, capsys, line):
    answer = {"id": None, "already": True, "message": "v2 is already live"}
    reld.answer("POST", "/v1/rollouts", answer)
    assert main(line.split()) == 0
    assert capsys.readouterr().out == "v2 is already live\n"
    assert main([*line.split(), "--json"]) == 0
    assert objects(capsys.readouterr().out) == [answer]


def test_every_option_of_switch_reaches_reld_in_seconds(reld):
    reld.rollout(42, [result()])
    line = (
        "switch v2 --steps 5,100 --step-time 1m --step-max 10m --step-requests 0 --bake 0 "
        "--drain 30s --drain-max 5m --supersede"
    )
    assert main([*line.split(), "--reason", "hot fix"]) == 0
    assert reld.asked("POST", "/v1/rollouts") == [
        {
            "kind": "switch",
            "release": "v2",
            "options": {
                "steps": [5, 100],
                "step_time": 60.0,
                "step_max": 600.0,
                "step_requests": 0,
                "bake": 0.0,
                "drain": 30.0,
                "drain_max": 300.0,
                "supersede": True,
                "reason": "hot fix",
            },
        }
    ]


def test_now_is_sent_as_now(reld):
    reld.rollout(42, [result()])
    assert main(["switch", "v2", "--now"]) == 0
    assert reld.asked("POST", "/v1/rollouts")[0]["options"] == {"now": True}


def test_a_switch_first_says_how_long_it_will_take(reld, capsys):
    reld.rollout(42, [result()])
    main(["switch", "v2"])
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith("rollout 42: switch v1 → v2, 5 → 25 → 100 %, about 15 min 30 s")


def test_no_wait_prints_the_number_alone_and_leaves(reld, capsys):
    reld.rollout(42, [])
    assert main(["switch", "v2", "--no-wait"]) == 0
    said = capsys.readouterr()
    assert said.out == "42\n"
    assert "relctl watch 42" in said.err
    assert main(["switch", "v2", "--no-wait", "--json"]) == 0
    assert objects(capsys.readouterr().out)[0]["id"] == 42


def test_dry_run_prints_the_plan_and_follows_nothing(reld, capsys):
    reld.answer("POST", "/v1/rollouts", {**api.accepted(), "id": None})
    assert main(["switch", "v2", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "switch v1 → v2, 5 → 25 → 100 %, about 15 min 30 s",
        "start v2 on green",
        "then 5, 25, 100 %",
    ]
    assert reld.asked("POST", "/v1/rollouts")[0]["options"] == {"dry_run": True}


def test_until_shifted_leaves_at_100_percent_with_the_account_so_far(reld, capsys):
    reld.rollout(42, [progress(percent=95), phase("baking", 100), api.HANG])
    reld.answer("GET", "/v1/rollouts/42", receipt(outcome=None))
    assert main(["switch", "v2", "--until", "shifted", "--json"]) == 0
    assert objects(capsys.readouterr().out)[-1]["outcome"] is None


def test_until_shifted_still_ends_with_3_when_it_goes_back(reld):
    reld.rollout(42, [phase("reverting", 100), phase("draining", 0), result("rolled_back")])
    assert main(["switch", "v2", "--until", "shifted"]) == 3


def test_a_timeout_is_7_and_the_rollout_goes_on(reld, capsys):
    reld.rollout(42, [progress(), api.HANG])
    assert main(["switch", "v2", "--timeout", "200ms"]) == 7
    assert "still running: relctl watch 42" in capsys.readouterr().err
    assert main(["watch", "--timeout", "100ms", "42", "--json"]) == 7
    last = objects(capsys.readouterr().out)[-1]["error"]
    assert (last["exit"], last["rollout"]) == (7, 42)


def test_wait_lock_waits_and_asks_again(reld, capsys):
    reld.refuse("POST", "/v1/rollouts", "busy", 6)
    reld.rollout(43, [result()])
    assert main(["switch", "--wait-lock", "v2"]) == 0
    assert len(reld.asked("POST", "/v1/rollouts")) == 2
    assert "waiting: cannot: busy" in capsys.readouterr().err


def test_wait_lock_with_a_duration_gives_up_with_6(reld, capsys):
    reld.status = rolling()
    reld.refuse("POST", "/v1/rollouts", "busy", 6)
    assert main(["switch", "v2", "--wait-lock=100ms"]) == 6
    assert "waited for 0.1 s" in capsys.readouterr().err
    assert len(reld.asked("POST", "/v1/rollouts")) == 1


def test_rollback_says_from_to_and_instantly(reld, capsys):
    reld.answer(
        "POST",
        "/v1/rollouts",
        {**api.accepted(**{"from": "v2", "to": "v1", "instant": True}), "attached": True},
    )
    reld.stream("/v1/events", [result("aborted", moved=True, exit=3)])
    assert main(["rollback", "--reason", "bad"]) == 0
    assert "v2 → v1, instantly" in capsys.readouterr().out.splitlines()[0]
    assert reld.asked("POST", "/v1/rollouts")[0]["release"] is None


def test_rollback_says_that_it_boots_first(reld, capsys):
    reld.rollout(42, [result(kind="rollback")], kind="rollback", seconds=12)
    assert main(["rollback", "v0", "--force"]) == 0
    assert "boots first, about 12 s" in capsys.readouterr().out.splitlines()[0]
    assert reld.asked("POST", "/v1/rollouts")[0]["options"] == {"force": True}


def test_a_rollback_of_its_own_that_itself_went_back_is_3(reld):
    reld.rollout(42, [result("rolled_back", kind="rollback")], kind="rollback")
    assert main(["rollback"]) == 3


@pytest.mark.parametrize("line", STEERING)
def test_steering_finds_the_running_rollout(reld, capsys, line):
    reld.status = rolling()
    reld.answer("POST", f"/v1/rollouts/42/{line}", {"id": 42, "message": f"{line}: as you say"})
    assert main([line]) == 0
    assert capsys.readouterr().out == f"{line}: as you say\n"
    assert main([line, "42", "--json"]) == 0
    assert objects(capsys.readouterr().out)[0]["id"] == 42


def test_promote_full_and_reasons_are_sent(reld):
    for verb in ("promote", "abort"):
        reld.answer("POST", f"/v1/rollouts/42/{verb}", {"id": 42, "message": "ok"})
    main(["promote", "42", "--full"])
    main(["abort", "42", "--reason", "slow"])
    assert reld.asked("POST", "/v1/rollouts/42/promote") == [{"full": True}]
    assert reld.asked("POST", "/v1/rollouts/42/abort") == [{"reason": "slow"}]


@pytest.mark.parametrize("line", STEERING)
def test_steering_nothing_is_refused(reld, capsys, line):
    assert main([line]) == 1
    assert f"cannot {line}: no rollout is running" in capsys.readouterr().err


@pytest.mark.parametrize("line", STEERING)
def test_steering_that_reld_refuses_keeps_its_exit_code(reld, line):
    reld.refuse("POST", f"/v1/rollouts/42/{line}", "not-permitted", 4, 403)
    assert main([line, "42"]) == 4


def test_watch_follows_the_running_rollout(reld):
    reld.status = rolling()
    reld.stream("/v1/events", [result("rolled_back")])
    assert main(["watch"]) == 3
    assert reld.asked("GET", "/v1/events") == [{"rollout": "42"}]


def test_history_is_a_table(reld, capsys):
    reld.answer("GET", "/v1/rollouts", {"rollouts": [receipt("rolled_back", reason="5xx")]})
    assert main(["history", "-n", "5"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["ID", "KIND"]
    assert "v1 → v2" in row
    assert "rolled back" in row
    assert "15 min 42 s" in row
    assert reld.asked("GET", "/v1/rollouts") == [{"limit": "5"}]


def test_releases_are_a_table(reld, capsys):
    release = {"release": "v2", "live": True, "slot": "green", "good": True, "sealed": False}
    reld.answer("GET", "/v1/releases", {"releases": [release]})
    assert main(["releases"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["v2", "green", "live", "–", "–"]


def test_releases_that_are_not_complete_say_so(reld, capsys):
    release = {"release": "v2", "live": False, "slot": None, "good": False, "sealed": False}
    reld.answer("GET", "/v1/releases", {"releases": [release | {"incomplete": "being built"}]})
    assert main(["releases"]) == 0
    assert "being built" in capsys.readouterr().out


def test_releases_tell_when_they_were_unpacked(reld, capsys):
    made = "2026-11-23T20:40:00.000Z"
    release = {"release": "v2", "live": False, "slot": None, "good": False, "sealed": False}
    reld.answer("GET", "/v1/releases", {"releases": [release | {"unpacked": made}]})
    assert main(["releases"]) == 0
    assert local(made) in capsys.readouterr().out


def test_show_has_the_evidence_and_the_phases(reld, capsys):
    reld.answer("GET", "/v1/rollouts/7", receipt(evidence={"why": "p95", "rates": [1, 2]}))
    assert main(["show", "7"]) == 0
    out = capsys.readouterr().out
    assert "evidence why    p95" in out
    assert "baking     10 min" in out


def test_logs_name_the_slot_unless_it_was_asked_for(reld, capsys):
    reld.stream("/v1/logs", [{"release": "v1", "slot": "blue", "line": "héllo"}])
    assert main(["logs"]) == 0
    assert main(["logs", "blue", "-n", "3", "--release", "v1"]) == 0
    assert capsys.readouterr().out == "blue v1 | héllo\nhéllo\n"
    assert reld.asked("GET", "/v1/logs")[1] == {"slot": "blue", "lines": "3", "release": "v1"}


def test_status_is_zero_even_where_something_is_wrong_and_check_is_not(reld, capsys):
    assert main(["status"]) == 0
    assert main(["status", "--check"]) == 0
    reld.status = status(degraded="the disk is full")
    assert main(["status"]) == 0
    assert main(["status", "--check"]) == 3
    assert "check: the disk is full" in capsys.readouterr().err
    assert main(["status", "--check", "--json"]) == 3
    said = capsys.readouterr()
    assert objects(said.out) == [reld.status]
    assert said.err == ""


@pytest.mark.parametrize("line", LOOKING)
def test_looking_in_json_is_one_object_per_line_and_nothing_else(reld, capsys, line):
    reld.answer("GET", "/v1/rollouts", {"rollouts": []})
    reld.answer("GET", "/v1/rollouts/7", receipt())
    reld.answer("GET", "/v1/releases", {"releases": []})
    reld.stream("/v1/logs", [{"release": "v1", "slot": "blue", "line": "x"}])
    reld.answer("GET", "/v1/logs/new", {"rollout": 7, "new_lines": None})
    assert main([*line.split(), "--json"]) == 0
    said = capsys.readouterr()
    assert len(objects(said.out)) == 1
    assert said.err == ""


def test_rollback_without_reld_names_the_way_without_reld(capsys, tmp_path):
    main(["rollback", "--socket", str(tmp_path / "web" / "control.sock")])
    assert "relctl rollback --offline" in capsys.readouterr().err


def test_several_apps_are_listed(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("RELCTL_SOCKET", raising=False)
    monkeypatch.setattr(find, "RUN", str(tmp_path))
    for app in ("shop", "web"):
        (tmp_path / app).mkdir()
        (tmp_path / app / "control.sock").touch()
    assert main(["status"]) == 2
    assert "there are shop, web" in capsys.readouterr().err


def test_no_app_at_all_is_5(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("RELCTL_SOCKET", raising=False)
    monkeypatch.setattr(find, "RUN", str(tmp_path))
    monkeypatch.setattr(find, "ETC", str(tmp_path))
    (tmp_path / "shop.toml").touch()
    assert main(["history"]) == 5
    assert "systemctl start reld@shop" in capsys.readouterr().err


def test_the_only_app_is_found(monkeypatch, reld):
    monkeypatch.delenv("RELCTL_SOCKET")
    monkeypatch.setattr(find, "RUN", os.path.dirname(reld.directory))
    assert main(["status"]) == 0
    assert main(["--app", "web", "history", "--app", "nope"]) == 5
    assert main(["--app", "web", "status"]) == 0
    monkeypatch.setenv("RELCTL_APP", "web")
    assert main(["pause"]) == 1


@pytest.mark.parametrize(
    "line",
    [
        "switch",
        "switch ../x",
        "switch -- -x",
        "switch .",
        "switch v2 --bake soon",
        "switch v2 --steps 100,5",
        "switch v2 --now --steps 5,100",
        "rollback ../x",
        "rollback v1 --offline",
        "show x",
        "logs red",
        "logs blue --new",
        "logs --new red",
        "nonsense",
        "status --nonsense",
        "status extra",
        "status --app ../x --socket=",
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_usage_is_2_and_nothing_is_sent(reld, capsys, line, flags):
    assert main([*flags, *line.split()]) == 2
    said = capsys.readouterr()
    assert reld.requests == []
    if flags:
        assert objects(said.out)[0]["error"]["exit"] == 2
    else:
        assert said.err.startswith("relctl: ")
        assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "line", ["--help", "rollback --help", "switch -h", "status --help", "abort --help"]
)
def test_help_is_help(reld, capsys, line):
    assert main(line.split()) == 0
    assert "Usage: relctl" in capsys.readouterr().out
    assert reld.requests == []


def test_version_names_both(reld, capsys):
    assert main(["version", "--json"]) == 0
    assert objects(capsys.readouterr().out)[0]["reld"] == "9.9"


def test_version_needs_no_reld(capsys, tmp_path):
    assert main(["version", "--socket", str(tmp_path / "control.sock"), "--json"]) == 0
    assert objects(capsys.readouterr().out)[0]["reld"] is None


def test_an_answer_that_is_no_json_is_5_without_a_traceback(reld, capsys):
    reld.answer("GET", "/v1/status", b"<html>")
    assert main(["status"]) == 5
    assert "does not speak" in capsys.readouterr().err


def test_an_error_that_is_no_json_is_still_an_error(reld):
    reld.answer("GET", "/v1/rollouts/7", b"<html>", 500)
    assert main(["show", "7"]) == 70
    reld.answer("GET", "/v1/rollouts/8", b"<html>", 403)
    assert main(["show", "8"]) == 4


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_bug_is_70_one_line_and_how_to_report_it(reld, capsys, flags, monkeypatch):
    def broken(*_args, **_more):
        raise KeyError("boom\nboom")

    monkeypatch.setattr("relctl.quick.run", broken)
    assert main(["status", *flags]) == 70
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    if flags:
        assert objects(said.out)[0]["error"]["code"] == "bug"
    else:
        assert len(said.err.splitlines()) == 2
        assert "report this line" in said.err


def test_offline_moves_the_lanes_without_a_reld(capsys, tmp_path):
    lanes = tmp_path / "web" / "lanes" / "41"
    (lanes / "000").mkdir(parents=True)
    (lanes / "025").mkdir()
    (lanes / "current").symlink_to("025")
    (lanes / "back").symlink_to("000")
    where = ["--socket", str(tmp_path / "web" / "control.sock")]
    assert main(["rollback", "--offline", *where]) == 0
    said = capsys.readouterr()
    assert said.out == "rollout 41: 25 % → 0 %, all traffic goes to the live slot\n"
    assert "goes on with the revert: sudo systemctl start reld@web" in said.err
    assert os.readlink(lanes / "current") == "000"
    assert main(["rollback", "--offline", "--json", *where]) == 0
    assert objects(capsys.readouterr().out) == [{"rollout": 41, "from": "0", "to": "0"}]


def test_offline_without_lanes_is_1(capsys, tmp_path):
    assert main(["rollback", "--offline", "--socket", str(tmp_path / "web" / "control.sock")]) == 1
    assert "cannot go back offline: there is no rollout" in capsys.readouterr().err


def test_a_restart_of_reld_is_bridged_quietly(reld, capsys):
    reld.rollout(42, [progress(), api.RESTART])
    reld.stream("/v1/events", [progress(), api.DROP])
    reld.stream("/v1/events", [event("status", status=rolling()), result()])
    assert main(["switch", "v2"]) == 0
    assert capsys.readouterr().err.count("reld is restarting, rollout 42 continues") == 2


def test_a_reld_that_stays_away_is_5_and_says_how_to_come_back(reld, capsys, monkeypatch):
    monkeypatch.setattr("relctl.follow.GRACE", 0.5)
    reld.away = 1.5
    reld.rollout(42, [progress(), api.RESTART])
    assert main(["switch", "v2", "--json"]) == 5
    error = objects(capsys.readouterr().out)[-1]["error"]
    assert error["rollout"] == 42
    assert "relctl watch 42" in error["hint"]


def test_a_reld_that_falls_silent_counts_as_away(reld, monkeypatch):
    monkeypatch.setattr("relctl.follow.SILENCE", 0.2)
    reld.rollout(42, [progress(), api.HANG])
    reld.stream("/v1/events", [result()])
    assert main(["switch", "v2"]) == 0


REPLAYED = {
    "id": 7,
    "seconds": 940,
    "outcome": "done",
    "found": {
        "seconds": 72,
        "share": 5,
        "verdict": "worse",
        "sentence": "v2 failed 7 of 140 requests",
        "odds": 120.0,
    },
    "settings": {"false_alarm": 0.01, "max_error_rate": 0.05, "max_p95": 0.8, "warmup": 30.0},
}


def test_a_replay_sends_what_is_asked_and_shows_what_is_found(reld, capsys):
    reld.answer("POST", "/v1/rollouts/7/replay", REPLAYED)
    settings = "--false-alarm 1/100 --max-error-rate 5% --max-p95 800ms --warmup 30s"
    assert main(["replay", "7", *settings.split()]) == 0
    assert reld.asked("POST", "/v1/rollouts/7/replay") == [
        {"false_alarm": 0.01, "max_error_rate": 0.05, "max_p95": 0.8, "warmup": 30.0}
    ]
    assert capsys.readouterr().out.splitlines() == [
        "rollout 7  done then, watched for 15 min 40 s",
        "judged by  false alarm 1/100, max error rate 5 %, max p95 800 ms, warmup 30 s",
        "now        worse after 1 min 12 s at 5 %: v2 failed 7 of 140 requests",
    ]


def test_a_replay_that_finds_nothing_says_so(reld, capsys):
    reld.answer("POST", "/v1/rollouts/7/replay", {**REPLAYED, "found": None})
    assert main(["replay", "7"]) == 0
    assert reld.asked("POST", "/v1/rollouts/7/replay") == [{}]
    assert "now        nothing is found against it" in capsys.readouterr().out
    assert main(["replay", "7", "--json"]) == 0
    assert objects(capsys.readouterr().out) == [{**REPLAYED, "found": None}]


@pytest.mark.parametrize("line", ["replay", "replay 0", "replay 7 --false-alarm often"])
def test_a_replay_that_is_mistyped_is_2(reld, line):
    assert main(line.split()) == 2
    assert reld.requests == []


def test_observe_is_sent_as_an_option(reld):
    reld.rollout(42, [result()])
    assert main(["switch", "v2", "--observe"]) == 0
    assert reld.asked("POST", "/v1/rollouts")[0]["options"] == {"observe": True}


def test_what_the_watch_can_find_is_said_before_anything_else_happens(reld, capsys):
    promise = "will notice 2 % errors with 95 % probability after about 20 failed requests"
    reld.rollout(42, [phase("starting"), result()], watch=[promise, "skips 5 %"])
    assert main(["switch", "v2"]) == 0
    said = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()]
    assert said[1:4] == [promise, "skips 5 %", "starting begins"]
    assert main(["switch", "v2", "--no-wait"]) == 0
    told = capsys.readouterr()
    assert told.out == "42\n"
    assert promise in told.err


def test_eject_says_where_and_shows_what_is_left_to_type(reld, capsys):
    left = [
        "change back in the site's nginx: proxy_pass http://127.0.0.1:8080 -> http://127.0.0.1:9000"
    ]
    reld.rollout(42, [result(kind="eject", notes=left)], kind="eject")
    assert main(["eject", "--port", "9000", "--unit", "shop"]) == 0
    asked = {"kind": "eject", "release": None, "options": {"port": 9000, "unit": "shop"}}
    assert reld.asked("POST", "/v1/rollouts") == [asked]
    assert left[0] in capsys.readouterr().out
    assert main(["eject", "--port", "0"]) == 2


def test_show_without_a_number_is_the_last_rollout_and_says_which(reld, capsys):
    reld.answer("GET", "/v1/rollouts", {"rollouts": [receipt()]})
    reld.answer("GET", "/v1/rollouts/42", receipt())
    assert main(["show"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("rollout 42")
    assert said.err == "the last rollout of web: 42\n"
    assert reld.asked("GET", "/v1/rollouts") == [{"limit": "1"}]
    assert main(["show", "--json"]) == 0
    said = capsys.readouterr()
    assert (objects(said.out), said.err) == ([receipt()], "")


def test_show_where_nothing_was_rolled_out_says_what_to_type(reld, capsys):
    reld.answer("GET", "/v1/rollouts", {"rollouts": []})
    assert main(["show"]) == 1
    assert capsys.readouterr().err == (
        "relctl: cannot show the last rollout: no rollout so far\n  next: relctl switch RELEASE\n"
    )


def test_logs_that_are_empty_say_so_beside_the_data(reld, capsys):
    reld.stream("/v1/logs", [])
    assert main(["logs"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "nothing is written there so far: relctl logs --release RELEASE\n"
    assert main(["logs", "--json"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("line", ["switch v2 --now --note 'a b'", "plan v2", "restart"])
def test_a_broken_config_names_the_check_and_the_command_to_repeat(reld, capsys, line):
    wrong = (
        "/etc/relctl/web.toml:3: app.comand: no such key\n/etc/relctl/web.toml:7: expected a number"
    )
    error = {"code": "config-invalid", "exit": 8, "message": wrong, "hint": ""}
    for path in ("/v1/rollouts", "/v1/plan"):
        reld.answer("POST", path, {"error": error}, 409)
    assert main(shlex.split(line)) == 8
    assert capsys.readouterr().err == (
        f"relctl: {wrong}\n"
        f"  next: correct it, relctl check tells whether it is right; then again: relctl {line}\n"
    )
    assert main([*shlex.split(line), "--json"]) == 8
    hint = objects(capsys.readouterr().out)[0]["error"]["hint"]
    assert hint.endswith(f"then again: relctl {line} --json")


def test_a_watch_in_a_pipe_begins_with_what_is_so(reld, capsys):
    reld.status = rolling()
    reld.stream("/v1/events", [event("status", status=rolling()), phase("baking", 100), result()])
    assert main(["watch"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == (
        "2026-11-23T11:00:00.123Z rollout 42 switch v1 → v2 by alice: shifting, 25 %, "
        "about 1 min 12 s left"
    )
    assert second.endswith("baking begins")


def test_a_watch_at_rest_begins_with_what_is_live(reld, capsys):
    first = {**event("status", status=status()), "rollout": None}
    reld.stream("/v1/events", [first, {**event("instance", "one is ready"), "rollout": None}])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relctl.follow.GRACE", 0.0)
        assert main(["watch"]) == 5
        assert capsys.readouterr().out.splitlines()[0].endswith("Z v1 (blue) is live")
        assert main(["watch", "--json"]) == 5
    assert objects(capsys.readouterr().out)[0] == first


def test_a_switch_and_a_watch_of_what_is_over_are_not_told_what_is_so(reld, capsys):
    reld.rollout(42, [event("status", status=rolling("preparing")), result()])
    assert main(["switch", "v2"]) == 0
    assert "preparing" not in capsys.readouterr().out.partition("rollout 42  ")[0]
    reld.stream("/v1/events", [event("status", status=status()), result()])
    assert main(["watch", "42"]) == 0
    assert "is live" not in capsys.readouterr().out
