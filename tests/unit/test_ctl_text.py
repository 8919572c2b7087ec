from __future__ import annotations

import pytest

from relctl import measured, receipt, rollouts, status, text
from tests.fakes import api


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.42, "0.4 s"),
        (12.3, "12 s"),
        (60, "1 min"),
        (72, "1 min 12 s"),
        (7500, "2 h 5 min"),
        (273600, "3 d 4 h"),
        (-1, "0 s"),
    ],
)
def test_durations_read_like_words(seconds, shown):
    assert text.duration(seconds) == shown


def test_control_characters_of_others_never_reach_the_terminal():
    assert "\x1b" not in text.clean("a\x1b[2Jb\nc")


def test_times_may_be_rfc_3339_or_numbers():
    assert text.epoch("2026-11-23T11:00:00.000Z") == text.epoch(1795431600)
    assert text.epoch("yesterday") is None


def test_columns_are_aligned():
    assert text.table(("A", "B"), [("long", 1), ("x", 2)]) == ["A     B", "long  1", "x     2"]


def test_a_status_with_a_rollout_says_what_to_type_next():
    shown = "\n".join(status.lines(api.rolling(paused=True, waiting="for 120 requests")))
    assert "v1 (blue)" in shown
    assert "42 switch v1 → v2 by alice: shifting, 25 %, paused, about 1 min 12 s left" in shown
    assert "for 120 requests" in shown
    assert "next: relctl watch 42 · relctl resume · relctl abort 42" in shown


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({}, None),
        ({"degraded": "no disk"}, "no disk"),
        ({"live": None}, "nothing is live"),
        ({"slots": {"blue": {"instances": [api.instance(state="unready")]}}}, "ready"),
        ({"slots": {"blue": {"state": "external", "instances": []}}}, None),
    ],
)
def test_check_names_the_trouble(changed, word):
    why = status.trouble(api.status(**changed))
    assert why is None if word is None else word in (why or "")


def test_an_adopted_instance_is_called_so():
    adopted = {"blue": {"release": "v1", "instances": [api.instance(adopted=True)]}}
    rows = [line for line in status.lines(api.status(slots=adopted)) if "ready, adopted" in line]
    assert len(rows) == 1


def test_a_status_with_nothing_in_it_is_still_shown():
    assert status.lines({"slots": {"blue": None}})


def test_a_status_shows_the_verdict_and_the_steps_that_were_skipped():
    known = "no failure in 212 requests: error rate below 1.4 % with 95 % confidence"
    now = api.rolling(verdict="fine", evidence=api.evidence(known=known), skipped=[1, 5])
    shown = status.lines(now)
    assert f"verdict  fine: {known}; evidence 0 %" in shown
    assert "skipped  1 %, 5 %: too few requests to show anything" in shown


def test_a_status_shows_traffic_and_resources_in_aligned_columns():
    now = api.rolling()
    now["slots"]["blue"] |= api.measured()
    now["slots"]["green"] |= api.measured(
        rate=None, errors=0.5, p99=12_000.0, cpu_percent=None, warning="memory grows: 9 MB/min"
    )
    shown = status.lines(now)
    at = shown.index("SLOT   REQ/S  FAILED  P50    P95    P99     MEMORY  PER MIN  CPU   FILES")
    assert shown[at + 1 : at + 6] == [
        "blue   40.2   0.1 %   12 ms  80 ms  120 ms  210 MB  +1.2 MB  12 %  43",
        "green  –      50 %    12 ms  80 ms  12.0 s  210 MB  +1.2 MB  –     43",
        "blue peers     127.0.0.1:5432 × 12",
        "green peers    127.0.0.1:5432 × 12",
        "green warning  memory grows: 9 MB/min",
    ]


def test_a_slot_of_which_nothing_is_measured_has_no_row():
    empty = {"traffic": {"rate": None}, "resources": {"peers": None}}
    assert measured.lines({"blue": None, "green": {"state": "empty", **empty}}) == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0, "0 B"),
        (999.9, "1.0 kB"),
        (1.44e9, "1.4 GB"),
        (-3e6, "-3.0 MB"),
        (5e4, "50 kB"),
    ],
)
def test_sizes_have_two_digits_or_so(value, shown):
    assert measured.size(value) == shown


def test_only_the_busiest_peers_are_named():
    peers = {f"10.0.0.1:{port}": port for port in range(1, 7)}
    shown = measured.lines({"blue": api.measured(peers=peers)})
    assert shown[-1].endswith(
        "10.0.0.1:6 × 6, 10.0.0.1:5 × 5, 10.0.0.1:4 × 4, 10.0.0.1:3 × 3, 2 more"
    )


SAID = "v2 failed 7 of 140 requests (5.0 %), v1 3 of 2660 (0.1 %); by chance once in 5300 releases"


