"""What a person sees in every phase, kept as text: `python -m tests.screens` writes it anew."""

from __future__ import annotations

import pytest

from relctl.look import Look, look_of
from relctl.screen.frame import Scene, frame
from relctl.screen.pieces import cells, fit, rendered
from tests import screens
from tests.fakes import api


@pytest.mark.parametrize("name", screens.names())
def test_every_phase_looks_as_it_was_kept(name):
    kept = screens.HERE / f"{name}.txt"
    assert screens.page(name) == kept.read_text("utf-8"), "python -m tests.screens writes it anew"


def test_no_screen_is_kept_that_nobody_draws():
    assert {path.stem for path in screens.HERE.iterdir()} == set(screens.names())


@pytest.mark.parametrize("name", screens.names())
@pytest.mark.parametrize("columns", [1, 12, 30, 40, 60, 79, 80, 133])
def test_it_fits_into_every_terminal(name, columns):
    for rows in (1, 2, 3, 7, 15, 24, 60):
        for unicode in (True, False):
            look = Look(unicode=unicode)
            lines = frame(screens.scene_of(name), (columns, rows), look)
            shown = [rendered(line, look) for line in lines]
            assert len(shown) <= max(1, rows - 1)
            assert all(cells(line) < max(2, columns) for line in shown), (columns, rows)
            assert unicode or all(line.isascii() for line in shown)


@pytest.mark.parametrize("name", screens.STATES)
def test_even_a_small_terminal_says_what_goes_on_what_it_waits_for_and_what_to_type(name):
    scene = screens.scene_of(name)
    shown = "\n".join(rendered(line, Look()) for line in frame(scene, (60, 9), Look()))
    rollout = scene.status["rollout"]
    assert "next " in shown
    if rollout is not None:
        assert rollout["phase"] in shown
        assert (rollout["waiting"] or "")[:30] in shown


def shown(status, columns=80, rows=40):
    return [rendered(line, Look()) for line in frame(Scene(status), (columns, rows), Look())]


@pytest.mark.parametrize(
    ("found", "rows"),
    [
        ({}, ("0 % of a verdict, errors", "0 % of a verdict, slowness")),
        ({"errors": 0.35}, ("35 % of a verdict, errors", "0 % of a verdict, slowness")),
        ({"slowness": 1.2}, ("0 % of a verdict, errors", "120 % of a verdict, slowness")),
    ],
)
def test_the_evidence_is_in_percent_of_what_a_verdict_needs(found, rows):
    lines = shown(api.rolling(evidence=api.evidence(**found)))
    place = next(i for i, line in enumerate(lines) if line.startswith("evidence"))
    assert lines[place].endswith(rows[0])
    assert lines[place + 1].endswith(rows[1])


def test_an_instance_that_is_not_ready_is_counted():
    now = api.rolling()
    now["slots"]["green"]["instances"] = [api.instance(state="unready", restarts=3)]
    line = next(line for line in shown(now) if line.startswith("ready"))
    assert " ".join(line.split()) == "ready 1 of 1, 0 restarts 0 of 1, 3 restarts"


def test_nothing_of_others_steers_the_terminal():
    status = api.rolling(waiting="\x1b[2Jgone\x07")
    events = ({"event": "x", "text": "a\x1b[31mb", "time": None},)
    lines = frame(Scene(status, events), (80, 24), Look(colour=False))
    assert not any("\x1b" in text or "\x07" in text for line in lines for text, _ in line)


def test_an_answer_of_another_reld_is_shown_as_far_as_it_goes():
    for status in ({}, {"slots": None, "rollout": {}}, api.status(), api.rolling(steps=None)):
        assert frame(Scene(status), (80, 24), Look())


def without(value):
    """Copies of an answer that each lack one thing, or have nothing in its place."""
    for key, inner in value.items():
        yield {k: v for k, v in value.items() if k != key}
        yield {**value, key: None}
        if isinstance(inner, dict):
            yield from ({**value, key: less} for less in without(inner))


@pytest.mark.parametrize("name", ["shifting", "in-shadow", "draining", "new-lines", "maintenance"])
def test_what_another_version_does_not_tell_is_left_out(name):
    scene = screens.scene_of(name)
    for status in without(scene.status):
        assert frame(Scene(status, scene.events), (80, 24), Look())


def test_wide_characters_take_two_cells():
    assert cells("日本") == 4
    assert fit("日本語", 5, Look()) == "日本…"
    assert fit("abc", 2, Look()) == "a…"


def test_without_colour_there_is_none_and_ascii_is_ascii():
    plain = Look(colour=False, unicode=False)
    assert plain.styled("x", "red") == "x"
    assert Look(colour=True).styled("x", "red") == "\x1b[31mx\x1b[0m"
    assert plain.bar(0.5, 4) == "##.."
    assert plain.text("v1 → v2 · é") == "v1 -> v2 / ?"


@pytest.mark.parametrize("fraction", [-1.0, 0.0, 0.49, 0.999, 1.0, 7.0])
def test_a_bar_is_full_only_when_it_really_is(fraction):
    assert len(Look().bar(fraction, 10)) == 10
    assert (Look().bar(fraction, 10) == "█" * 10) == (fraction >= 1)


class Stream:
    def __init__(self, encoding, tty=True):
        self.encoding = encoding
        self._tty = tty

    def isatty(self):
        return self._tty


@pytest.mark.parametrize(
    ("around", "encoding", "unicode"),
    [
        ({"LANG": "C.UTF-8"}, "utf-8", True),
        ({"LANG": "de_DE.UTF-8"}, "UTF-8", True),
        ({}, "utf-8", True),
        ({"LANG": "C"}, "utf-8", False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, "utf-8", False),
        ({"LANG": "C", "LC_ALL": "C.UTF-8"}, "utf-8", True),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, "utf-8", False),
        ({"LANG": "C", "LC_CTYPE": "de_DE.UTF-8"}, "utf-8", True),
        ({"LANG": "de_DE.ISO-8859-1"}, "iso8859-1", False),
    ],
)
def test_ascii_is_for_those_who_asked_for_it_and_for_what_can_do_no_more(around, encoding, unicode):
    assert look_of(Stream(encoding), around).unicode is unicode


@pytest.mark.parametrize(
    ("around", "tty", "colour"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
    ],
)
def test_colour_is_for_terminals_that_did_not_refuse_it(around, tty, colour):
    assert look_of(Stream("utf-8", tty), around).colour is colour
