"""A small run of what `python -m tests.fuzz.api --inputs N` does with many."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz import api, api_inputs


def test_nothing_that_comes_in_breaks_the_api_nor_stays_in_it():
    found = api.run(1500, seed=1)
    assert found.bugs == ()
    assert found.inputs == 1500
    assert found.answers["200"] > 50  # it is not refused as a whole


@pytest.mark.parametrize(
    ("answer", "stranger", "said"),
    [
        (b"HTTP/1.1 500 X\r\n\r\n", False, "answered"),
        (b"HTTP/1.1 200 OK\r\n\r\nTraceback (most recent call last)", False, "the answer holds"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + api_inputs.SECRET.encode(), False, "the answer holds"),
        (b"HTTP/1.1 404 X\r\n\r\n", True, "a stranger is answered 404"),
        (b"HTTP/1.1 400 X\r\nContent-Length: 2\r\n\r\n{}", False, "an error without its body"),
        (b"HTTP/1.1 400 X\r\nContent-Length: 2\r\n\r\n", False, ""),  # the rest did not come
        (b"HTTP/1.1 403 X\r\n\r\n", True, ""),
    ],
)
def test_a_wrong_answer_is_seen(answer, stranger, said):
    word = answer[9:12].decode()
    wrong = api._wrong(answer, word, stranger=stranger)
    assert wrong.startswith(said)
    assert bool(wrong) is bool(said)


def test_an_input_is_the_same_again():
    first, second = (api_inputs.made(Random("api 1.17")) for _ in range(2))
    assert first == second
