"""Who may do what. Deny by default."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from reld.api.peers import Caller
from reld.errors import NotPermitted


class Role(StrEnum):
    """What a route needs.

    AUDIT: who changes or approves may see who did. Viewers may not: it tells of people, not of the
    app.
    """

    READ = "read"
    OPERATE = "operate"
    AGREE = "agree"  # operators steer with it, approvers answer what they are asked
    APPROVE = "approve"
    AUDIT = "audit"

    @property
    def changes(self) -> bool:
        """What is asked for in this role is in the audit, also when it is refused."""
        return self in (Role.OPERATE, Role.AGREE, Role.APPROVE)


class Access(Protocol):
    """The [access] table: names of users, and of groups with an @ before them."""

    @property
    def operators(self) -> tuple[str, ...]: ...

    @property
    def viewers(self) -> tuple[str, ...]: ...

    @property
    def approvers(self) -> tuple[str, ...]: ...


_CANNOT = {
    Role.READ: "look",
    Role.OPERATE: "change anything",
    Role.AGREE: "promote anything",
    Role.APPROVE: "approve anything",
    Role.AUDIT: "look into the audit",
}


def decide(caller: Caller, role: Role, access: Access, own_uid: int) -> None:
    """Returns when `caller` may act in `role`. Root and reld's own user may do all.

    Raises:
        NotPermitted: with the group to join.
    """
    if may(caller, role, access, own_uid):
        return
    raise NotPermitted(
        f"cannot {_CANNOT[role]}: user {caller.name} is not permitted",
        _way_in(caller, _doors(role, access)),
    )


def may(caller: Caller, role: Role, access: Access, own_uid: int) -> bool:
    return caller.uid in (0, own_uid) or _listed(caller, _doors(role, access))


def _doors(role: Role, access: Access) -> tuple[str, ...]:
    match role:
        case Role.READ:
            return (*access.viewers, *access.operators, *access.approvers)
        case Role.OPERATE:
            return access.operators
        case Role.APPROVE:
            return access.approvers
        case Role.AGREE | Role.AUDIT:
            return (*access.operators, *access.approvers)


def _listed(caller: Caller, names: tuple[str, ...]) -> bool:
    mine = {caller.name, str(caller.uid)}
    groups = {f"@{group}" for group in caller.groups}
    return any(name in groups if name.startswith("@") else name in mine for name in names)


def _way_in(caller: Caller, doors: tuple[str, ...]) -> str:
    group = next((name[1:] for name in doors if name.startswith("@")), None)
    if group is not None:
        return f"as root: usermod -aG {group} {caller.name}, then log in again"
    return "an administrator can add you to [access] in the config"