def test_the_receipt_of_a_rollback_has_share_reason_shield_and_the_end_of_the_log():
    requests = {
        "blue": {"total": 2660, "errors": 0, "failures": 3, "saved": 0},
        "green": {"total": 140, "errors": 0, "failures": 7, "saved": 7},
    }
    log = [f"line {number}" for number in range(20)]
    found = api.evidence(verdict="worse", sentence=SAID, share=5, errors=1.0, odds=5300.0, log=log)
    account = api.receipt("rolled_back", reason=SAID, evidence=found, requests=requests)
    shown = receipt.lines(account)
    assert f"reason      at 5 %: {SAID}" in shown
    assert "requests    blue 2660, 0 errors · green 140, 0 errors, 7 saved by the shield" in shown
    assert "its log     line 15" in shown
    assert not any(line.startswith("verdict") or "line 14" in line for line in shown)
    full = receipt.full(account)
    assert "its log     line 0" in full
    assert (
        "evidence    worse, 100 % (errors) of what a verdict needs, by chance once in 5300 releases"
    ) in full


def test_the_receipt_says_unproven_with_what_is_known_and_what_was_only_observed():
    found = api.evidence(known="no failure in 3 requests", observed=f"at 5 %: {SAID}")
    shown = receipt.lines(api.receipt(unproven=True, evidence=found, skipped=[5, 25]))
    assert shown[0] == "rollout 42  done, unproven, switch by alice"
    assert "known       no failure in 3 requests" in shown
    assert f"observed    would have gone back at 5 %: {SAID}" in shown
    assert "skipped     5 %, 25 %" in shown


def test_a_receipt_and_a_status_say_what_was_mirrored():
    mirrored = {"share": 0.05, "total": 214, "failures": 1, "p95": 0.08, "live_p95": 1.24}
    shown = receipt.lines(api.receipt(shadow={**mirrored, "reason": None}))
    said = "5 % of the GETs mirrored: 214 copies, 1 failed, 95 % within 80 ms (live 1.2 s)"
    assert f"shadow      {said}" in shown
    assert any(said in line for line in status.lines(api.rolling(shadow=mirrored)))
    quiet = {"share": 0.005, "total": 0, "failures": 0, "reason": "too few requests"}
    shown = receipt.lines(api.receipt(shadow=quiet))
    assert "shadow      0.5 % of the GETs mirrored: 0 copies; too few requests" in shown
    assert not any(line.startswith("shadow") for line in receipt.lines(api.receipt()))


REHEARSED = {
    "release": "v1",
    "at": None,
    "id": 7,
    "outcome": "done",
    "reason": None,
    "seconds_to_ready": 1.24,
    "seconds_to_roll_back": 0.004,
    "longest_request": 2.5,
    "seconds_to_drain": 0.3,
    "seconds_to_stop": None,
    "lost": 0,
    "found": None,
    "advice": ['[rollout] drain = "30s": as it is', '[app] stop_timeout = "10s"'],
}


def test_a_status_and_a_receipt_say_what_was_rehearsed():
    line = next(x for x in status.lines(api.status(rehearsal=REHEARSED)) if "rehearsal" in x)
    assert line.endswith(": done, ready in 1.2 s, back in 4 ms, nothing lost")
    found = REHEARSED | {"outcome": "rolled_back", "reason": "3 requests lost", "lost": 3}
    line = next(
        x for x in status.lines(api.status(rehearsal=found | {"found": False})) if "rehearsal" in x
    )
    assert "rolled back: 3 requests lost, ready in 1.2 s" in line
    assert line.endswith("3 lost, the verdict did not find it")
    own = {"own": {"asked": 90, "failed": 6, "lost": 0}, "fail": True}
    shown = receipt.lines(api.receipt(kind="rehearsal", rehearsal=REHEARSED | own))
    for words in (
        "measured    ready in 1.2 s, back in 4 ms, longest request 2.5 s, drained in 300 ms, nothing",
        "its own     90 requests of reld's own, 6 failed as they were told to",
        'advice      [rollout] drain = "30s": as it is',
        '            [app] stop_timeout = "10s"',
    ):
        assert any(x.startswith(words) for x in shown), shown


def test_without_a_rehearsal_nothing_is_said_of_one():
    lines = [*status.lines(api.status()), *receipt.lines(api.receipt())]
    assert not [x for x in lines if "rehearsal" in x or x.startswith("measured")]


@pytest.mark.parametrize(
    ("outcome", "more", "code"),
    [
        ("done", {}, 0),
        ("done, unproven", {}, 0),
        ("failed", {}, 1),
        ("rolled_back", {}, 3),
        ("aborted", {"moved": True}, 3),
        ("aborted", {"moved": False}, 1),
        ("failed", {"exit": 9}, 9),
        ("done", {"exit": 0}, 0),
    ],
)
def test_the_receipt_decides_the_exit_code(outcome, more, code):
    assert receipt.exit_code(api.receipt(outcome, **more)) == code


