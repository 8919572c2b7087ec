"""Who owns what, and who may what."""

from __future__ import annotations

from collections.abc import Iterator

from reld.doctor.facts import Place, RightsFacts
from reld.doctor.finding import Area, Desk, Finding

SAY = Desk(Area.PERMISSIONS)
_OTHERS_READ, _OTHERS_WRITE, _GROUP_WRITES, _STICKY = 0o004, 0o002, 0o020, 0o1000


def findings(facts: RightsFacts) -> Iterator[Finding]:
    if facts.releases is not None:
        yield from _directory(facts.releases, facts.user, unpacks=facts.unpacks)
    if facts.shared is not None:
        yield from _shared(facts.shared, facts.user)
    if facts.env_file is not None:
        yield from _env_file(facts.env_file)
    if facts.socket is not None:
        yield from _socket(facts.socket, root=facts.root)
    for name, members in facts.groups:
        yield from _group(name, members, root=facts.root)


def _directory(place: Place, user: str, *, unpacks: bool) -> Iterator[Finding]:
    if place.mode is None:
        yield SAY.error(
            f"{place.path}, where releases are, is not there",
            f"sudo install -d -o {user} -g {user} {place.path}",
        )
    elif place.mode & _OTHERS_WRITE and not place.mode & _STICKY:
        yield SAY.error(
            f"everybody on this machine can put releases into {place.path} ({_mode(place)})",
            f"sudo chmod o-w {place.path}",
        )
    elif place.wall:
        yield SAY.error(
            f"{user}, who runs the app, cannot get to {place.path}: {place.wall} is shut",
            f"sudo chmod o+x {place.wall}",
        )
    elif unpacks and not place.writable:
        yield SAY.warning(
            f"{place.path} is {place.owner}'s: relctl unpack, which works as {user}, cannot write"
            " there",
            f"sudo chown {user}: {place.path}",
        )
    else:
        yield SAY.ok(f"{place.path} is {place.owner}'s")


def _shared(place: Place, user: str) -> Iterator[Finding]:
    if place.mode is None:
        yield SAY.error(
            f"{place.path}, which [releases] shared needs, is not there",
            f"sudo install -d -o {user} -g {user} {place.path}",
        )
    elif not place.writable:
        yield SAY.warning(
            f"{user}, who runs the app, cannot write into {place.path}, which is {place.owner}'s",
            f"sudo chown {user}: {place.path}",
        )
    else:
        yield SAY.ok(f"{place.path} is {place.owner}'s")


def _env_file(place: Place) -> Iterator[Finding]:
    if place.mode is None:
        yield SAY.error(
            f"env_file {place.path} is not there: no release can start",
            f"sudo install -m 600 /dev/null {place.path}, and fill it",
        )
    elif place.mode & (_OTHERS_WRITE | _GROUP_WRITES):
        yield SAY.error(
            f"others than its owner can write {place.path} ({_mode(place)})",
            f"sudo chmod 600 {place.path}",
        )
    elif place.mode & _OTHERS_READ:
        yield SAY.warning(
            f"everybody on this machine can read {place.path} ({_mode(place)}), secrets and all",
            f"sudo chmod 600 {place.path}   (reld reads it as root)",
        )
    else:
        yield SAY.ok(f"{place.path} is closed to others ({_mode(place)})")


def _socket(place: Place, *, root: bool) -> Iterator[Finding]:
    if place.mode is None:
        yield SAY.error(
            f"{place.path}, the control socket, is gone: nobody gets in",
            "it is made anew within seconds; else: sudo systemctl restart 'reld@*'",
        )
    elif place.mode & _OTHERS_WRITE:
        yield SAY.warning(
            f"everybody may connect to {place.path} ({_mode(place)}): only [access] keeps them out",
            f"sudo chmod 660 {place.path}",
        )
    elif root:
        yield SAY.ok(f"the control socket is open to root and to group {place.group}")
    else:
        yield SAY.ok(f"the control socket is open to {place.owner}")


def _group(name: str, members: tuple[str, ...] | None, *, root: bool) -> Iterator[Finding]:
    if members is None and root:
        yield SAY.warning(
            f"[access] names @{name}, and there is no such group", f"sudo groupadd --system {name}"
        )
    elif members:
        yield SAY.ok(f"in group {name}: {', '.join(members[:5])}{', …' * (len(members) > 5)}")
    elif members is not None:
        yield SAY.ok(f"group {name} has no member: root alone may do what it may")


def _mode(place: Place) -> str:
    return f"{(place.mode or 0) & 0o7777:04o}"
