"""What goes on beside the engine does not end unseen, and has its threads from the start."""

from __future__ import annotations

import asyncio
import errno
import logging
import threading

from reld.errors import GateError
from reld.host import chores, scarce
from reld.probes import probe as probing
from reld.probes.spec import TcpProbe


async def test_a_chore_that_fails_is_begun_again_and_trouble_is_one_line(monkeypatch, caplog):
    monkeypatch.setattr(chores, "AGAIN_AFTER", 0.0)
    troubles = [OSError(errno.EMFILE, "too many"), GateError("no gate"), KeyError("a bug")]
    done = asyncio.Event()

    async def chore() -> None:
        if troubles:
            raise troubles.pop(0)
        done.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(chores.for_ever(chore))
    await asyncio.wait_for(done.wait(), 5)
    task.cancel()
    assert [bool(record.exc_info) for record in caplog.records] == [False, False, True]


async def test_a_trouble_that_stays_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(chores, "AGAIN_AFTER", 0.0)
    tries, done = [], asyncio.Event()

    async def chore() -> None:
        tries.append(1)
        if len(tries) > 50:
            done.set()
            await asyncio.Event().wait()
        raise KeyError("a bug")

    task = asyncio.create_task(chores.for_ever(chore))
    await asyncio.wait_for(done.wait(), 10)
    task.cancel()
    assert len(caplog.records) == 1


def test_the_threads_that_work_for_the_loop_are_there_before_they_are_needed():
    async def count() -> int:
        scarce.prepare(asyncio.get_running_loop())
        await asyncio.to_thread(lambda: None)
        return sum(thread.name.startswith("work") for thread in threading.enumerate())

    assert asyncio.run(count()) == scarce.THREADS


async def test_what_the_machine_lacks_is_told_in_one_line(caplog):
    loop = asyncio.get_running_loop()
    caplog.set_level(logging.ERROR)
    lacking = OSError(errno.EMFILE, "too many open files")
    scarce._told(loop, {"message": "socket.accept()", "exception": lacking})
    (record,) = caplog.records
    assert record.exc_info is None
    assert "Too many open files" in record.getMessage()


async def test_a_probe_that_we_could_not_make_says_nothing_of_the_app(monkeypatch):
    def none_left(*words, **names):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(probing, "connection", none_left)
    result = await probing.probe(TcpProbe(), "127.0.0.1:1")
    assert (result.ok, result.asked) == (False, False)
    monkeypatch.undo()
    refused = await probing.probe(TcpProbe(), "127.0.0.1:1")
    assert (refused.ok, refused.asked) == (False, True)