@pytest.mark.parametrize(
    ("outcome", "more", "code"),
    [
        ("rolled_back", {"exit": 3}, 0),
        ("aborted", {"moved": True}, 0),
        ("aborted", {"moved": False}, 0),
        ("aborted", {"exit": 9}, 9),
        ("done", {"exit": 0}, 9),
        ("done", {"exit": 0, "kind": "rehearsal"}, 0),
        ("failed", {}, 1),
    ],
)
def test_turning_back_is_done_when_it_went_back(outcome, more, code):
    assert receipt.exit_code_of_turning_back(api.receipt(outcome, **more)) == code


def test_the_receipt_is_a_few_aligned_lines():
    shown = receipt.lines(api.receipt(notes=["systemctl disable --now myapp.service"]))
    assert shown[:2] == ["rollout 42  done, switch by alice", "from → to   v1 → v2"]
    assert "requests    blue 41210, 0 errors · green 12002, 1 error" in shown
    assert "reloads     2" in shown
    assert "drain       31 s, 0 cut" in shown
    assert any(line.startswith("time        15 min 42 s") for line in shown)
    assert shown[-1] == "systemctl disable --now myapp.service"


@pytest.mark.parametrize(
    ("now", "over"),
    [
        (api.rolling("shifting", 95), False),
        (api.rolling("shifting", 100), True),
        (api.rolling("baking", 100), True),
        (api.rolling("reverting", 100), False),
        (api.rolling("draining", 0), False),
        ({**api.rolling("draining", 0), "release": "v2"}, True),
        (api.status(), False),
        (None, False),
    ],
)
def test_shifted_means_all_the_traffic_and_not_on_the_way_back(now, over):
    assert rollouts.shifted(now) is over


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "relctl logs --release v2 · relctl show 42 · once it is mended: relctl switch v2"),
        ({"kind": "restart"}, "relctl logs --release v2 · relctl show 42 · once it is mended: relctl restart"),
        ({"kind": "rehearsal"}, "relctl logs --release v2 · relctl show 42 · once it is mended: relctl rehearse"),
        ({"evidence": {"log": []}}, "relctl show 42 · once it is mended: relctl switch v2"),
        ({"kind": "contract", "to": None}, "relctl show 42 · once it is mended: relctl contract"),
        ({"outcome": "aborted"}, "relctl show 42 · relctl switch v2"),
    ],
)  # fmt: skip
def test_what_did_not_end_well_says_what_to_type_next(changed, said):
    for outcome in ("failed", "rolled_back"):
        account = api.receipt(**({"outcome": outcome} | changed))
        assert f"next        {said}" in receipt.lines(account)
        shown = said.replace("relctl show 42 · ", "")
        assert f"next        {shown}" in receipt.full(account)


def test_what_ended_well_or_runs_has_nothing_to_type_next():
    for outcome in ("done", None):
        shown = receipt.lines(api.receipt(outcome)) + receipt.full(api.receipt(outcome))
        assert not any(line.startswith("next") for line in shown)


def test_requests_are_counted_by_release_where_it_is_known():
    requests = {
        "blue": {"total": 10, "errors": 0, "release": "v1"},
        "green": {"total": 2, "errors": 1, "release": None},
    }
    shown = receipt.lines(api.receipt(requests=requests))
    assert "requests    v1 (blue) 10, 0 errors · green 2, 1 error" in shown


def test_the_log_of_a_receipt_says_nothing_that_the_reason_says_already():
    reason = "v2 exited (exit code 1): 2 × no db\nits last lines:\n  starting\n  3 × wait"
    log = ["starting", "no db"]
    found = {"log": log, "excerpt": ["hello", "starting", "4 × wait", "2 × no db"]}
    shown = receipt.lines(api.receipt("failed", reason=reason, evidence=found))
    assert "its log     hello" in shown
    assert sum("no db" in line for line in shown) == 1
    assert sum("starting" in line for line in shown) == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"can": []}, "relctl switch RELEASE · relctl history"),
        ({"can": ["rollback"]}, "relctl switch RELEASE · relctl rollback · relctl history"),
        ({}, "relctl switch RELEASE · relctl rollback · relctl history"),  # of an older reld
        ({"can": [], "degraded": "x"}, "relctl history · relctl logs"),
        ({"can": ["rollback"], "degraded": "x"}, "relctl history · relctl logs · relctl rollback"),
        ({"can": [], "degraded": "x", "live": None}, "relctl history"),
        ({"can": [], "live": None}, "relctl switch RELEASE"),
        ({"can": ["start"], "live": None}, "relctl switch RELEASE · relctl start"),
    ],
)
def test_the_next_command_of_a_status_is_one_that_reld_would_take(changed, words):
    assert status.lines(api.status(**changed))[-1] == f"next: {words}"


def test_a_rollout_that_ends_by_itself_is_not_offered_to_be_aborted():
    now = {**api.rolling("stopping"), "can": []}
    assert status.lines(now)[-1] == "next: relctl watch 42"
    now = {**api.rolling("shifting"), "can": ["rollback", "pause", "abort"]}
    assert status.lines(now)[-1] == "next: relctl watch 42 · relctl pause · relctl abort 42"
