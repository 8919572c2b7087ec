"""How the modules of the collection understand relctl: each exit code, each end of a rollout."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relctl.errors import CtlError
from tests.collection import part

answers = part("module_utils/answers")


def refused(code: int, word: str, message: str, hint: str) -> dict[str, Any]:
    """The result for an error as relctl itself writes it."""
    said = json.dumps(CtlError(message, code, word, hint).as_json())
    return dict(answers.refusal(code, said + "\n", ""))


def receipt(outcome: str | None, **more: Any) -> dict[str, Any]:
    counted = {"total": 100, "errors": 0, "failures": 0, "saved": 0}
    return {
        "id": 7,
        "kind": "switch",
        "from": "v1",
        "to": "v2",
        "outcome": outcome,
        "reason": "",
        "summary": "the summary",
        "moved": True,
        "requests": {"blue": counted, "green": counted},
        "turned_away": 0,
        "drain": {"seconds": 0.3, "cut": 0},
        "seconds": 12.5,
        **more,
    }


@pytest.mark.parametrize(
    ("code", "word", "message", "hint", "told"),
    [
        (
            *(1, "refused", "cannot rollback: no earlier good release is known", "relctl releases"),
            "cannot rollback: no earlier good release is known; next: relctl releases",
        ),
        (
            *(2, "usage", "no such option: --bakee", "relctl switch --help"),
            "no such option: --bakee; next: relctl switch --help",
        ),
        (
            *(4, "not-permitted", "cannot use it", "sudo adduser anna relctl and log in again"),
            (
                "cannot use it; next: sudo adduser anna relctl and log in again; "
                "in a play: meta: reset_connection, which logs in again"
            ),
        ),
        (
            4,
            "not-permitted",
            "anna may not",
            "ask an operator",
            "anna may not; next: ask an operator",
        ),
        (
            *(5, "unreachable", "cannot reach reld@web", "sudo systemctl start reld@web"),
            "cannot reach reld@web; next: sudo systemctl start reld@web",
        ),
        (
            *(6, "busy", "rollout 3 (v2) is baking", "relctl watch 3, or add --wait-lock"),
            "rollout 3 (v2) is baking; next: relctl watch 3, or wait_lock in the task",
        ),
        (
            *(8, "config-invalid", "web.toml:3: no such key", ""),
            "web.toml:3: no such key; next: correct the config, then run the play again",
        ),
        (
            *(9, "needs-operator", "slot green is locked", "relctl status"),
            "slot green is locked; next: relctl status",
        ),
        (70, "bug", "a bug in relctl", "", "a bug in relctl"),
        (130, "detached", "detached before it had answered", "", "detached before it had answered"),
    ],
)
def test_a_refusal_is_a_failure_that_moved_nothing_and_says_what_to_type(
    code: int, word: str, message: str, hint: str, told: str
) -> None:
    result = refused(code, word, message, hint)
    assert result["msg"] == told
    assert (result["failed"], result["changed"], result["outcome"]) == (True, False, "failed")
    assert (result["rc"], result["code"]) == (code, word)


@pytest.mark.parametrize(
    ("outcome", "moved", "failed", "changed", "told"),
    [
        ("done", True, False, True, "done"),
        ("done, unproven", True, False, True, "done"),
        ("failed", False, True, False, "failed"),
        ("rolled_back", True, True, True, "rolled_back"),
        ("aborted", True, True, True, "aborted"),
        ("aborted", False, True, False, "aborted"),
    ],
)
def test_the_end_of_a_rollout_is_changed_only_if_traffic_moved(
    outcome: str, moved: bool, failed: bool, changed: bool, told: str
) -> None:
    result = answers.ended(receipt(outcome, moved=moved))
    assert (result["failed"], result["changed"], result["outcome"]) == (failed, changed, told)
    assert (result["id"], result["from"], result["seconds"]) == (7, "v1", 12.5)


def test_a_rollout_that_went_back_says_the_sentence_of_the_verdict_and_nothing_else() -> None:
    sentence = "v2 failed 11 of 13 requests (85 %), v1 none of 416"
    assert answers.ended(receipt("rolled_back", reason=sentence))["msg"] == sentence


def test_a_reason_with_a_hint_says_what_to_do_next_on_the_same_line() -> None:
    why = "release v9 is not there\nhint: put it there"
    assert answers.ended(receipt("failed", reason=why))["msg"] == (
        "release v9 is not there; next: put it there"
    )


def test_a_rollout_that_is_done_is_told_in_the_words_of_its_receipt() -> None:
    assert answers.ended(receipt("done"))["msg"] == "the summary"


def test_lost_requests_are_errors_of_both_slots_what_was_turned_away_and_what_was_cut() -> None:
    slots = {"blue": {"errors": 2}, "green": {"errors": 3}}
    told = receipt("done", requests=slots, turned_away=5, drain={"cut": 7})
    assert answers.ended(told)["lost"] == 17


def test_a_receipt_with_nothing_in_it_lost_nothing() -> None:
    assert answers.account({}) == {"lost": 0, "seconds": 0.0, "receipt": {}}


def test_a_rollout_that_was_turned_round_is_a_success_that_names_what_it_went_back_from() -> None:
    turned = answers.turned(answers.ended(receipt("rolled_back", reason="rollback by anna")))
    assert (turned["failed"], turned["changed"], turned["outcome"]) == (False, True, "rolled_back")
    assert (turned["from"], turned["msg"], turned["rc"]) == ("v2", "the summary", 0)


def test_a_rollout_that_was_to_be_turned_round_and_is_done_needs_a_person() -> None:
    turned = answers.turned(answers.ended(receipt("done")))
    assert (turned["failed"], turned["rc"]) == (True, 9)
    assert turned["msg"] == "could not go back: the summary; next: relctl status"


@pytest.mark.parametrize("why", ["rollback by anna", "superseded by v4, root"])
def test_who_is_told_that_somebody_ended_it_is_told_what_that_means(why: str) -> None:
    result = answers.ended(receipt("aborted", reason=why))
    assert result["msg"] == f"v2 did not stay, v1 is back: {why}"


def test_a_rollback_that_brought_the_earlier_release_is_done() -> None:
    result = answers.ended(receipt("done", kind="rollback"))
    assert answers.turned(result) == result


def test_a_wait_that_is_over_is_a_failure_of_the_task_while_the_rollout_goes_on() -> None:
    said = "reld is restarting\nrelctl: rollout 7 is not over after 5 s\n  next: relctl watch 7\n"
    result = answers.left(7, said, receipt(None, moved=False))
    assert result["msg"] == "rollout 7 is not over after 5 s; next: relctl watch 7"
    assert (result["failed"], result["changed"], result["outcome"]) == (True, False, "running")
    assert (result["id"], result["rc"], result["stderr"]) == (7, 7, said)


def test_who_watched_and_was_killed_without_a_word_is_told_how_to_go_on() -> None:
    result = answers.left(-9, "", receipt(None))
    assert result["msg"] == "rollout 7 goes on; next: relctl watch 7"
    assert result["changed"]


def test_a_rollout_that_nobody_can_ask_about_any_more_is_running_and_told_by_its_number() -> None:
    away = refused(5, "unreachable", "cannot reach reld@web", "sudo systemctl start reld@web")
    result = answers.out_of_sight(7, away)
    assert result["msg"] == (
        "lost sight of rollout 7, which goes on or ends by itself: cannot reach reld@web; "
        "next: sudo systemctl start reld@web"
    )
    assert (result["failed"], result["outcome"], result["id"]) == (True, "running", 7)


@pytest.mark.parametrize("out", ["", "half a {", "[1, 2]", "null\n7\n"])
def test_an_answer_that_cannot_be_read_is_handed_on_as_it_is(out: str) -> None:
    err = "Traceback (most recent call last):\n  File x, line 1\nMemoryError: oh no\n\n"
    result = answers.refusal(1, out, err)
    assert result["msg"] == (
        "cannot read what relctl answered (exit code 1): MemoryError: oh no; next: relctl status"
    )
    assert (result["stdout"], result["stderr"]) == (out, err)


def test_what_relctl_says_beside_an_error_is_kept() -> None:
    said = json.dumps({"error": {"code": "busy", "exit": 6, "message": "no", "hint": ""}})
    assert answers.refusal(6, said, "waiting: rollout 3\n")["stderr"] == "waiting: rollout 3\n"


@pytest.mark.parametrize(
    ("plan", "failed", "changed", "told"),
    [
        ({"plan": {"text": ["start v2", "stop v1"]}}, False, True, "start v2; stop v1"),
        ({"already": "v2 is already live"}, False, False, "v2 is already live"),
        ({"attached": "rollout 3 brings v2 already"}, False, True, "rollout 3 brings v2 already"),
        (
            {"stops": [{"exit": 1, "message": "v2 is not there", "hint": "put it there"}]},
            *(True, False, "v2 is not there; next: put it there"),
        ),
    ],
)
def test_a_plan_says_whether_traffic_would_move_and_what_would_stop_it(
    plan: dict[str, Any], failed: bool, changed: bool, told: str
) -> None:
    result = answers.planned(plan)
    assert (result["failed"], result["changed"], result["msg"]) == (failed, changed, told)


def test_a_plan_warns_of_questions_that_are_answered_no_and_not_of_those_that_nobody_knows() -> (
    None
):
    questions = [
        {"name": "side-by-side", "answer": "no", "why": "they cannot"},
        {"name": "gate-drains", "answer": "unknown", "why": "never rehearsed"},
    ]
    told = answers.doubts({"warnings": ["rollout 3 would be ended first"], "questions": questions})
    assert told == ["rollout 3 would be ended first", "side-by-side: they cannot"]
