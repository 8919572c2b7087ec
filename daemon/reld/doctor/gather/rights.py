"""Owners and modes, and what they let the app's user do. Blocks."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from reld.config import Config
from reld.doctor.facts import Place, RightsFacts

_X, _R, _W = 1, 4, 2


@dataclass(frozen=True, slots=True)
class _Person:
    uid: int
    groups: frozenset[int]

    def may(self, found: os.stat_result, wanted: int) -> bool:
        if self.uid == 0:
            return True
        if found.st_uid == self.uid:
            bits = found.st_mode >> 6
        elif found.st_gid in self.groups:
            bits = found.st_mode >> 3
        else:
            bits = found.st_mode
        return bits & wanted == wanted


def gathered(config: Config, socket: str) -> RightsFacts:
    root = os.geteuid() == 0
    name = config.app.user or _name(os.geteuid())
    person = _person(name)
    releases = releases_of(config.app.directory)
    shared = os.path.join(os.path.dirname(releases), "shared") if config.releases.shared else ""
    return RightsFacts(
        user=name,
        root=root,
        unpacks=bool(config.releases.build or config.releases.shared),
        releases=_place("releases", releases, person),
        shared=_place("shared", shared, person) if shared else None,
        env_file=_place("env_file", config.app.env_file, person) if config.app.env_file else None,
        socket=_place("socket", socket, person),
        groups=tuple(_groups((*config.access.operators, *config.access.approvers))),
    )


def releases_of(template: str) -> str:
    """The directory that holds all releases: what is before the first part with {release}."""
    before = template.partition("{release}")[0].replace("{{", "{").replace("}}", "}")
    return os.path.dirname(before) or "/"


def _place(what: str, path: str, person: _Person | None) -> Place:
    place = Place(what, path)
    try:
        found = os.stat(path)
    except OSError:
        return place
    place = replace(
        place,
        owner=_name(found.st_uid),
        group=_group_name(found.st_gid),
        mode=stat.S_IMODE(found.st_mode),
    )
    if person is None:
        return place
    wanted = _R | _X if stat.S_ISDIR(found.st_mode) else _R
    return replace(
        place,
        wall=_wall(path, person),
        readable=person.may(found, wanted),
        writable=person.may(found, _W),
    )


def _wall(path: str, person: _Person) -> str:
    """The first directory on the way, itself included, that the person cannot pass."""
    at = os.path.realpath(path)
    way = [at]
    while (parent := os.path.dirname(at)) != at:
        way.append(parent)
        at = parent
    for one in reversed(way):
        with suppress(OSError):
            found = os.stat(one)
            if stat.S_ISDIR(found.st_mode) and not person.may(found, _X):
                return one
    return ""


def _groups(names: Iterable[str]) -> Iterable[tuple[str, tuple[str, ...] | None]]:
    for name in dict.fromkeys(n[1:] for n in names if n.startswith("@")):
        try:
            found = grp.getgrnam(name)
        except KeyError:
            yield name, None
            continue
        primary = [p.pw_name for p in pwd.getpwall() if p.pw_gid == found.gr_gid]
        yield name, tuple(dict.fromkeys((*found.gr_mem, *primary)))


def _person(name: str) -> _Person | None:
    try:
        known = pwd.getpwnam(name)
    except KeyError:
        return None
    return _Person(known.pw_uid, frozenset(os.getgrouplist(name, known.pw_gid)))


def _name(uid: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"uid {uid}"


def _group_name(gid: int) -> str:
    with suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return f"gid {gid}"
