"""Names of callers come from the user database, and reld never waits long for it."""

from __future__ import annotations

import grp
import pwd
import socket
import threading
from collections.abc import Iterator

import pytest

from reld.api import peers
from reld.api.peers import Credentials, Directory, credentials
from reld.errors import NotPermitted


@pytest.fixture
def directory() -> Iterator[Directory]:
    names = Directory()
    yield names
    names.close()


async def test_users_and_groups_have_their_names(directory: Directory) -> None:
    peer = Credentials(1, 1, 77, frozenset({0, 1}), 0)
    caller = await directory.caller(peer)
    assert (caller.name, caller.login_name, caller.pid) == (pwd.getpwuid(1).pw_name, "root", 77)
    assert caller.groups == {"0", "1", grp.getgrgid(0).gr_name, grp.getgrgid(1).gr_name}


async def test_the_user_database_is_asked_when_the_kernel_does_not_say(
    directory: Directory,
) -> None:
    caller = await directory.caller(Credentials(0, 0, 77, None, None))
    assert "root" in caller.groups


async def test_a_user_database_that_hangs_leaves_numbers(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(peers, "_PATIENCE", 0.05)
    monkeypatch.setattr(peers, "_user", lambda uid: answer.wait(10) and str(uid))
    caller = await directory.caller(Credentials(1, 1, 77, frozenset({5}), None))
    answer.set()
    assert (caller.name, caller.groups) == ("1", {"5"})


async def test_a_peer_without_credentials_is_nobody() -> None:
    with (
        socket.socket() as listening,
        socket.socket() as client,
        pytest.raises(NotPermitted, match="cannot tell who is asking"),
    ):
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        client.connect(listening.getsockname())
        credentials(client)
