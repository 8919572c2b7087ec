"""Unix sockets as the kernel, the gate and the app's user see them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest

from reld.core.addresses import leased, of_socket, socket_path
from reld.core.model import Color, Routing, Target
from reld.errors import LaunchError, PrepareError
from reld.host.sockets import Sockets, stranger
from reld.nginx import connections, unix_sockets
from reld.nginx.gate import Gate
from reld.nginx.waiting import Waiting
from tests.contract.gate_support import (
    a_gate,
    a_home,
    an_app,
    ask,
    connect,
    load,
    make_settings,
    until,
)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "app.sock")


@contextlib.contextmanager
def listening(path, backlog=8):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(backlog)
        yield server


def connected(path):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client


def counted(path):
    return connections.per_address([f"unix:{path}"])[f"unix:{path}"]


def test_a_connection_counts_before_it_is_accepted_until_its_client_has_gone(path):
    with listening(path) as server:
        assert counted(path) == 0
        first, second = connected(path), connected(path)
        assert counted(path) == 2
        served = [server.accept()[0] for _ in range(2)]
        assert counted(path) == 2
        first.close()
        assert counted(path) == 1  # an app that keeps what is over holds no drain
        second.close()
        assert counted(path) == 0
        for one in served:
            one.close()


def test_a_kernel_that_tells_less_is_asked_in_another_way(path, monkeypatch):
    monkeypatch.setattr(unix_sockets, "_request", lambda _: b"\xff" * 24)
    with listening(path) as server:
        with contextlib.closing(connected(path)), contextlib.closing(connected(path)):
            accepted, _ = server.accept()
            assert counted(path) == 2
            accepted.close()


def test_a_socket_that_was_bound_by_a_relative_name_is_the_same(path, monkeypatch):
    monkeypatch.chdir(Path(path).parent)
    with listening("app.sock") as server, contextlib.closing(connected(path)):
        accepted, _ = server.accept()
        assert counted(path) == 1
        assert stranger(f"unix:{path}", [os.getpid()]) == ""
        accepted.close()


def test_connections_to_a_socket_whose_file_is_gone_still_count(path):
    with listening(path) as server, contextlib.closing(connected(path)):
        accepted, _ = server.accept()
        os.unlink(path)
        assert counted(path) == 1
        accepted.close()


def test_a_process_that_is_not_of_the_instance_is_no_answer(path):
    with listening(path):
        assert stranger(f"unix:{path}", [os.getpid()]) == ""
        assert "is answered by a process that is not of the instance" in stranger(
            f"unix:{path}", [1]
        )
    assert stranger(f"unix:{path}", []) == ""


@contextlib.asynccontextmanager
async def places():
    async with a_home() as home:
        yield Sockets(home / "run", Gate(make_settings(home))), home / "run"


def test_the_leased_port_is_in_the_path():
    assert leased(of_socket("/run/relctl/web", 21003)) == leased("127.0.0.1:21003") == "21003"
    assert not leased("unix:/run/web.sock").isdecimal()


async def test_each_start_gets_an_empty_directory_for_app_and_gate_alone():
    async with places() as (sockets, run):
        (address,) = sockets.addresses([21003])
        sockets.make(address, "nobody")
        place = run / "sockets/21003"
        (place / "app.sock").write_text("left by a killed one")
        sockets.make(address, "nobody")
        found = place.stat()
        assert list(place.iterdir()) == []
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o750, 65534)
        sockets.addresses([21004])
        sockets.sweep({21004})
        assert not place.exists()


def dig(place: Path, depth: int) -> None:
    here = os.open(place, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


async def test_what_an_app_dug_too_deep_for_python_keeps_no_other_one_from_starting():
    async with places() as (sockets, run):
        for port, again in ((21003, True), (21004, False)):
            (address,) = sockets.addresses([port])
            sockets.make(address, "nobody")
            dig(run / f"sockets/{port}", 1500)
            if again:
                sockets.make(address, "nobody")
                assert list((run / f"sockets/{port}").iterdir()) == []
        sockets.sweep({21003})
        assert [place.name for place in (run / "sockets").iterdir()] == ["21003"]


async def test_a_path_that_no_socket_can_have_is_refused_before_anything_starts():
    async with a_home() as home:
        sockets = Sockets(home / ("x" * 80), Gate(make_settings(home)))
        with pytest.raises(PrepareError, match="longer than 107 bytes"):
            sockets.addresses([21003])


async def test_a_user_who_is_not_there_is_a_launch_that_failed():
    async with places() as (sockets, _):
        with pytest.raises(LaunchError, match="cannot make"):
            sockets.make(*sockets.addresses([21003]), "nobody-at-all")


async def test_only_a_socket_of_the_apps_user_is_opened_to_the_gate():
    async with places() as (sockets, run):
        (address,) = sockets.addresses([21003])
        sockets.make(address, "nobody")
        path = run / "sockets/21003/app.sock"
        assert "cannot open" in sockets.admit(address)
        secret = run / "secret"
        secret.write_text("")
        secret.chmod(0o600)
        path.symlink_to(secret)
        assert "is no socket of the app's user" in sockets.admit(address)
        path.unlink()
        with listening(str(path)):
            path.chmod(0o700)
            assert "is no socket of the app's user" in sockets.admit(address)
            os.chown(path, 65534, -1)
            assert sockets.admit(address) == ""
            assert stat.S_IMODE(path.stat().st_mode) == 0o766
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


class Silent:
    """An app on a Unix socket: /hang gets no byte, /stream gets a head and then nothing."""

    def __init__(self):
        self.over = asyncio.Event()

    async def serve(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            first = (await reader.readuntil(b"\r\n\r\n")).split()[1]
            if first == b"/stream":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            if first != b"/":
                await self.over.wait()
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def silent(home, name):
    app, path = Silent(), str(home / f"{name}.sock")
    server = await asyncio.start_unix_server(app.serve, path)
    os.chmod(path, 0o777)  # noqa: S103
    try:
        yield f"unix:{path}"
    finally:
        app.over.set()
        server.close()


@contextlib.asynccontextmanager
async def asked(gate, address, *paths):
    """So many requests that are not over, all with the app by now."""
    writers = []
    try:
        for path in paths:
            _, writer = await connect(gate.settings.listen)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            writers.append(writer)
        path = socket_path(address)
        await until(lambda: len(unix_sockets.look([path])[path].served) == len(paths))
        yield
    finally:
        for writer in writers:
            writer.close()


async def test_requests_that_hang_on_a_socket_are_seen_and_streams_are_not():
    async with (
        a_home() as home,
        a_gate() as gate,
        silent(home, "a") as old,
        silent(home, "b") as new,
    ):
        gate.prepare_lanes(7)
        await load(
            gate, 1, Routing(Target(Color.BLUE, "v1", (old,)), Target(Color.GREEN, "v2", (new,)), 7)
        )
        await gate.move(7, 100)
        waiting = Waiting(gate.settings.listen)
        async with asked(gate, new, *["/hang"] * 6, "/stream", "/stream"):
            assert waiting.of([old], [new], 0.0) == (0, 0)
            await asyncio.sleep(connections.PATIENCE + 0.1)
            assert (await ask(gate.settings.listen)).status == 200
            assert waiting.of([old], [new], 1.1) == (0, 6)
            assert connections.per_address([old, new]) == {old: 0, new: 8}
            # What streams on the old slot might be what hangs: that is not held against the new one.
            await gate.move(7, 0)
            async with asked(gate, old, "/stream"):
                waiting.of([old], [new], 2.2)
                assert waiting.of([old], [new], 3.3) == (1, 5)


async def test_a_slot_on_a_port_is_told_from_one_on_a_socket():
    async with a_home() as home, a_gate() as gate, silent(home, "a") as new, an_app("old") as app:
        routing = Routing(
            Target(Color.BLUE, "v1", (app.address,)), Target(Color.GREEN, "v2", (new,)), 7
        )
        gate.prepare_lanes(7)
        await load(gate, 1, routing)
        await gate.move(7, 100)
        waiting = Waiting(gate.settings.listen)
        async with asked(gate, new, "/hang", "/hang"):
            waiting.of([app.address], [new], 0.0)
            await asyncio.sleep(connections.PATIENCE + 0.1)
            assert waiting.of([app.address], [new], 1.1) == (0, 2)
