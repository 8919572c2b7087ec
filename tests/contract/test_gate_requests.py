"""The request log of a real gate: every request once, over rotations and restarts of the reader."""

from __future__ import annotations

import asyncio

from reld.core.model import Routing
from reld.nginx import gate as gate_module
from reld.nginx import master
from reld.nginx.requests import Line, Tail, tally
from tests.contract.gate_support import a_gate, an_app, ask, blue, both, load, until


async def read(tail: Tail, count: int) -> list[Line]:
    lines: list[Line] = []
    async with asyncio.timeout(5):
        while len(lines) < count:
            lines += tail.read()
            await asyncio.sleep(0.01)
    return lines


async def test_a_line_says_who_answered_and_in_which_rollout_and_generation():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 4, both(old, new))
        await ask(gate.settings.listen, method="POST", body=b"abc")
        (line,) = await read(Tail(gate.settings.request_log), 1)
        assert (line.status, line.method, line.rollout, line.generation) == (200, "POST", 7, 4)
        assert [(a.address, a.status) for a in line.attempts] == [(old.address, 200)]


async def test_a_failure_that_the_shield_hid_is_counted_against_the_candidate():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        await gate.move(7, 100)
        new.status = 500
        await ask(gate.settings.listen)
        counts = tally(await read(Tail(gate.settings.request_log), 1))
        assert (counts[new.address].total, counts[new.address].failures) == (0, 1)
        assert (counts[old.address].total, counts[old.address].errors) == (1, 0)


async def test_a_request_that_nobody_could_take_is_an_error_of_no_slot():
    async with a_gate() as gate:
        await load(gate, 1, Routing())
        await ask(gate.settings.listen)
        counts = tally(await read(Tail(gate.settings.request_log), 1))
        assert (counts["-"].total, counts["-"].errors) == (1, 1)


async def test_no_line_is_lost_or_read_twice_over_rotations_and_reloads(monkeypatch):
    monkeypatch.setattr(gate_module, "ROTATE_AT", 2_000)
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        tail = Tail(gate.settings.request_log)
        rotations, lines, sent = 0, 0, 0
        inode = gate.settings.request_log.stat().st_ino
        for generation in range(2, 8):
            for _ in range(50):
                await ask(gate.settings.listen)
                sent += 1
            gate.tend_log(tail)
            await load(gate, generation, Routing(blue(old)))
            lines += len(tail.read())
            gate.tend_log(tail)
            # A reader that was restarted goes on from the same position.
            tail = Tail(gate.settings.request_log, tail.position)
            await until(gate.settings.request_log.exists)
            now = gate.settings.request_log.stat().st_ino
            rotations, inode = rotations + (now != inode), now
        lines += len(await read(tail, sent - lines))
        await asyncio.sleep(0.15)
        assert (lines + len(tail.read()), rotations > 1) == (sent, True)


async def test_the_log_is_bounded_even_if_nobody_ever_reads_it(monkeypatch):
    monkeypatch.setattr(master, "LOG_LIMIT", 1_000)
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
