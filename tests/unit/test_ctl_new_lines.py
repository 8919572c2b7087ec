"""`relctl logs --new` and the receipt's lines about it."""

from __future__ import annotations

from typing import Any

from relctl import new_lines, receipt
from tests.fakes import api

FOUND: dict[str, Any] = {
    "kinds": 4,
    "lines": 17,
    "top": [
        {"text": "KeyError: 'phone' (traceback, 5 deep)", "count": 12, "level": "error"},
        {"text": "WARNING slow \x1b[2J", "count": 3, "level": "warning"},
        {"text": "starting <n> mailers", "count": 1, "level": ""},
        {"text": "chatter", "count": 1, "level": ""},
    ],
    "known": 5012,
    "thinned": False,
}


def answer(found: Any, **more: Any) -> dict[str, Any]:
    base = {"rollout": 7, "from": "v1", "to": "v2", "outcome": None, "new_lines": found}
    return {**base, "why": None, **more}


def test_the_kinds_are_a_table_with_what_they_were_compared_with():
    assert new_lines.lines(answer(FOUND)) == [
        "rollout 7  v1 → v2, still running",
        "new lines  17, of 4 kinds; compared with 5012 lines of v1",
        "",
        "COUNT  LEVEL    LINE",
        "12     error    KeyError: 'phone' (traceback, 5 deep)",
        "3      warning  WARNING slow  [2J",
        "1               starting <n> mailers",
        "1               chatter",
    ]


def test_more_kinds_than_are_told_and_lines_that_were_not_looked_at_are_said():
    shown = new_lines.lines(answer({**FOUND, "kinds": 9, "thinned": True}, outcome="rolled_back"))
    assert shown[:2] == [
        "rollout 7  v1 → v2, rolled back",
        "new lines  17 at least, of 9 kinds; compared with 5012 lines of v1",
    ]
    assert shown[-1] == "… and 5 more kinds"


def test_nothing_new_and_nothing_known_are_two_answers():
    nothing = {**FOUND, "kinds": 0, "lines": 0, "top": []}
    assert new_lines.lines(answer(nothing))[1:] == [
        "new lines  none: compared with 5012 lines of v1"
    ]
    assert new_lines.lines(answer(None, why="both slots write to one log"))[1:] == [
        "new lines  not known: both slots write to one log"
    ]
    assert new_lines.lines(answer(None))[1:] == ["new lines  not known: it was not looked at"]


def test_a_receipt_has_the_first_few_and_show_all_that_were_kept():
    account = api.receipt(new_lines=FOUND)
    few = "\n".join(receipt.lines(account))
    assert "new lines   17, of 4 kinds\n            12 × KeyError: 'phone'" in few
    assert "chatter" not in few
    assert "1 × chatter" in "\n".join(receipt.full(account))


def test_a_receipt_without_news_has_no_line_about_it():
    for found in (None, {**FOUND, "kinds": 0, "lines": 0, "top": []}):
        assert "new lines" not in "\n".join(receipt.full(api.receipt(new_lines=found)))
    assert "new lines" not in "\n".join(receipt.full(api.receipt()))
