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


def caller(uid: int, name: str, *groups: str) -> Caller:
    return Caller(uid, uid, 1, None, name, frozenset(groups))


@pytest.mark.parametrize(
    "who",
    [caller(0, "root"), caller(990, "reld"), caller(5, "bob", "relctl"), caller(6, "olga")],
)
def test_root_reld_and_operators_may_do_both(who: Caller) -> None:
    for role in Role:
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
        decide(caller(8, "eve"), Role.READ, Rules(("olga",), ()), own_uid=990)
    assert caught.value.hint == "an administrator can add you to [access] in the config"


def test_the_actor_behind_sudo_is_named() -> None:
    assert Caller(0, 0, 1, 1000, "root", login_name="alice").actor == "alice (as root)"
    assert Caller(1000, 0, 1, 1000, "alice", login_name="alice").actor == "alice"
    assert Caller(0, 0, 1, None, "root").actor == "root"
