"""The request log of a real gate: every request once, over rotations and restarts of the reader."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from reld.core.model import Routing
from reld.nginx import command, master
from reld.nginx import gate as gate_module
from reld.nginx.requests import Position, Tail
from tests.contract.gate_support import a_gate, an_app, ask, blue, both, load, until


async def read(tail: Tail, count: int) -> list[str]:
    lines: list[str] = []
    async with asyncio.timeout(5):
        while len(lines) < count:
            lines += tail.read_raw()
            await asyncio.sleep(0.01)
    return lines


async def test_a_line_says_who_answered_and_in_which_rollout_and_generation():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 4, both(old, new))
        await ask(gate.settings.listen, method="POST", body=b"abc")
        (line,) = await read(Tail(gate.settings.request_log, uid=gate.owner.uid), 1)
        said = f"|-|{old.address}|200|200|POST|plain|-|7|4|-"
        assert line.endswith(said)
        msec, seconds, header = line.removesuffix(said).split("|")
        assert abs(float(msec) - time.time()) < 10
        assert float(header) <= float(seconds) < 5


async def test_no_line_is_lost_or_read_twice_over_rotations_and_reloads(monkeypatch):
    monkeypatch.setattr(gate_module, "ROTATE_AT", 2_000)
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        tail = Tail(gate.settings.request_log, uid=gate.owner.uid)
        rotations, lines, sent = 0, 0, 0
        inode = gate.settings.request_log.stat().st_ino
        for generation in range(2, 8):
            for _ in range(50):
                await ask(gate.settings.listen)
                sent += 1
            gate.tend_log(tail)
            await load(gate, generation, Routing(blue(old)))
            lines += len(tail.read_raw())
            gate.tend_log(tail)
            # A reader that was restarted goes on from the same position.
            tail = Tail(gate.settings.request_log, tail.position, gate.owner.uid)
            await until(gate.settings.request_log.exists)
            now = gate.settings.request_log.stat().st_ino
            rotations, inode = rotations + (now != inode), now
        lines += len(await read(tail, sent - lines))
        await asyncio.sleep(0.15)
        assert (lines + len(tail.read_raw()), rotations > 1) == (sent, True)


async def test_the_log_is_bounded_even_if_nobody_ever_reads_it(monkeypatch):
    monkeypatch.setattr(command, "LOG_LIMIT", 1_000)
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        found = master.find(gate.settings)
        assert found is not None
        before = {worker.process for worker in master.workers(found)}
        for _ in range(60):
            assert (await ask(gate.settings.listen)).status == 200
        await until(lambda: gate.settings.request_log.stat().st_size >= 1_000)
        assert (await ask(gate.settings.listen)).status == 200
        await asyncio.sleep(0.2)
        assert gate.settings.request_log.stat().st_size == 1_000
        # All that were there still are: nginx took the signal of the limit for an error, no more.
        assert before <= {worker.process for worker in master.workers(found) if not worker.leaving}


def test_what_was_written_before_and_after_a_rename_is_read_once(tmp_path):
    log = tmp_path / "requests.log"
    log.write_text("a\nb\n")
    tail = Tail(log)
    assert tail.read_raw() == ["a", "b"]
    assert tail.rotate()
    old = tmp_path / "requests.log.old"
    with old.open("a") as writer:
        writer.write("c\n")
        writer.flush()
        log.write_text("d\n")
        assert tail.read_raw() == ["c", "d"]
        # A worker that is slow to let go of the old file does not blind the reader.
        writer.write("e\n")
        writer.flush()
        with log.open("a") as more:
            more.write("f\ng")
        assert tail.read_raw() == ["e", "f"]
        assert not tail.retire([os.getpid()])
    assert tail.retire([os.getpid()])
    assert tail.read_raw() == []
    assert Tail(log, tail.position).read_raw() == []


@pytest.mark.parametrize("read_before", [True, False])
def test_a_reader_that_dies_between_rename_and_reading_goes_on_where_it_was(tmp_path, read_before):
    log = tmp_path / "requests.log"
    log.write_text("a\nb\n")
    tail = Tail(log)
    if read_before:
        tail.read_raw()
    saved = tail.position
    tail.rotate()
    log.write_text("c\n")
    tail.read_raw()
    assert Tail(log, saved).read_raw() == (["c"] if read_before else ["a", "b", "c"])


def test_an_old_file_that_is_not_read_stays(tmp_path):
    log = tmp_path / "requests.log"
    log.write_text("a\n")
    tail = Tail(log)
    tail.rotate()
    assert not tail.retire([])
    assert tail.read_raw() == ["a"]
    assert tail.retire([])


def test_a_torn_last_line_waits_for_its_end(tmp_path):
    log = tmp_path / "requests.log"
    log.write_text("a\nb")
    tail = Tail(log)
    assert tail.read_raw() == ["a"]
    with log.open("a") as more:
        more.write("b\n")
    assert tail.read_raw() == ["bb"]


def test_a_log_that_was_emptied_is_read_from_its_begin(tmp_path):
    log = tmp_path / "requests.log"
    log.write_text("a\nb\n")
    tail = Tail(log)
    tail.read_raw()
    log.write_text("c\n")
    assert tail.read_raw() == ["c"]


def test_a_file_that_only_has_the_number_of_the_one_that_was_read_is_read_from_its_begin(tmp_path):
    log = tmp_path / "requests.log"
    log.write_text("aaa\nbbb\n")
    position = Position(log.stat().st_ino, 3)
    assert Tail(log, position).read_raw() == ["aaa", "bbb"]


def test_a_backlog_is_read_in_pieces(tmp_path):
    log = tmp_path / "requests.log"
    log.write_text("".join(f"{n}\n" for n in range(1000)))
    tail, found = Tail(log), []
    while lines := tail.read_raw(limit=100):
        assert len(lines) <= 50
        found += lines
    assert found == [str(n) for n in range(1000)]


def test_a_log_that_reached_its_limit_has_lost_lines_and_that_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "LOG_LIMIT", 10)
    log = tmp_path / "requests.log"
    log.write_text("aaaa\nbb\n")
    tail = Tail(log)
    tail.read_raw()
    assert tail.overrun == 0
    with log.open("a") as more:
        more.write("cc")
    assert [tail.read_raw(), tail.read_raw(), tail.overrun] == [[], [], 1]
    tail.rotate()
    log.write_text("d\n")
    assert [tail.read_raw(), tail.overrun] == [["d"], 1]
