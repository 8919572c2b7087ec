"""The collection's module for HAProxy: who may go out, and who may come in again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.collection import part

haproxy = part("modules/haproxy")

STATES = """\
1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight
3 web 1 vm1 10.0.0.1 2 {} 1
3 web 2 vm2 10.0.0.2 2 {} 1
3 web 3 vm3 10.0.0.3 2 {} 1

"""
STAT = """\
# pxname,svname,scur,status,check_status,check_code,
site,FRONTEND,3,OPEN,,,
web,vm1,{},{},{},,
web,vm2,{},{},{},,
web,vm3,{},{},{},,
web,BACKEND,3,UP,,,

"""
UP = ("ready", 0, "UP", "L7OK")
DRAINED = ("drain", 0, "DRAIN", "L7OK")
SICK = ("drain", 0, "DOWN", "L7STS")
DOWN = ("ready", 0, "DOWN", "L4CON")
CLOSED = ("maint", 0, "MAINT", "")
BITS = {"ready": 0, "drain": 8, "maint": 1}


class Fake:
    """HAProxy's admin socket. Servers: (admin, sessions, status, check)."""

    def __init__(self, *servers: tuple[str, int, str, str]) -> None:
        self.servers = list(servers)
        self.told: list[str] = []

    def ask(self, command: str) -> str:
        if command == "show stat":
            words = [
                w for _, sessions, status, check in self.servers for w in (sessions, status, check)
            ]
            return STAT.format(*words)
        if command == "show servers state web":
            return STATES.format(*[BITS[admin] for admin, *_ in self.servers])
        if command.startswith("show"):
            return "Can't find backend.\n\n"
        *_, place, _, state = command.split()
        at = int(place[-1]) - 1
        _, sessions, _, check = self.servers[at]
        self.servers[at] = (state, sessions, {"ready": "UP", "drain": "DRAIN"}[state], check)
        self.told.append(command)
        return "\n"


def run(
    fake: Fake, state: str, monkeypatch: pytest.MonkeyPatch, *, check: bool = False, **given: Any
) -> dict[str, Any]:
    monkeypatch.setattr(haproxy.Balancer, "_ask", lambda _, command: fake.ask(command))
    params = {"backend": "web", "server": "vm1", "socket": "", "leave": 50, "timeout": 0.0}
    work = haproxy.Work(SimpleNamespace(params=params | given, check_mode=check))
    ways = {"out": work.take_out, "in": work.put_in, "looked": work.look}
    return dict(ways[state]())


def test_it_drains_a_server_and_says_so(monkeypatch: pytest.MonkeyPatch):
    fake = Fake(UP, UP, UP)
    said = run(fake, "out", monkeypatch)
    assert fake.told == ["set server web/vm1 state drain"]
    assert (said["changed"], said["out"], said["up"]) == (True, True, 2)


@pytest.mark.parametrize(
    ("others", "leave"),
    [((DOWN, DRAINED), 0), ((UP, DRAINED), 50), ((UP, UP), 100), ((CLOSED, CLOSED), 1)],
)
def test_who_is_needed_stays_in(others: Any, leave: int, monkeypatch: pytest.MonkeyPatch):
    fake = Fake(UP, *others)
    said = run(fake, "out", monkeypatch, leave=leave)
    assert fake.told == []
    assert (said["changed"], said["out"]) == (False, False)
    assert "stays in" in said["msg"]


def test_who_has_no_check_is_not_taken_out_for_nobody_could_tell_when_it_may_come_back(
    monkeypatch: pytest.MonkeyPatch,
):
    with pytest.raises(haproxy.Cannot, match="no health check"):
        run(Fake(("ready", 0, "no check", ""), UP, UP), "out", monkeypatch)


def test_a_request_that_never_ends_is_told_and_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    said = run(Fake(("ready", 2, "UP", "L7OK"), UP, UP), "out", monkeypatch)
    assert said["changed"]
    assert "2 requests" in said["msg"]


def test_it_comes_in_when_its_check_passes_and_not_before(monkeypatch: pytest.MonkeyPatch):
    fake = Fake(DRAINED, UP, UP)
    assert run(fake, "in", monkeypatch)["changed"]
    assert fake.told == ["set server web/vm1 state ready"]
    sick = Fake(SICK, UP, UP)
    with pytest.raises(haproxy.Cannot, match="L7STS"):
        run(sick, "in", monkeypatch)
    assert sick.told == []


@pytest.mark.parametrize("state", ["in", "out"])
def test_what_a_person_has_set_to_maint_stays_so(state: str, monkeypatch: pytest.MonkeyPatch):
    fake = Fake(CLOSED, UP, UP)
    said = run(fake, state, monkeypatch)
    assert fake.told == []
    assert (said["changed"], said["out"]) == (False, False)


@pytest.mark.parametrize(("state", "server"), [("out", UP), ("in", DRAINED), ("looked", UP)])
def test_a_check_changes_nothing(state: str, server: Any, monkeypatch: pytest.MonkeyPatch):
    fake = Fake(server, UP, UP)
    said = run(fake, state, monkeypatch, check=True)
    assert fake.told == []
    assert said["changed"] is (state != "looked")


def test_a_name_that_haproxy_has_not_is_an_error_with_those_that_it_has(
    monkeypatch: pytest.MonkeyPatch,
):
    with pytest.raises(haproxy.Cannot, match="vm1, vm2, vm3"):
        run(Fake(UP, UP, UP), "out", monkeypatch, server="vm4")
    with pytest.raises(haproxy.Cannot, match="Can't find backend"):
        run(Fake(UP, UP, UP), "out", monkeypatch, backend="app")


def test_a_socket_that_is_not_there_is_an_error_with_what_to_do(tmp_path: Any):
    with pytest.raises(haproxy.Cannot, match="stats socket"):
        haproxy.Balancer(str(tmp_path / "none.sock"), "web").servers()
