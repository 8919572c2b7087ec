"""The block at the foot of a terminal: rewritten in place, whatever becomes of the terminal meanwhile."""

from __future__ import annotations

import os

import pytest

from relctl.look import Look
from relctl.screen.painter import Painter
from relctl.screen.pieces import plain
from tests.terminal import Terminal


@pytest.fixture
def terminal():
    with Terminal((40, 10)) as made:
        yield made


def painter(terminal, look=None):
    return Painter(look or Look(), terminal.theirs, terminal.theirs)


def block(*texts):
    return [plain(text) for text in texts]


def test_what_is_drawn_again_takes_the_place_of_what_was_there(terminal):
    paint = painter(terminal)
    for number in range(5):
        paint.draw(block("head", f"number {number}", "foot"))
        terminal.all_written()
        assert terminal.lines == ["head", f"number {number}", "foot"]
    paint.draw(block("less"))
    terminal.all_written()
    assert terminal.lines == ["less"]
    paint.close()


def test_only_what_changed_is_sent(terminal):
    paint = painter(terminal)
    paint.draw(block("a" * 30, "b" * 30, "c" * 30))
    terminal.all_written()
    paint.draw(block("a" * 30, "x", "c" * 30))
    said = terminal.all_written()
    assert b"x" in said
    assert b"a" not in said
    assert b"c" not in said
    paint.draw(block("a" * 30, "x", "c" * 30))
    paint.close()
    assert b"x" not in terminal.all_written()


def test_what_is_told_stays_above_and_goes_out_at_the_top(terminal):
    paint = painter(terminal)
    for number in range(30):
        paint.draw(block("head", f"number {number}", "foot"), [f"told {number}"])
        terminal.all_written()
    assert terminal.all_lines == [*[f"told {n}" for n in range(30)], "head", "number 29", "foot"]
    paint.say(["the end"])
    paint.close()
    terminal.all_written()
    assert terminal.all_lines[-2:] == ["told 29", "the end"]


@pytest.mark.parametrize("told", [0, 3, 30])
def test_a_resize_leaves_nothing_of_older_frames(terminal, told):
    paint = painter(terminal)
    above = [f"told {number}" for number in range(told)]
    paint.draw(block("one", "two", "three"), above)
    terminal.all_written()
    for columns, rows in ((20, 10), (60, 10), (60, 5), (12, 4), (80, 24), (40, 10)):
        terminal.resize((columns, rows))
        lines = [f"{columns} of {row}" for row in range(min(6, rows - 1))]
        paint.draw(block(*lines), size=(columns, rows))
        terminal.all_written()
        assert terminal.all_lines[-len(lines) :] == lines
        kept = terminal.all_lines[: -len(lines)]
        assert kept == above[: len(kept)]
        assert not any("three" in line for line in terminal.all_lines)
    paint.close()


def test_a_line_that_is_too_long_after_all_does_not_wrap(terminal):
    paint = painter(terminal)
    for number in range(3):
        paint.draw(block("x" * 70, f"{number}" + "y" * 70, "foot"))
        terminal.all_written()
        assert [len(line) for line in terminal.lines] == [40, 40, 4]
    paint.close()


def test_the_terminal_is_left_as_it_was_found(terminal):
    paint = painter(terminal)
    paint.say(["before"])
    paint.draw(block("one", "two"))
    terminal.all_written()
    assert terminal.screen.cursor.hidden
    assert not terminal.echoes
    terminal.type(b"\rabc")
    paint.draw(block("one", "three"))
    terminal.all_written()
    assert terminal.lines == ["before", "one", "three"]
    paint.close()
    terminal.all_written()
    assert (terminal.lines, terminal.screen.cursor.hidden, terminal.echoes) == (
        ["before"],
        False,
        True,
    )
    assert (terminal.screen.cursor.x, terminal.screen.cursor.y) == (0, 1)
    paint.close()
    assert terminal.all_written() == b""


def test_a_terminal_that_has_gone_is_closed_in_silence():
    with Terminal((40, 10)) as terminal:
        paint = painter(terminal)
        paint.draw(block("one"))
        os.close(terminal.ours)
        terminal.ours = -1
        paint.close()
