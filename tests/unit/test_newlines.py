"""Which lines are new: masking, folding, templates, and what is compared with what."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reld.newlines import comparison as comparing
from reld.newlines import masking
from reld.newlines.comparison import LONGEST_TEXT, NEW, Comparison
from reld.newlines.folding import Folding
from reld.newlines.masking import Level
from reld.newlines.templates import GAP, Templates


def keys(said: str, release: str = "") -> str:
    line = masking.line(said, release)
    assert line is not None
    return " ".join(line.keys)


def shown(said: str) -> str:
    line = masking.line(said)
    assert line is not None
    return " ".join(line.shown)


def compared(old: list[str], new: list[str]) -> Comparison:
    comparison = Comparison("v1", "v2")
    comparison.old_said(old)
    comparison.new_said(new)
    comparison.quiet()
    return comparison


def told(old: list[str], new: list[str], most: int = 20) -> list[tuple[str, int]]:
    return [(kind.text, kind.count) for kind in compared(old, new).news(most).top]


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        ("2026-11-23 12:34:28,123 took 12.5ms for order 7", "<time> took <n> for order <n>"),
        ("2026-11-23T12:34:28.123Z up", "<time> up"),
        ("[23/Nov/2026:12:34:28 +0000] up", "[<time>] up"),
        ("Nov  3 12:34:28 up, 12:34:28 later", "<time> up, <time> later"),
        ("session 4f9a1b2c-0000-4aaa-8bbb-123456789abc ended", "session <id> ended"),
        ("from 10.1.2.3:4711 and 2001:db8::1", "from <ip> and <ip>"),
        ("commit deadbeef01, at 0x7ffe, façade", "commit <id>, at <id>, façade"),
        ("mail to bob.x@shop.example.org!", "mail to <mail>!"),
        ("GET /orders/12/items/4567", "GET /orders/<n>/items/<n>"),
        ("KeyError: 'phone'", "KeyError: <str>"),
        ("path=\"a b\" name='c d' can't open user's file", "path=<str> name=<str> can't open user's file"),
        ("std::move of a::b", "std::move of a::b"),
        ("used 12 KiB of 3MiB, 40%", "used <n> KiB of <n>, <n>"),
        ("sid=AbCdEf0123456789AbCdEf01", "sid=<id>"),
        ('1.2.3.4 - - "GET /a/7?x=1 HTTP/1.1" 500 12', "<ip> - - GET /a/<n> HTTP/500 <n>"),
        ('level=ERROR msg="cannot save order" id=3', "level=ERROR msg= cannot save order id=<n>"),
        ('{"level":50,"msg":"cannot save 7","err":{"type":"TypeError","message":"x"}}', "ERROR cannot save <n> TypeError: x"),
        ('{"level":"info","a":1}', "INFO {level, a}"),
        (r'{"msg":"red \u001b[31m\u202e\nalert"}', "red [<n> alert"),
        ('{"level": "error", "msg": "cannot save 7", "x": "cut o', "error cannot save <n>"),
        ('{"a": "b", cut off', "{<str>: <str>, cut off"),
    ],
)  # fmt: skip
def test_what_differs_from_line_to_line_is_masked(said: str, masked: str):
    assert keys(said) == masked


def test_a_small_number_and_a_quoted_string_are_shown_but_nobodys_name_or_secret():
    said = "KeyError: 'phone' of order 12: bob@example.org password=hunter2 Authorization: Bearer abc.def"
    text = shown(said)
    assert text == "KeyError: 'phone' of order 12: <mail> password=<secret> Authorization: <secret>"
    said = "no answer of redis://:hunter2@cache:6379/0, postgres://shop:hunter2@db.example.org/shop"
    assert "hunter2" not in shown(said)
    assert shown(said).startswith("no answer of redis://:<secret>@cache:6379/0,")


def test_the_name_of_the_release_is_no_news_in_its_lines():
    assert (
        keys("in /srv/web/releases/abc12de/x.py", "abc12de")
        == "in /srv/web/releases/<release>/x.py"
    )
    assert keys("xabc12de", "abc12de") == "xabc<n>de"


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ("ERROR: no", Level.ERROR),
        ("[error] no", Level.ERROR),
        ('{"level": "fatal"}', Level.ERROR),
        ("panic: runtime error", Level.ERROR),
        ("ValueError: no", Level.ERROR),
        ("Uncaught exception", Level.ERROR),
        ('"GET / HTTP/1.1" 502 12', Level.ERROR),
        ('"GET / HTTP/1.1" 404 512', Level.OTHER),
        ("2026 WARNING: slow", Level.WARNING),
        ("level=warn slow", Level.WARNING),
        ("DeprecationWarning: old", Level.WARNING),
        ("0 errors, all is well", Level.OTHER),
        ("INFO ready", Level.OTHER),
    ],
)
def test_a_line_says_how_bad_it_is(said: str, level: Level):
    assert masking.level_of(said) is level


PYTHON = [
    "Traceback (most recent call last):",
    '  File "x.py", line 3, in f',
    "    foo()",
    '  File "x.py", line 4, in g',
    "    return order['phone']",
    "KeyError: 'phone'",
]
CHAINED = [
    *PYTHON,
    "During handling of the above exception, another exception occurred:",
    "Traceback (most recent call last):",
    '  File "x.py", line 9, in h',
    "    raise Trouble",
    "shop.Trouble: no phone",
]
JAVA = [
    "java.lang.IllegalStateException: no phone",
    "    at shop.Orders.save(Orders.java:7)",
    "    at shop.Main.main(Main.java:3)",
    "Caused by: java.io.IOException: gone",
    "    at shop.Database.get(Database.java:9)",
    "    ... 12 more",
]
NODE = [
    "TypeError: x is not a function",
    "    at save (/srv/a.js:1:2)",
    "    at async b (c.js:3:4)",
]
GO = [
    "panic: oh no",
    "goroutine 1 [running]:",
    "net/http.(*conn).serve(0xc0001, {0x1, 0x2})",
    "    /srv/server.go:7 +0x1d",
    "main.main()",
    "    /srv/main.go:7 +0x1d",
    "exit status 2",
]


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (PYTHON, [("KeyError: 'phone'", 2)]),
        (CHAINED, [("shop.Trouble: no phone", 1)]),
        (JAVA, [("java.lang.IllegalStateException: no phone", 3)]),
        (NODE, [("TypeError: x is not a function", 2)]),
        (["one", "two", "", "three"], [("one", 0), ("two", 0), ("three", 0)]),
        ([*PYTHON, *PYTHON, "after"], [("KeyError: 'phone'", 2)] * 2 + [("after", 0)]),
        (["    indented from the start"], [("indented from the start", 0)]),
    ],
)
def test_a_traceback_counts_once_with_its_depth(lines: list[str], found: list[tuple[str, int]]):
    for at_once in (1, 2, len(lines)):
        folding = Folding()
        pieces = [lines[i : i + at_once] for i in range(0, len(lines), at_once)]
        said = [s for piece in pieces for s in folding.feed(piece)] + folding.flush()
        assert [(s.text, s.depth) for s in said] == found


ACCESS = '1.2.3.4 - - [23/Nov/2026 23:56:52] "GET / HTTP/1.1" 200 -'


def folded(lines: list[str]) -> list[tuple[str, int]]:
    folding = Folding()
    return [(s.text, s.depth) for s in [*folding.feed(lines), *folding.flush()]]


def test_lines_of_others_in_the_middle_of_a_traceback_are_lines_of_their_own():
    lines = [*PYTHON[:2], ACCESS, *PYTHON[2:4], "INFO: all is well", *PYTHON[4:], ACCESS]
    assert folded(lines) == [
        (ACCESS, 0),
        ("INFO: all is well", 0),
        ("KeyError: 'phone'", 2),
        (ACCESS, 0),
    ]


def test_two_tracebacks_at_once_are_two():
    lines = [PYTHON[0], PYTHON[1], PYTHON[0], *PYTHON[1:5], PYTHON[3], PYTHON[5], PYTHON[5]]
    assert folded(lines) == [("KeyError: 'phone'", 2), ("KeyError: 'phone'", 2)]


def test_a_traceback_that_never_ends_is_given_up():
    assert folded(PYTHON[:-1]) == [("Traceback (most recent call last):", 2)]
    told = folded([PYTHON[0], *["    and so on"] * 600, "at last"])
    assert told[0] == ("Traceback (most recent call last):", 1)
    assert told[-1] == ("at last", 0)


def test_a_panic_of_go_is_told_by_its_head():
    assert folded([*GO, "after"]) == [("panic: oh no", 2), ("after", 0)]


def test_what_the_old_release_said_too_is_no_news():
    old = [f"2026-11-23 12:00:{n:02} INFO user u{n} bought {n} things" for n in range(60)]
    assert told(old, ["2026-11-24 08:00:00 INFO user u99 bought 1 things"]) == []
    assert told(["ready"], ["ready", "ERROR no phone", "ERROR no phone"]) == [("ERROR no phone", 2)]


def test_what_both_begin_to_say_during_the_rollout_is_the_environments():
    comparison = compared(["ready"], ["ERROR database gone, try 1"])
    assert comparison.news(20).kinds == 1
    comparison.old_said(["ERROR database gone, try 2"])
    comparison.quiet()
    assert comparison.news(20).kinds == 0


def test_lines_that_are_nearly_equal_are_one_kind_with_a_gap():
    new = [f"cannot send the letter to {who} today" for who in ("anna", "bert", "carl")]
    assert told(["ready"], new) == [(f"cannot send the letter to {GAP} today", 3)]


def test_an_error_and_a_message_that_differ_in_little_else_are_two_kinds():
    new = ["INFO the order is saved now", "ERROR the order is saved now"]
    assert told(["ready"], new) == [(new[1], 1), (new[0], 1)]
    twice = ["shop: ValueError: in the end", "shop: KeyError: in the end"]
    assert len(told(["ready"], twice)) == 2


def test_a_number_that_is_always_the_same_is_shown():
    assert told(["ready"], ["retry 3 of 'x'"] * 2) == [("retry 3 of 'x'", 2)]
    assert told(["ready"], ["retry 3 of 'x'", "retry 4 of 'x'"]) == [("retry <n> of 'x'", 2)]


def test_errors_come_first_then_warnings_then_the_most_frequent():
    new = ["some chatter"] * 9 + ["WARNING slow"] * 2 + [*PYTHON, "rare chatter here"]
    news = compared(["ready"], new).news(20)
    assert [(k.text, k.count, k.level) for k in news.top] == [
        ("KeyError: 'phone' (traceback, 2 deep)", 1, "error"),
        ("WARNING slow", 2, "warning"),
        ("some chatter", 9, ""),
        ("rare chatter here", 1, ""),
    ]
    assert (news.kinds, news.lines, news.known) == (4, 13, 1)
    assert len(compared(["ready"], new).news(2).top) == 2


def test_what_cannot_be_told_says_why(monkeypatch):
    monkeypatch.setattr(comparing, "KNOWN", 20)
    assert compared([], ["x"]).why_unknown() == "nothing is known of what v1 wrote"
    assert compared(list("abc"), ["x"]).why_unknown() == ""
    hopeless = compared(list("abcdefghijklmnopqrstuvw"), ["x"])
    assert hopeless.why_unknown() == "v1 writes too many kinds of lines to tell which are new"


def test_a_release_that_never_says_the_same_twice_takes_bounded_memory():
    templates = Templates(50)
    for n in range(5000):
        words = ["".join(chr(97 + int(d)) for d in str(n * 7919 + i)) for i in range(1 + n % 9)]
        line = masking.line(" ".join(words))
        assert line is not None
        templates.learn(line)
    assert len(templates.all) == 50
    assert len(templates._quick) <= 200
    assert templates.lost > 0


def test_a_flood_of_kinds_is_bounded_and_told_as_thinned():
    letters = ["".join(chr(97 + int(d)) for d in str(n)) for n in range(2 * NEW)]
    news = compared(["ready"], letters).news(20)
    assert (news.kinds, len(news.top), news.thinned) == (NEW, 20, True)


HOSTILE = [
    "'" * 1000, '"' * 1000, "a" * 1000, "1" * 1000, "1." * 500, ":" * 1000, "a:" * 500, "@" * 1000,
    "a@" * 500, '\\"' * 500, "{" * 1000, "f" * 1000, '"GET ' + "a" * 900, "='" * 500, "-" * 1000,
    "a.b-" * 250 + "@", " " * 1000, "[1" * 500, "password=" * 100, 'msg="\\' * 120, "Error" * 200,
    "[" * 1000, '{"a":' * 150, "\0" * 1000, "é" * 1000, "A" * 500 + "Error", "x " * 500,
]  # fmt: skip


def test_no_line_takes_long():
    began = time.process_time()
    for said in HOSTILE:
        masking.line(said)
        Folding().feed([said, "    " + said, PYTHON[0], said, "\t" + said, said])
    assert time.process_time() - began < 2.0  # it takes 0.05


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=80), max_size=30), st.lists(st.text(max_size=80), max_size=30))
def test_whatever_is_written_is_counted_in_bounds(old: list[str], new: list[str]):
    comparison = compared(old, [*new, *old])
    news = comparison.news(20)
    assert news.lines <= len(new) + len(old)
    assert all(len(kind.text) <= LONGEST_TEXT for kind in news.top)
    assert news.kinds >= len(news.top)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=30))
def test_nobody_is_told_of_a_line_that_the_old_release_wrote(lines: list[str]):
    assert compared(lines, lines).news(20).kinds == 0
