"""What a module passes on to relctl."""

from __future__ import annotations

from typing import Any

import pytest

from tests.collection import part

words_of = part("module_utils/words")
options, release = words_of.options, words_of.release


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, []),
        (False, []),
        ("", []),
        ([], []),
        (True, ["--step-time"]),
        (0, ["--step-time=0"]),
        (1, ["--step-time=1"]),
        ("0", ["--step-time=0"]),
        (["5", "approve", "100"], ["--step-time=5,approve,100"]),
        ("-1 $HOME; rm", ["--step-time=-1 $HOME; rm"]),
    ],
)
def test_a_value_is_one_word_with_its_option_and_nothing_is_no_word(
    value: Any, words: list[str]
) -> None:
    assert options({"step_time": value, "bake": "1m"}, "step_time") == words


def test_words_come_in_the_order_that_is_asked_for() -> None:
    given = {"bake": "1m", "now": True, "drain": "2s"}
    assert options(given, "now", "drain", "bake") == ["--now", "--drain=2s", "--bake=1m"]


@pytest.mark.parametrize(
    ("value", "told"), [(None, None), ("v2", "v2"), ("1.10", "1.10"), (2, "2")]
)
def test_a_release_is_passed_on_as_it_was_typed(value: Any, told: str | None) -> None:
    assert release({"from": value}, "from") == told


@pytest.mark.parametrize("value", [1.10, True, "", ["v1"], 0.0])
def test_a_release_that_is_not_what_was_typed_any_more_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="cannot use from: it is "):
        release({"from": value}, "from")
