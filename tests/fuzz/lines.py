"""Lines of anybody's logs, spoiled: masked, folded and compared, in bounded time, size and characters."""

from __future__ import annotations

import json
import time
from random import Random

from reld.newlines import masking
from reld.newlines.comparison import LONGEST_TEXT, Comparison
from reld.processes.logs import printable
from tests.fuzz import counted
from tests.fuzz.counted import tried
from tests.fuzz.mutate import spoiled, spoiled_json

SLOWEST = 0.05
"""Seconds of a processor for one line; it takes 0.003 at most."""
PINO = {"level": 50, "msg": "cannot save 7", "err": {"type": "TypeError", "message": "x"}}
LINES = (
    b"2026-11-23 12:34:28,123 took 12.5ms for order 7", b"Traceback (most recent call last):",
    b'  File "/x.py", line 3, in f', b"ValueError: x", b'1.2.3.4 - - "GET /a/7?x=1 HTTP/1.1" 500 12',
    b'level=ERROR msg="cannot save order" id=3', b"panic: runtime error", b"goroutine 1 [running]:",
    b"main.f(0x1, 0x2)", b"\t/srv/x.go:12 +0x1d", b"Caused by: java.lang.X", b"    at com.x.Y(Z.java:1)",
    b"password=hunter2 Authorization: Bearer abc", b"redis://:pw@h/0", b"::1" * 160, b"1." * 250,
    b"During handling of the above exception", b"a." * 250 + b"@", b'"\\' * 250, b"0x" * 250, b"a1" * 250,
    b"://a:" * 100, b"_-1a" * 120, b"Uncaught" * 60, b'=["' * 160, b"secret=" * 70,
)  # fmt: skip


def run(inputs: int, seed: int) -> counted.Counted:
    return tried(inputs, seed, one)


def one(chance: Random) -> str:
    """How many kinds one piece of a log had."""
    raw = spoiled(chance, chance.choice(LINES), LINES)
    if chance.random() < 0.2:
        raw = json.dumps(spoiled_json(chance, PINO)).encode()
    lines = [printable(line) for line in raw.split(b"\n")]
    began = time.thread_time()
    for line in lines:
        masking.line(line, "v2-release")
    assert time.thread_time() - began < SLOWEST * len(lines), lines
    compared = Comparison("v1", "v2")
    compared.old_said(["v1 is up"])
    compared.new_said(lines)
    compared.quiet()
    found = compared.news(20)
    assert all(kind.text.isprintable() and len(kind.text) <= LONGEST_TEXT for kind in found.top)
    same = Comparison("v1", "v2")
    same.old_said(lines)
    same.new_said(lines)
    same.quiet()
    assert same.news(20).kinds == 0, lines
    return f"{min(found.kinds, 3)} kinds"
