"""Where releases are, as `app.directory` says it, and which of them `relctl unpack` made."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass

from reld.config import fill
from reld.core.prune import Unpacked
from reld.errors import Refused
from reld.unpack.trees import is_hidden

MARKER = ".relctl"
INCOMPLETE = ".relctl-incomplete"
"""Somebody who copies a release by other means puts this file into it first, and removes it last."""


@dataclass(frozen=True, slots=True)
class Place:
    """`parent`: the directory of all releases. `name`: this release's own in there. `inside`: the way
    from that to where the app is started, "" = the same.
    """

    parent: str
    name: str
    inside: str

    @property
    def top(self) -> str:
        return os.path.join(self.parent, self.name)

    @property
    def shared(self) -> str:
        """The directory `shared` beside the directory of all releases."""
        return os.path.join(os.path.dirname(self.parent), "shared")


def place_of(template: str, release: str) -> Place:
    """Raises Refused: the template names the release more than once."""
    before, part, after = _split(template)
    values = {"release": release}
    return Place(fill(before, values) or "/", fill(part, values), fill(after, values))


def unpacked(template: str) -> list[Unpacked]:
    """What unpack made; blocks. Of a template that it cannot use: nothing."""
    try:
        place = place_of(template, "\0")
    except Refused:
        return []
    start, _, end = place.name.partition("\0")
    found = []
    for name in _names(place.parent):
        release = name[len(start) : len(name) - len(end)]
        fits = name.startswith(start) and name.endswith(end) and release
        made = _made(os.path.join(place.parent, name, MARKER))
        if fits and made is not None and not is_hidden(name):
            found.append(Unpacked(release, made))
    return found


def interrupted(template: str) -> bool:
    """Whether an unpack or a removal was cut off, or is going on; blocks."""
    try:
        place = place_of(template, "x")
    except Refused:
        return False
    return any(is_hidden(name) for name in _names(place.parent))


def _split(template: str) -> tuple[str, str, str]:
    parts = template.rstrip("/").split("/")
    where = [n for n, part in enumerate(parts) if "{release}" in part.replace("{{", "")]
    if len(where) != 1 or parts[where[0]].count("{release}") != 1:
        raise Refused(
            f"cannot unpack: app.directory is {template}, which names the release more than once",
            'one {release} in it is needed, such as "/srv/web/releases/{release}"',
        )
    at = where[0]
    return "/".join(parts[:at]), parts[at], "/".join(part for part in parts[at + 1 :] if part)


def _names(parent: str) -> list[str]:
    try:
        return os.listdir(parent)
    except OSError:
        return []


def _made(marker: str) -> float | None:
    """When; None: it was not made by unpack. Never waits, and follows no link."""
    with suppress(OSError):
        found = os.lstat(marker)
        if stat.S_ISREG(found.st_mode):
            return found.st_mtime
    return None
