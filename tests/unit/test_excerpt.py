"""The end of a log as people read it in an error."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from reld.core.model import Exit, Instance, InstanceState
from reld.excerpt import excerpt, words
from reld.host.telling import why_it_ended
from reld.probes.spec import Result


def test_a_line_that_came_again_is_told_once_with_a_count():
    assert excerpt(["starting", "no db", "no db", "giving up", "no db"]) == [
        "starting",
        "3 × no db",
        "giving up",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("plain text, {as it is}", "plain text, {as it is}"),
        (
            '{"ts": 1, "level": "ERROR", "msg": "no \\"db\\"", "pid": 3}',
            'error: no "db"',
        ),
        ('{"message": "slow", "ms": 12, "tags": ["a", "b"]}', "slow (ms: 12, tags: a, b)"),
        ('{"status": "down", "db": {"ok": false}}', "status: down, db: (ok: false)"),
        ('"Error: boom\\n  at x.js:3"', "Error: boom at x.js:3"),
        ('{"msg": "\\u001b[2J gone"}', "[2J gone"),
        ('{"msg": "cut of', '{"msg": "cut of'),
        ("{}", "{}"),
        ('""', '""'),
        ("[1, 2]", "[1, 2]"),
        ("", ""),
    ],
)
def test_json_is_told_in_words(line, told):
    assert words(line) == told


GONE = SimpleNamespace(last=Result(True, "", 0.0), tree=SimpleNamespace(everyone=lambda: ()))
TAKEN = SimpleNamespace(
    app=SimpleNamespace(host="localhost"), command_of=lambda _worker: ("serve",)
)


def ended(tail):
    one = Instance(1, 0, "127.0.0.1:21001", InstanceState.EXITED)
    return why_it_ended(TAKEN, one, GONE, Exit(code=1), tail)


def test_the_line_that_says_why_it_ended_is_not_told_again_below_it():
    tail = ["starting", '{"level":"error","msg":"no db"}', '{"level":"error","msg":"no db"}']
    assert ended(tail) == "2 × error: no db\nits last lines:\n  starting"
    assert ended(["boom"]) == "boom"
    assert ended([]) == "it said nothing"


def test_a_hint_leaves_every_line_below_it():
    first, *rest = ended(["bind: address already in use"]).split("\n")
    assert first.startswith("the app wanted a port that is taken")
    assert rest == ["its last lines:", "  bind: address already in use"]
