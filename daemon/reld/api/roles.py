"""Who may do what. Deny by default."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from reld.api.peers import Caller
from reld.errors import NotPermitted


class Role(StrEnum):
    READ = "read"
    OPERATE = "operate"


class Access(Protocol):
    """The [access] table: names of users, and of groups with an @ before them."""

    @property
    def operators(self) -> tuple[str, ...]: ...

    @property
    def viewers(self) -> tuple[str, ...]: ...


def decide(caller: Caller, role: Role, access: Access, own_uid: int) -> None:
    """Returns when `caller` may act in `role`. Operators may read too.

    Raises:
        NotPermitted: with the group to join.
    """
    if caller.uid in (0, own_uid) or _listed(caller, access.operators):
        return
    if role is Role.READ and _listed(caller, access.viewers):
        return
    doors = access.operators if role is Role.OPERATE else (*access.viewers, *access.operators)
    what = "change anything" if role is Role.OPERATE else "look"
    raise NotPermitted(
        f"cannot {what}: user {caller.name} is not permitted", _way_in(caller, doors)
    )


def _listed(caller: Caller, names: tuple[str, ...]) -> bool:
    mine = {caller.name, str(caller.uid)}
    groups = {f"@{group}" for group in caller.groups}
    return any(name in groups if name.startswith("@") else name in mine for name in names)


def _way_in(caller: Caller, doors: tuple[str, ...]) -> str:
    group = next((name[1:] for name in doors if name.startswith("@")), None)
    if group is not None:
        return f"as root: usermod -aG {group} {caller.name}, then log in again"
    return "an administrator can add you to [access] in the config"
