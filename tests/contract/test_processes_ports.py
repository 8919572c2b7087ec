from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from reld.core.model import Identity
from reld.errors import PrepareError
from reld.processes.identity import identity_of
from reld.processes.ports import free_ports, listener, listening_ports, owned_by


def me() -> Identity:
    identity = identity_of(os.getpid())
    assert identity is not None
    return identity


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def port_of(server: socket.socket) -> int:
    return server.getsockname()[1]


@pytest.fixture
def gap():
    """The first of five neighbouring ports that are free now."""
    for first in range(22000, 32000, 7):
        try:
            for port in range(first, first + 5):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first
    raise AssertionError("no free ports on this machine")


def test_the_lowest_free_ports_are_given_and_leased_ones_avoided(gap):
    assert free_ports(gap, gap + 4, 2, {gap, gap + 2}) == (gap + 1, gap + 3)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_with_a_listener_is_not_free(gap, address):
    with socket.create_server((address, gap)):
        assert free_ports(gap, gap + 1, 1, set()) == (gap + 1,)


def test_a_port_on_every_ipv6_and_ipv4_address_is_not_free(gap):
    with socket.create_server(("::", gap), family=socket.AF_INET6, dualstack_ipv6=True):
        assert free_ports(gap, gap + 1, 1, set()) == (gap + 1,)


def test_a_listener_that_would_share_its_port_does_not_make_it_free(gap):
    with socket.create_server(("127.0.0.1", gap), reuse_port=True):
        assert free_ports(gap, gap + 1, 1, set()) == (gap + 1,)


def test_ports_with_remnants_of_connections_come_last_but_do(gap):
    with socket.create_server(("127.0.0.1", gap)) as server:
        client = socket.create_connection(("127.0.0.1", gap))
        served, _ = server.accept()
        served.close()  # the side that closes first keeps TIME_WAIT
        client.recv(1)
        client.close()
    assert free_ports(gap, gap + 1, 1, set()) == (gap + 1,)
    assert free_ports(gap, gap + 1, 2, set()) == (gap, gap + 1)


def test_too_few_free_ports_name_the_holder(gap):
    with socket.create_server(("127.0.0.1", gap)):
        with pytest.raises(PrepareError) as caught:
            free_ports(gap, gap + 1, 2, {gap + 1})
    assert caught.value.message.startswith(f"cannot find 2 free ports in {gap}–{gap + 1}: {gap} is")
    assert f"pid {os.getpid()}" in caught.value.message
    assert "1 leased or resting" in caught.value.message


def test_a_listener_is_known_by_uid_and_pid(server):
    found = listener(port_of(server))
    assert found is not None
    assert (found.uid, found.pid, found.address) == (os.getuid(), os.getpid(), "127.0.0.1")
    assert found.inode == os.fstat(server.fileno()).st_ino


def test_nobody_listens_on_a_free_port(gap):
    assert listener(gap) is None
    assert not owned_by(gap, [me()])


def test_our_listener_is_ours(server):
    assert owned_by(port_of(server), [me()])
    assert not owned_by(port_of(server), [])


def test_a_stolen_port_is_not_ours():
    code = (
        "import socket,sys; s=socket.create_server(('127.0.0.1',0));"
        "print(s.getsockname()[1],flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as thief:
        assert thief.stdout is not None
        port = int(thief.stdout.readline())
        identity = identity_of(thief.pid)
        assert identity is not None
        assert not owned_by(port, [me()])
        assert owned_by(port, [me(), identity])
        assert listening_ports([identity]) == (port,)


def test_the_more_specific_listener_is_the_one_that_counts(server):
    """Behind our 127.0.0.1 somebody may have 0.0.0.0: nobody reaches that one from here."""
    with socket.socket() as wide:
        wide.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            wide.bind(("0.0.0.0", port_of(server)))
        except OSError:
            pass  # Linux refuses it today; then there's nothing to tell apart
        found = listener(port_of(server))
        assert found is not None
        assert found.address == "127.0.0.1"


def test_an_ipv6_wildcard_listener_answers_on_loopback(gap):
    with socket.create_server(("::", gap), family=socket.AF_INET6, dualstack_ipv6=True):
        found = listener(gap)
        assert found is not None
        assert found.address == "::"
        assert owned_by(gap, [me()])


def test_listeners_are_seen_among_many_connections(server):
    clients = [socket.create_connection(server.getsockname()) for _ in range(50)]
    try:
        assert port_of(server) in listening_ports([me()])
    finally:
        for client in clients:
            client.close()
