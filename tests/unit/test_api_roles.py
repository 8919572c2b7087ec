"""Who may do what."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from reld.api.peers import Caller
from reld.api.roles import Role, decide
from reld.errors import NotPermitted


@dataclass(frozen=True)
class Rules:
    operators: tuple[str, ...] = ("@relctl", "olga")
    viewers: tuple[str, ...] = ("@staff", "1007")
    approvers: tuple[str, ...] = ("ada", "@leads")


def caller(uid: int, name: str, *groups: str) -> Caller:
    return Caller(uid, uid, 1, None, name, frozenset(groups))


@pytest.mark.parametrize(
    ("who", "roles"),
    [
        (caller(0, "root"), set(Role)),
        (caller(990, "reld"), set(Role)),
        (caller(5, "bob", "relctl"), {Role.READ, Role.OPERATE, Role.AUDIT, Role.AGREE}),
        (caller(6, "olga"), {Role.READ, Role.OPERATE, Role.AUDIT, Role.AGREE}),
        (caller(10, "ada"), {Role.READ, Role.APPROVE, Role.AUDIT, Role.AGREE}),
        (caller(11, "liz", "leads"), {Role.READ, Role.APPROVE, Role.AUDIT, Role.AGREE}),
        (caller(12, "ada2", "leads", "relctl"), set(Role)),
        (caller(7, "vera", "staff"), {Role.READ}),
        (caller(8, "eve"), set()),
    ],
)
def test_each_may_do_what_his_lists_say(who: Caller, roles: set[Role]) -> None:
    for role in roles:
        decide(who, role, Rules(), own_uid=990)
    for role in set(Role) - roles:
        with pytest.raises(NotPermitted):
            decide(who, role, Rules(), own_uid=990)


@pytest.mark.parametrize("who", [caller(7, "vera", "staff"), caller(1007, "nina")])
def test_a_viewer_may_look_and_is_told_which_group_to_join(who: Caller) -> None:
    decide(who, Role.READ, Rules(), own_uid=990)
    with pytest.raises(NotPermitted) as caught:
        decide(who, Role.OPERATE, Rules(), own_uid=990)
    assert caught.value.hint == f"as root: usermod -aG relctl {who.name}, then log in again"


@pytest.mark.parametrize("who", [caller(8, "eve"), caller(9, "@relctl"), caller(9, "relctl")])
def test_anybody_else_may_do_nothing(who: Caller) -> None:
    for role in Role:
        with pytest.raises(NotPermitted, match=f"user {who.name} is not permitted"):
            decide(who, role, Rules(), own_uid=990)


def test_without_a_group_the_hint_names_the_config() -> None:
    with pytest.raises(NotPermitted) as caught:
        decide(caller(8, "eve"), Role.READ, Rules(("olga",), (), ()), own_uid=990)
    assert caught.value.hint == "an administrator can add you to [access] in the config"


def test_the_actor_behind_sudo_is_named() -> None:
    assert Caller(0, 0, 1, 1000, "root", login_name="alice").actor == "alice (as root)"
    assert Caller(1000, 0, 1, 1000, "alice", login_name="alice").actor == "alice"
    assert Caller(0, 0, 1, None, "root").actor == "root"


@pytest.mark.parametrize(
    ("uid", "login_uid", "people"),
    [
        (1000, 1000, (1000,)),
        (1000, None, (1000,)),  # a service
        (0, 1000, (1000,)),  # sudo: root stands for nobody
        (0, None, (0,)),
        (0, 0, (0,)),
        (1001, 1000, (1000, 1001)),  # su: both, so neither of them is another person
    ],
)
def test_a_caller_is_a_person(uid: int, login_uid: int | None, people: tuple[int, ...]) -> None:
    assert Caller(uid, uid, 1, login_uid, "x").people == people
