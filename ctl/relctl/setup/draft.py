"""What is known becomes the first config, every guess marked as one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from relctl.setup import start, toml
from relctl.setup.project import Project
from relctl.setup.seen import Seen

_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_SOCKET = re.compile(r"unix:/(?!.*\.\.)[A-Za-z0-9/_.@+-]{1,100}")
_TCP = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}:[0-9]{1,5}")
_UNIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.@\\-]{0,246}\.service")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(
    r"SECRET|KEY|TOKEN|PASS|CREDENTIAL|DSN|URL|URI|AUTH|COOKIE|SALT", re.IGNORECASE
)
_PASSWORD = re.compile(r"://[^/\s]*:[^/\s]*@")
_STATIC = re.compile(r"[A-Za-z0-9_.@+-][A-Za-z0-9/_.@+-]{0,199}")
NGINX_USERS = ("www-data", "nginx", "relctl-gate", "root", "nobody", "")
"""Users who must not, or cannot, run the app."""


@dataclass(frozen=True, slots=True)
class Draft:
    """`unknown`: what a person has to look at before anything else. `releases`: where releases go."""

    text: str
    user: str
    releases: str
    unknown: tuple[str, ...]


class _Writer:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.unknown: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(toml.comment(text))

    def table(self, name: str) -> None:
        self.lines += ["", f"[{name}]"]

    def key(self, name: str, value: str, why: str) -> None:
        self.lines.append(f"{name} = {value}  {toml.comment(why)}")

    def later(self, line: str, why: str) -> None:
        """Ready to be used: its comment sign away, and it counts."""
        self.lines.append(
            f"{toml.comment(line)}  {toml.comment(why)}" if why else toml.comment(line)
        )


def draft(seen: Seen) -> Draft:
    """A config that loads, once its user exists."""
    out = _Writer()
    out.lines.append(toml.comment(f"/etc/relctl/{seen.app}.toml: all keys are in relctl.toml(5)"))
    out.say('"guess" is what relctl init could not see for sure: look at those lines first')
    _behind(seen, out)
    user = _user(seen, out)
    releases = _app(seen, out, user)
    _readiness(seen, out)
    _external(seen, out)
    _gate(seen, out)
    _later(seen, out)
    return Draft("\n".join(out.lines) + "\n", user, releases, tuple(out.unknown))


def _behind(seen: Seen, out: _Writer) -> None:
    today = seen.today
    if today is not None and not today.listens:
        out.unknown.append(f"the app: nobody listens at {today.address} now, where the site leads")
    elif today is not None and not today.pid:
        out.unknown.append(f"whose process listens at {today.address}: sudo relctl init sees that")


def _user(seen: Seen, out: _Writer) -> str:
    ran = seen.today.user if seen.today is not None else ""
    for name in (ran, seen.owner):
        if name not in NGINX_USERS and _USER.fullmatch(name) and name in seen.accounts:
            return name
    if ran in ("www-data", "nginx", "root"):
        out.unknown.append(f"the app runs as {ran} today: give it a user of its own, {seen.app}")
    return seen.app


def _app(seen: Seen, out: _Writer, user: str) -> str:
    out.table("app")
    command, why, unknown = start.command_of(seen)
    out.unknown.extend(unknown)
    out.key("command", toml.texts(command), why)
    releases, why = start.releases_of(seen)
    out.key("directory", toml.text(f"{toml.braced(releases)}/{{release}}"), why)
    ran = seen.today.user if seen.today is not None else ""
    if user == ran:
        why = f"who runs it today ({seen.source})"
    elif user == seen.owner:
        why = f"guess: who owns {seen.directory}"
    else:
        why = f"guess: a user of its own, to be made: adduser --system --group {user}"
    out.key("user", toml.text(user), why)
    if _HOST.fullmatch(seen.host):
        out.key(
            "host", toml.text(seen.host), f"server_name of {seen.where}: the Host of every probe"
        )
    else:
        out.later(
            'host = "www.example.com"', "the Host of every probe; an app may insist on its own"
        )
    if seen.copies > 1:
        out.key("instances", str(min(seen.copies, 100)), f"servers of the upstream in {seen.where}")
    _environment(seen, out)
    signal = seen.today.stop_signal if seen.today is not None else ""
    if signal not in ("", "SIGTERM", "SIGKILL", "SIGSTOP"):
        out.key("stop_signal", toml.text(signal), f"KillSignal of {seen.source}")
    return releases


def _environment(seen: Seen, out: _Writer) -> None:
    today = seen.today
    if today is None:
        out.later(f'env_file = "/etc/relctl/{seen.app}.env"', "secrets; root's, mode 600")
        return
    files = [f for f in today.env_files if f.startswith("/") and toml.fits(f) and "{" not in f]
    if files:
        out.key("env_file", toml.text(files[0]), f"EnvironmentFile of {today.unit}")
        if len(files) > 1:
            out.unknown.append(
                f"{today.unit} reads {len(files)} environment files, env_file is one"
            )
            out.say(f"one file only; it reads these too: {', '.join(files[1:])}")
    kept, secret = {}, []
    for name, value in today.environment:
        if name == "PORT" or name.startswith("RELCTL_") or not _VARIABLE.fullmatch(name):
            continue
        hidden = _SECRET.search(name) or _PASSWORD.search(value)
        if hidden or not toml.fits(value) or "{" in value:
            secret.append(name)
        else:
            kept[name] = value
    if kept:
        out.key("env", toml.table(kept), f"Environment of {today.unit}")
    if secret:
        out.unknown.append(f"put {', '.join(secret)} into env_file: {today.unit} sets them itself")
        out.say(f"{today.unit} sets these too, they belong into env_file: {', '.join(secret)}")


def _readiness(seen: Seen, out: _Writer) -> None:
    out.table("readiness")
    guess = seen.project.ready if seen.project is not None else ""
    if seen.ready:
        out.key(
            "path",
            toml.text(seen.ready),
            "guess: it answered just now; does it ask what the app needs?",
        )
    elif guess:
        out.key(
            "path",
            toml.text(guess),
            f"guess: usual for {seen.project.kind if seen.project else ''}",
        )
    else:
        out.key(
            "tcp",
            "true",
            'guess: it accepts. Better: path = "/ready", which asks what the app needs',
        )
        out.unknown.append(
            "where the app says that it is ready: [readiness] tcp only sees that it listens"
        )
    out.lines.append("")
    out.later("[[smoke]]", "before the first user: what really works, in a good release")
    out.later('name = "home"', "")
    out.later('path = "/"', "")
    out.later('contains = "Welcome"', "")


def _external(seen: Seen, out: _Writer) -> None:
    today = seen.today
    if today is None or not today.listens:
        return
    if not (_TCP.fullmatch(today.address) or _SOCKET.fullmatch(today.address)):
        return
    out.table("external")
    out.say(
        "the app that runs today is the first live slot; all of this goes after the first switch"
    )
    out.key("address", toml.text(today.address), f"where {seen.where or 'the site'} leads today")
    if _UNIT.fullmatch(today.unit):
        out.key("unit", toml.text(today.unit), "whose process listens there")


def _gate(seen: Seen, out: _Writer) -> None:
    out.table("gate")
    why = seen.why_listen or "where the site's proxy_pass leads from now on"
    out.key("listen", toml.text(seen.listen), why)


def _later(seen: Seen, out: _Writer) -> None:
    project = seen.project
    if project is None:
        return
    lines = list(_project(project))
    if lines:
        out.lines.append("")
        out.say(f"A {project.kind} app ({project.source}):" if project.kind else "The project:")
        for line, why in lines:
            out.later(line, why)


def _project(project: Project) -> Iterator[tuple[str, str]]:
    if project.build and all(toml.fits(word) for words in project.build for word in words):
        yield "[releases]", "for relctl unpack"
        yield f"build = {toml.lists(project.build)}", "guess"
    if project.migrate and all(map(toml.fits, project.migrate)):
        yield "[hooks]", "the old release runs on beside it: only what both can live with"
        yield f"before_start = {toml.texts(project.migrate)}", "guess"
    if project.static and _STATIC.fullmatch(project.static[1]):
        url, place = project.static
        yield "[gate]", "into the table above"
        yield f'static = [{{ url = "{url}", dir = "{place}" }}]', "guess: if the names are hashed"
    for name, command in project.workers:
        if all(map(toml.fits, command)):
            yield "[[worker]]", "beside the app, where its release is live"
            yield f"name = {toml.text(name)}", ""
            yield f"command = {toml.texts(command)}", "guess"
