"""How the app is started, and where its releases go, in the config's own words. Pure."""

from __future__ import annotations

import os
import re

from relctl.setup import toml
from relctl.setup.running import Today
from relctl.setup.seen import Seen


def releases_of(seen: Seen) -> tuple[str, str]:
    """The directory of the releases, and why it is that."""
    root = seen.root
    current = seen.current
    if _usable(current) and current.count("/") > 1:
        return os.path.dirname(current), f"{root} is a link into it"
    if _usable(root) and root.startswith("/srv/") and root.count("/") > 2:
        top = "/".join(root.split("/")[:3])
        return f"{top}/releases", f"guess: beside {root}"
    made = f"/srv/{seen.app}"
    if root == made:  # no release is inside of what it is a copy of
        made += "-releases"
    else:
        made += "/releases"
    return made, "guess: to be made; each release is a directory in it"


def command_of(seen: Seen) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """[app] command, where it is from, and what a person has to look at."""
    today, project = seen.today, seen.project
    if today is not None and _runs(today.command):
        return _as_today(seen, today)
    if project is not None and _runs(project.command):
        return project.command, f"guess: {project.source}", project.notes
    unknown = "how the app is started: [app] command is only an example"
    return (
        ("bin/serve", "--port", "{port}"),
        "guess: nothing here says how it is started",
        (unknown,),
    )


def _as_today(seen: Seen, today: Today) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    unknown = []
    command, found = _with_place(today, _roots(seen))
    if any("0.0.0.0" in word for word in command):
        unknown.append("it listens on every address: 127.0.0.1 in [app] command is enough")
    source = f"ExecStart of {today.unit}" if today.unit else f"pid {today.pid} as it runs"
    if found:
        place = "{port}" if today.port else "{socket}"
        return command, f"{source}, the port as {place}", tuple(unknown)
    unknown.append(
        "how the app is told its port: its command does not say it. reld sets PORT;"
        " else write {port} where it belongs"
    )
    return command, f"guess: {source}; the port is not in it, reld sets PORT", tuple(unknown)


def _runs(command: tuple[str, ...]) -> bool:
    """Whether it can be said at all, and names a program."""
    return bool(command) and bool(command[0].strip()) and all(map(toml.fits, command))


def _usable(path: str) -> bool:
    return path.startswith("/") and toml.fits(path) and ".." not in path.split("/")


def _roots(seen: Seen) -> list[str]:
    """Every spelling of the directory that a release takes the place of, the longest first."""
    ran = seen.today.directory if seen.today is not None else ""
    every = {root.rstrip("/") for root in (seen.directory, ran, seen.current) if toml.fits(root)}
    return sorted((root for root in every if root.count("/") > 1), key=len, reverse=True)


def _with_place(today: Today, roots: list[str]) -> tuple[tuple[str, ...], bool]:
    """The command with {port} for its port, and paths in its own directory as those of a release."""
    found = False
    words: list[str] = []
    socket = today.address.removeprefix("unix:") if not today.port else ""
    number = re.compile(rf"(?<![0-9.]){today.port}(?![0-9.])") if today.port else None
    variable = re.compile(r"\$\{PORT\}|\$PORT\b")
    for word in today.command:
        parts, place = [word], "{port}"
        if socket and socket in word:
            parts, place = word.split(socket), "{socket}"
        elif today.port and variable.search(word):
            parts = variable.split(word)
        elif number is not None and number.search(word) and words:
            parts = number.split(word)
        found = found or len(parts) > 1
        words.append(place.join(toml.braced(part) for part in parts))
    for root in map(toml.braced, roots):
        words[0] = words[0].removeprefix(f"{root}/")
        words[1:] = [word.replace(f"{root}/", "{directory}/") for word in words[1:]]
    return tuple(words), found
