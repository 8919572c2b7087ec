"""Where releases are, as `app.directory` says it, and which of them `relctl unpack` made."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass

from reld.config import fill
from reld.core.prune import Unpacked
from reld.errors import Refused
from reld.unpack import claim
from reld.unpack.claim import INCOMPLETE
from reld.unpack.trees import is_hidden

MARKER = ".relctl"


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A release that may not be used yet.

    `marker`: the file that says so; somebody who copies by other means puts it in first, and removes
    it last. `by_unpack`: nobody else did. `going_on`: unpack is building it now.
    """

    marker: str
    by_unpack: bool
    going_on: bool

    @property
    def word(self) -> str:
        return "being built" if self.going_on else "incomplete"


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
        top = os.path.join(place.parent, name)
        made = None if os.path.lexists(os.path.join(top, INCOMPLETE)) else _made(top)
        if fits and made is not None and not is_hidden(name):
            found.append(Unpacked(release, made))
    return found


def interrupted(template: str) -> bool:
    """Whether an unpack or a removal was cut off, or is going on; blocks."""
    try:
        place = place_of(template, "x")
    except Refused:
        return False
    names = _names(place.parent)
    return any(is_hidden(n) or claim.left(place.parent, n) is not None for n in names)


def incomplete(top: str, directory: str) -> Incomplete | None:
    """Whether a release says so itself; blocks. `top`: its own directory in that of all releases.
    `directory`: where the app is started, that one or below it. None: it does not.
    """
    left = claim.left(*os.path.split(top))
    if left is not None:
        going_on = claim.at_work(top)
        return Incomplete(os.path.join(top, INCOMPLETE), by_unpack=True, going_on=going_on)
    for place in (directory, top):
        marker = os.path.join(place, INCOMPLETE)
        if os.path.lexists(marker):
            return Incomplete(marker, by_unpack=False, going_on=False)
    return None


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


def _made(top: str) -> float | None:
    """When; None: it was not made by unpack. Never waits, and follows no link."""
    with suppress(OSError):
        found = os.lstat(os.path.join(top, MARKER))
        if stat.S_ISREG(found.st_mode) and not os.path.islink(top):
            return found.st_mtime
    return None
