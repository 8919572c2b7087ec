"""The three ends of a load, and what happens when the gate itself is in trouble."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reld.core.model import Routing
from reld.errors import GateError
from reld.nginx import command, connections, master, places, room
from reld.nginx.gate import Gate, LoadEnd
from tests.contract.gate_support import (
    a_gate,
    a_home,
    an_app,
    ask,
    blue,
    both,
    end,
    free_address,
    green,
    load,
    make_settings,
    until,
)


def the_master(gate: Gate) -> master.Process:
    found = master.find(gate.settings)
    assert found is not None
    return found


@contextlib.contextmanager
def taken(address: str):
    host, _, port = address.rpartition(":")
    with socket.create_server((host, int(port))):
        yield


@contextlib.asynccontextmanager
async def kept(gate: Gate, every: float = 0.05) -> AsyncIterator[list[str]]:
    told: list[str] = []
    task = asyncio.create_task(gate.keep(told.append, every))
    try:
        yield told
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class BrokenGate(Gate):
    def render(self, generation: int, routing: Routing) -> str:
        return super().render(generation, routing).replace("events {", "eventful {")


async def test_a_verified_load_serves_what_it_was_given_and_can_be_read_back():
    async with a_gate() as gate, an_app("old") as old:
        ended = await gate.load(3, Routing(blue(old)), 5.0)
        assert ended.what is LoadEnd.VERIFIED
        assert await gate.serving() == (3, "boot-1")
        assert gate.routing_on_disk() == (3, Routing(blue(old)))
        assert (await ask(gate.settings.listen)).name == "old"


async def test_after_a_verified_load_no_request_reaches_the_old_routing():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        for generation in range(1, 9):
            app = old if generation % 2 else new
            await load(gate, generation, Routing((blue if app is old else green)(app)))
            assert {(await ask(gate.settings.listen)).name for _ in range(10)} == {app.name}


async def test_a_config_that_nginx_refuses_changes_nothing():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        await load(gate, 1, Routing(blue(old)))
        ended = await BrokenGate(gate.settings).load(2, Routing(green(new)), 5.0)
        assert ended.what is LoadEnd.REFUSED
        assert 'unknown directive "eventful"' in ended.detail
        assert gate.routing_on_disk() == (1, Routing(blue(old)))
        assert await gate.serving() == (1, "boot-1")


async def test_a_value_that_must_not_be_nginx_text_is_refused():
    async with a_gate(assets=("/a; return 200",)) as gate:
        assert (await gate.load(1, Routing(), 1.0)).what is LoadEnd.REFUSED
        assert not gate.settings.config.exists()


@pytest.mark.parametrize("which", ["listen", "status"])
async def test_a_port_that_is_taken_is_refused_and_says_by_whom(which):
    async with a_gate() as gate:
        address = getattr(gate.settings, which)
        with taken(address):
            ended = await gate.load(1, Routing(), 2.0)
        assert ended.what is LoadEnd.REFUSED
        assert f"{address} is taken by pid {os.getpid()}" in ended.detail
        assert gate.routing_on_disk() is None


async def test_a_reload_onto_a_taken_port_is_refused_before_nginx_is_told():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        elsewhere = free_address()
        moved = Gate(
            type(gate.settings)(
                **{
                    name: getattr(gate.settings, name)
                    for name in gate.settings.__dataclass_fields__
                    if name != "listen"
                },
                listen=elsewhere,
            )
        )
        with taken(elsewhere):
            ended = await moved.load(2, Routing(blue(old)), 2.0)
        assert ended.what is LoadEnd.REFUSED
        assert elsewhere in ended.detail
        assert (await ask(gate.settings.listen)).name == "old"


async def test_a_stopped_master_makes_the_end_unknown_and_a_later_load_clears_it():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        await load(gate, 1, Routing(blue(old)))
        os.kill(the_master(gate).pid, signal.SIGSTOP)
        ended = await gate.load(2, Routing(green(new)), 0.3)
        assert ended.what is LoadEnd.UNKNOWN
        assert "master process is stopped" in ended.detail
        assert (await ask(gate.settings.listen)).name == "old"
        os.kill(the_master(gate).pid, signal.SIGCONT)
        await load(gate, 3, Routing(blue(old)))


async def test_a_load_is_unknown_while_an_old_worker_goes_on_taking_requests():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        stuck = master.workers(the_master(gate))[0]
        os.kill(stuck.pid, signal.SIGSTOP)
        ended = await gate.load(2, Routing(blue(old)), 0.6)
        assert ended.what is LoadEnd.UNKNOWN
        os.kill(stuck.pid, signal.SIGCONT)


async def test_a_gate_without_descriptors_to_spare_gets_more_before_the_reload():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        pid = the_master(gate).pid
        used = len(os.listdir(f"/proc/{pid}/fd"))
        # As the gate's user: for another's processes even root needs CAP_SYS_RESOURCE.
        said = ["prlimit", "--pid", str(pid), f"--nofile={used + 2}:"]
        assert command.run(said, gate.owner) == (0, "")
        await load(gate, 2, Routing(blue(old)))
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert int(limits.partition("Max open files")[2].split()[0]) > used + 10
        assert len(master.workers(the_master(gate))) >= 2


async def test_without_leave_to_raise_the_limit_the_load_is_refused(monkeypatch):
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        monkeypatch.setattr(room, "make", lambda *_: "3 of 4 descriptors")
        ended = await gate.load(2, Routing(blue(old)), 1.0)
        assert (ended.what, ended.detail) == (
            LoadEnd.REFUSED,
            "cannot reload the gate: 3 of 4 descriptors",
        )


async def test_another_gate_of_the_same_files_finds_the_master_again():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        await load(gate, 1, Routing(blue(old)))
        was = the_master(gate)
        gate.settings.pid_file.unlink()
        again = Gate(gate.settings)
        await load(again, 2, Routing(green(new)))
        assert the_master(again) == was


async def test_a_pid_file_that_names_another_process_is_not_believed():
    async with a_gate() as gate:
        places.prepare(gate.settings)
        gate.settings.pid_file.write_text(f"{os.getpid()}\n")
        os.chown(gate.settings.pid_file, gate.owner.uid, gate.owner.gid)
        assert master.find(gate.settings) is None


async def test_a_killed_gate_is_started_again_at_once_with_the_config_on_disk():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        async with kept(gate, every=30.0) as told:
            await until(lambda: told == [""])
            was = the_master(gate)
            for process in (was, *(w.process for w in master.workers(was))):
                os.kill(process.pid, signal.SIGKILL)
            await until(lambda: master.find(gate.settings) not in (None, was))
            assert (await ask(gate.settings.listen)).name == "old"
            assert await gate.serving() == (1, "boot-1")


async def test_a_killed_master_is_replaced_without_refusing_anybody():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        await load(gate, 1, Routing(blue(old)))
        was = the_master(gate)
        orphans = master.workers(was)
        async with kept(gate, every=30.0) as told:
            await until(lambda: told == [""])
            os.kill(was.pid, signal.SIGKILL)
            replaced = asyncio.create_task(until(lambda: len(orphans_left(orphans)) == 0))
            while not replaced.done():
                assert (await ask(gate.settings.listen)).name == "old"
            await replaced
        assert the_master(gate) != was
        await load(gate, 2, Routing(green(new)))
        assert (await ask(gate.settings.listen)).name == "new"


def orphans_left(orphans):
    return [w for w in orphans if master.start_ticks(w.pid) == w.start_ticks]


async def test_a_load_starts_a_gate_that_died():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        await load(gate, 1, Routing(blue(old)))
        os.kill(the_master(gate).pid, signal.SIGKILL)
        await load(gate, 2, Routing(green(new)))
        assert (await ask(gate.settings.listen)).name == "new"


async def test_a_frozen_gate_is_named_and_thawed():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        found = the_master(gate)
        frozen = (found, *(w.process for w in master.workers(found)))
        for process in frozen:
            os.kill(process.pid, signal.SIGSTOP)
        await until(lambda: all(master.stopped(process) for process in frozen))
        async with kept(gate) as told:
            await until(lambda: told and told[-1] == "", 8.0)
            assert told[0] in (  # whichever it looks at first
                "the gate runs but does not answer within 3 s",
                "the gate's master process was stopped",
            )
        assert (await ask(gate.settings.listen)).name == "old"


async def test_somebody_else_on_the_port_of_a_dead_gate_is_named():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        found = the_master(gate)
        handle = os.pidfd_open(found.pid)
        os.kill(found.pid, signal.SIGTERM)
        await until(lambda: master.find(gate.settings) is None)
        os.close(handle)
        with taken(gate.settings.listen):
            async with kept(gate) as told:
                await until(lambda: told)
                assert f"is taken by pid {os.getpid()}" in told[0]


async def test_an_upgraded_nginx_binary_is_put_into_service_without_refusing_anybody():
    async with a_home() as home, an_app("old") as old, an_app("new") as new:
        settings = make_settings(home, binary=home / "nginx")
        shutil.copy("/usr/sbin/nginx", settings.binary)
        gate = Gate(settings)
        try:
            await load(gate, 1, Routing(blue(old)))
            was = the_master(gate)
            shutil.copy("/usr/sbin/nginx", home / "upgraded")
            (home / "upgraded").rename(settings.binary)
            async with kept(gate) as told:
                gone = asyncio.create_task(until(lambda: orphans_left([was]) == []))
                while not gone.done():
                    assert (await ask(settings.listen)).name == "old"
                await gone
                assert told == [""]
            assert not master.replaced(the_master(gate))
            await load(gate, 2, Routing(green(new)))
            assert (await ask(settings.listen)).name == "new"
        finally:
            await end(settings)


async def test_moving_lanes_needs_no_gate():
    async with a_gate() as gate:
        gate.prepare_lanes(7)
        await gate.move(7, 5)
        assert gate.share(7) == 5
        assert gate.share(8) is None
        gate.remove_lanes(7)
        assert gate.share(7) is None


async def test_a_gate_that_cannot_be_asked_is_no_obedient_gate():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        handle = the_master(gate)
        os.kill(handle.pid, signal.SIGTERM)
        await until(lambda: master.find(gate.settings) is None)
        with pytest.raises(GateError, match="does not answer"):
            await gate.move(7, 100)


async def test_workers_that_left_before_reld_was_restarted_count_as_old():
    async with a_gate() as gate, an_app("old") as old:

        async def hang(request) -> bool:
            await asyncio.sleep(30)
            return True

        old.behave = hang
        await load(gate, 1, Routing(blue(old)))
        waiting = asyncio.create_task(ask(gate.settings.listen))
        await until(lambda: old.seen)
        await load(gate, 2, Routing(blue(old)))
        assert Gate(gate.settings).left([], 1) == (0, 1)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting


async def test_a_listener_is_found_by_its_address_and_on_every_address():
    async with an_app("old") as old:
        port = old.address.rpartition(":")[2]
        (found,) = connections.listeners(old.address)
        assert os.getpid() in connections.holders([found.inode])
        assert connections.listeners(f"127.0.0.2:{port}") == ()
        assert connections.listeners(f"0.0.0.0:{port}") == (found,)


async def test_connections_of_a_port_are_counted_one_by_one():
    async with an_app("old") as old:
        host, _, port = old.address.rpartition(":")
        pairs = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        assert connections.per_address([old.address, "127.0.0.1:1"]) == {
            old.address: 3,
            "127.0.0.1:1": 0,
        }
        for _, writer in pairs:
            writer.close()
        await until(lambda: connections.count([old.address]) == 0)
