"""Readers of `[releases]`: what happens to a release that `relctl unpack` puts in place."""

from __future__ import annotations

import itertools
import re
from typing import Any

from reld.config import Config, fill
from reld.config_toml import Findings
from reld.config_values import WrongError, absolute, argv, items, show, text

_BUILD = (
    'a list of commands, such as [["bin/bundle", "install"], ["bin/rails", "assets:precompile"]]'
)
_SHARED = 'a list of paths in a release, such as ["storage", "tmp/pids"]'
_LINK = 'the absolute path of a symlink, such as "/srv/web/current"'
_PATH = re.compile(r"(?!-)[A-Za-z0-9_.@+-]{1,64}(?:/[A-Za-z0-9_.@+-]{1,64}){0,7}")
_COMMAND = argv(("release",))


def build(value: Any) -> tuple[tuple[str, ...], ...]:
    """Commands, one after the other; of placeholders only {release}: the directory gets its name later."""
    raw = items(value, _BUILD)
    if raw and all(isinstance(item, str) for item in raw):
        words = ", ".join(show(item) for item in raw[:12])
        raise WrongError("a list of commands is needed, not one command", _BUILD, f"[[{words}]]")
    return tuple(_COMMAND(item) for item in raw)


def shared(value: Any) -> tuple[str, ...]:
    """Each path once, and none below another."""
    found = tuple(_path(item) for item in items(value, _SHARED))
    for one, other in itertools.permutations(found, 2):
        if one == other:
            raise WrongError(f"{show(one)} is there twice", _SHARED)
        if one.startswith(f"{other}/"):
            raise WrongError(
                f"{show(one)} is in {show(other)}, which is shared as a whole", _SHARED
            )
    return found


def follow(value: Any) -> str:
    path = absolute(text(value, _LINK))
    if ".." in path.split("/") or path.endswith("/") or "//" in path:
        raise WrongError(f"{show(value)} is no plain path of a symlink", _LINK)
    return path


def check(config: Config, findings: Findings) -> None:
    """The link cannot be a release itself."""
    link, key = config.releases.follow, ("releases", "follow")
    if link is None or findings.about(key, ("app", "directory")):
        return
    parent = fill(config.app.directory, {"release": "\0"}).partition("\0")[0].rpartition("/")[0]
    if link == parent or parent.startswith(f"{link}/"):
        what = f"{show(link)} is where the releases are"
        findings.add(key, what, "the symlink that says which of them is to be live")


def _path(value: Any) -> str:
    path = text(value, _SHARED).removeprefix("./").rstrip("/")
    if not _PATH.fullmatch(path) or not {".", ".."}.isdisjoint(path.split("/")):
        raise WrongError(f"{show(value)} is no path in a release", _SHARED)
    return path
