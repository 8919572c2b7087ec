"""One connection of another process is closed for it, in a quiet moment, and only if it is a long one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reld.nginx import connections, streams
from reld.nginx.master import Process, start_ticks
from reld.nginx.streams import Closing, NotPermitted, Stream, Streams
from tests.rig import wait_for


def this_process() -> Process:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    return Process(os.getpid(), ticks)


@contextmanager
def connected(
    listener: socket.socket, *, long: bool
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The gate's end, and the app's."""
    with socket.socket(listener.family) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(long))
        end.connect(listener.getsockname())
        app, _ = listener.accept()
        with app:
            yield end, app


@pytest.fixture(params=["tcp", "tcp6", "unix"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    family = {"tcp": socket.AF_INET, "tcp6": socket.AF_INET6, "unix": socket.AF_UNIX}[request.param]
    with socket.socket(family) as made:
        place = {"tcp": ("127.0.0.1", 0), "tcp6": ("::1", 0), "unix": str(tmp_path / "app.sock")}
        made.bind(place[request.param])
        made.listen()
        yield made


def address(listener: socket.socket) -> str:
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    return (
        f"[{name[0]}]:{name[1]}" if listener.family == socket.AF_INET6 else f"127.0.0.1:{name[1]}"
    )


def only(found: tuple[Stream, ...]) -> Stream:
    (one,) = found
    return one


def test_long_connections_are_found_and_closed_and_others_are_not(listener: socket.socket):
    ours = Streams([address(listener)])
    with (
        connected(listener, long=True) as (end, app),
        connected(listener, long=False) as (plain, _),
    ):
        stream = only(ours.find([this_process()]))
        assert stream.number == end.fileno()
        wait_for(lambda: ours.close(stream, 0.05) is Closing.CLOSED, 2, "it is never quiet")
        assert end.recv(1) == b""  # as if the app had hung up
        app.setblocking(False)
        with pytest.raises(BlockingIOError):
            app.recv(1)  # which it will be told when its peer closes
        plain.setblocking(False)
        with pytest.raises(BlockingIOError):
            plain.recv(1)


def test_another_address_is_another_slot(listener: socket.socket):
    with connected(listener, long=True):
        assert Streams(["127.0.0.1:1"]).find([this_process()]) == ()


def test_nobody_is_interrupted(listener: socket.socket):
    ours = Streams([address(listener)])
    with connected(listener, long=True) as (end, app):
        stream = only(ours.find([this_process()]))
        app.sendall(b"half a mess")
        assert ours.close(stream, 0.0) is Closing.BUSY  # not read yet
        assert end.recv(20) == b"half a mess"
        if listener.family != socket.AF_UNIX:
            assert ours.close(stream, 5.0) is Closing.BUSY
            end.sendall(b"question")
            assert app.recv(20) == b"question"
            assert ours.close(stream, 0.001) is Closing.BUSY  # an answer is due
        assert ours.close(stream, 0.0) is Closing.CLOSED


def test_what_has_ended_or_is_another_one_now_is_left_alone(listener: socket.socket):
    ours = Streams([address(listener)])
    with connected(listener, long=True):
        stream = only(ours.find([this_process()]))
    assert ours.close(stream, 0.0) is Closing.GONE
    with connected(listener, long=True) as (end, _):
        assert ours.close(Stream(stream.worker, end.fileno(), stream.inode), 0.0) is Closing.GONE
        stale = Stream(Process(os.getpid(), 1), end.fileno(), os.fstat(end.fileno()).st_ino)
        assert ours.close(stale, 0.0) is Closing.GONE
    assert ours.find([this_process()]) == ()


def test_the_kernel_counts_them_as_we_do(listener: socket.socket):
    with connected(listener, long=True), connected(listener, long=False):
        unix = listener.family == socket.AF_UNIX
        assert connections.streams([address(listener)]) == (None if unix else 1)


def test_without_the_right_it_is_said(listener: socket.socket, monkeypatch: pytest.MonkeyPatch):
    class Forbidden:
        @staticmethod
        def syscall(*_: object) -> int:
            streams.ctypes.set_errno(1)
            return -1

    monkeypatch.setattr(streams, "_libc", Forbidden)
    with connected(listener, long=True), pytest.raises(NotPermitted, match="not permitted"):
        Streams([address(listener)]).find([this_process()])


def test_a_socket_of_another_kind_is_no_stream_whatever_its_worker_says_of_it():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as odd:
        odd.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        odd.bind((0, 0))
        inodes = {stream.inode for stream in Streams(["127.0.0.1:1"]).find([this_process()])}
        assert os.fstat(odd.fileno()).st_ino not in inodes
