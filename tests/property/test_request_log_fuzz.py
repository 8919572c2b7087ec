"""Whatever is in the request log: counted for the right slot, or not at all. More: tests/fuzz."""

from __future__ import annotations

from random import Random

import pytest

from reld.nginx.counting import Counting
from reld.nginx.requests import Tail
from tests.fuzz import request_log

TIMES = ["inf", "-inf", "nan", "-nan", "1e999", "-1e999", "0x1", "", "-", "9" * 400, "--1"]
LINE = "1764000000.123|{0}|{1}|-|127.0.0.1:21001|200|200|GET|plain|-|7|12|-"


def test_spoiled_lines_and_files_are_read_or_left():
    found = request_log.run(600, seed=1)
    assert found.bugs == ()
    assert found.inputs == 600


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("sticky", [False, True])
def test_a_time_that_is_none_is_left_and_the_request_is_counted(time, sticky):
    counting = Counting(request_log.OLD, sticky=sticky)
    found = counting.feed([LINE.format(time, "0.012"), LINE.format("0.012", time)])
    assert found.lines == 2
    assert found.samples[0].old.requests == 2


@pytest.mark.parametrize("status", ["20", "2000", "-1", "+20", "1_0", "²00", "٢٠٠", "", "9" * 5000])
def test_a_status_that_is_none_makes_the_line_nonsense(status):
    line = LINE.format("0.012", "0.012").replace("|200|200|", f"|{status}|{status}|")
    found = Counting(request_log.OLD).feed([line])
    assert (found.nonsense, found.lines, found.samples) == (1, 0, ())


def test_a_beat_with_a_number_too_long_to_be_one_is_no_beat():
    found = Counting(()).feed(
        [f"1764000000.000|-|{'9' * 9000}|-|beat", "1764000000.000|-|7|-|beat"]
    )
    assert found.beat == 7


def test_a_line_longer_than_a_read_does_not_stop_the_reading(tmp_path):
    log = tmp_path / "requests.log"
    log.write_bytes(b"first\n" + b"x" * 5000 + b"\nlast\n")
    tail = Tail(log)
    found = [line for _ in range(4) for line in tail.read_raw(limit=1000)]
    assert (found[0], found[-1], len(found)) == ("first", "last", 3)


def test_memory_is_bounded_whatever_methods_clients_invent():
    counting, chance = Counting(request_log.OLD, request_log.NEW, sticky=True), Random(1)
    line = "1764000000.123|0.1|{0}.001|{1:032x}|127.0.0.1:21001|500|500|{2:x}|plain|-|7|12|-"
    for _ in range(60):
        numbers = [chance.getrandbits(90) for _ in range(1000)]
        counting.feed(line.format(n % 100_000, n, n) for n in numbers)
    request_log._bounded(counting)
