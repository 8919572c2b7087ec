"""A release as systemd units that run without reld, and the secrets that they read. Pure but for PATH.

A unit file is a language of its own (systemd.unit(5), systemd.service(5), systemd.exec(5)): `%`
begins a specifier everywhere, `$` a variable in a command line, a backslash at the end of a line joins
it with the next one, quotes and backslashes are read as in C. What cannot be said in it is refused.
"""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from reld.config import App, fill, named
from reld.core.model import Color
from reld.core.units import plain_name
from reld.errors import PrepareError
from reld.processes.environment import DEFAULT_PATH
from reld.snapshot import Seat, Snapshot, placeholders

UNITS = Path("/etc/systemd/system")
ENVIRONMENTS = Path("/etc/default")

_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./:=,@+-]+", re.ASCII)
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NOT_IN_A_PATH = "\"'\\"
_NOT_WITHOUT_RELD = ("PORT",)  # the unit itself says it


@dataclass(frozen=True, slots=True)
class File:
    path: str
    mode: int
    text: str


@dataclass(frozen=True, slots=True)
class PlainUnits:
    """`names`: one unit for each instance, without ".service". `files`: the environment first."""

    names: tuple[str, ...]
    files: tuple[File, ...]


def plain_units(
    snapshot: Snapshot, app: str, color: Color, unit: str, ports: tuple[int, ...]
) -> PlainUnits:
    """Units that run the release as its instances ran: user, directory, command, environment, end.

    Raises PrepareError for what a unit file or an environment file cannot say.
    """
    if snapshot.app.user is None:
        raise PrepareError(
            "cannot write a unit: app.user is not set, and the app must not become root",
            "set app.user, relctl restart, then relctl eject",
        )
    if "socket" in named(snapshot.app.command):
        raise PrepareError(
            "cannot write a unit: the app listens on {socket}, a place that reld makes for each start",
            "put {port} into app.command, relctl restart, then relctl eject",
        )
    names = tuple(plain_name(unit, port, len(ports)) for port in ports)
    secrets = File(str(ENVIRONMENTS / unit), 0o600, _environment(snapshot, app, color))
    files = [secrets]
    for index, (name, port) in enumerate(zip(names, ports, strict=True)):
        seat = Seat(app, color, index, 0, f"127.0.0.1:{port}", "")
        text = _unit(snapshot, seat, secrets.path)
        files.append(File(str(UNITS / f"{name}.service"), 0o644, text))
    return PlainUnits(names, tuple(files))


def _unit(snapshot: Snapshot, seat: Seat, secrets: str) -> str:
    app = snapshot.app
    values = placeholders(snapshot, seat)
    command = tuple(fill(word, values) for word in app.command)
    lines = [
        f"# {seat.app} {snapshot.release} on {seat.address}, as it ran when it was handed over.",
        "[Unit]",
        f"Description={seat.app} {snapshot.release} on port {seat.port}",
        "After=network.target",
        "# At a shutdown the site goes first: then nobody is left who could be refused here.",
        "Before=nginx.service",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"User={app.user}",
        f"WorkingDirectory={_directory(snapshot.directory)}",
        f"Environment=PORT={seat.port}",
        f"EnvironmentFile={secrets}",
        f"ExecStart={command_line(_found(command[0], snapshot), command[1:])}",
        "KillMode=mixed",
        f"KillSignal={app.stop_signal}",
        f"TimeoutStopSec={_span(app.stop_timeout)}",
        "Restart=always",
        "RestartSec=1",
        "LimitNOFILE=65536",
        "# A worker that the kernel takes is its master's business, not the end of the app.",
        "OOMPolicy=continue",
        *_limits(app),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def _limits(app: App) -> list[str]:
    wanted = (("MemoryMax", app.memory_max), ("TasksMax", app.tasks_max))
    return [f"{directive}={value}" for directive, value in wanted if value is not None]


def command_line(program: str, arguments: tuple[str, ...]) -> str:
    """The value of ExecStart=. `program` is an absolute path.

    Raises PrepareError.
    """
    # systemd refuses these in the path itself, quoted or not.
    if not program.startswith("/") or any(c in program for c in _NOT_IN_A_PATH):
        raise _cannot_say("the path of its program", program)
    words = [_word(program), *(_word(argument) for argument in arguments)]
    # A colon before the path: `$` means nothing, in no word.
    colon = ":" if any("$" in word for word in words) else ""
    return colon + " ".join(words)


def _word(word: str) -> str:
    _sayable("a word of app.command", word, allowed="\t")
    if _PLAIN_WORD.fullmatch(word):
        return word
    inside = word.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return '"' + inside.replace("%", "%%") + '"'


def _directory(path: str) -> str:
    """A value that is taken as it is to the end of the line: no quotes, no escapes but `%%`."""
    _sayable("the release's directory", path)
    if path != path.strip() or path.endswith("\\"):
        raise _cannot_say("the release's directory", path)
    return path.replace("%", "%%")


def _found(word: str, snapshot: Snapshot) -> str:
    """As the launcher finds it: a path is one in the release, a name is looked up in its PATH."""
    if "/" in word:
        return os.path.join(snapshot.directory, word)
    path = dict(snapshot.env).get("PATH", DEFAULT_PATH)
    found = shutil.which(word, path=path)
    if found is None:
        raise PrepareError(f"cannot write a unit: {word} is not in {path}")
    return os.path.join(snapshot.directory, found)


def _environment(snapshot: Snapshot, app: str, color: Color) -> str:
    """The values of an environment file: in double quotes four characters need a backslash."""
    ours = {"RELCTL_APP": app, "RELCTL_SLOT": str(color), "RELCTL_RELEASE": snapshot.release}
    lines = [f"# The environment of {app}, as {snapshot.release} was given it."]
    for name, value in {**dict(snapshot.env), **ours}.items():
        if name in _NOT_WITHOUT_RELD:
            continue
        if not _ENV_NAME.fullmatch(name):
            raise PrepareError(
                f"cannot write an environment file: {name!r} is no name that systemd takes",
                "A-Z a-z 0-9 _, and no digit first",
            )
        _sayable(f"the value of {name}", value, allowed="\t\n", shown=False)
        escaped = re.sub(r'(["\\`$])', r"\\\1", value)
        lines.append(f'{name}="{escaped}"')
    return "\n".join(lines) + "\n"


def _span(seconds: float) -> str:
    """For systemd 0 means never."""
    milliseconds = max(1, round(seconds * 1000))
    whole, rest = divmod(milliseconds, 1000)
    return f"{milliseconds}ms" if rest else str(whole)


def _sayable(what: str, text: str, *, allowed: str = "", shown: bool = True) -> None:
    strange = any(unicodedata.category(c) in ("Cc", "Cs") and c not in allowed for c in text)
    if strange:
        raise _cannot_say(what, text if shown else "")


def _cannot_say(what: str, text: str) -> PrepareError:
    shown = f" {ascii(text)[:120]}" if text else ""
    return PrepareError(
        f"cannot write a unit: {what}{shown} has characters that a unit file cannot say",
        "take them out, relctl restart, then relctl eject",
    )
