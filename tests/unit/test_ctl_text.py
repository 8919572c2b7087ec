from __future__ import annotations

import pytest

from relctl import receipt, rollouts, status, text
from relctl.live import live_line
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


def test_a_status_with_nothing_in_it_is_still_shown():
    assert status.lines({"slots": {"blue": None}})


def test_the_live_line_has_phase_share_time_and_instances():
    now = api.rolling()
    assert live_line(now, now["rollout"]) == (
        "> shifting     25 % · 1 min 12 s left · blue 1/1 ready, green 1/1 ready"
    )


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
