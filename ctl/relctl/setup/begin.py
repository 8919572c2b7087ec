"""From what runs today to a first config, and what to type next. Nothing is edited or written over."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tempfile
from contextlib import suppress

import click

from relctl import find, programs
from relctl.errors import DONE, FAILED, CtlError, UsageError
from relctl.look import look_of
from relctl.setup import look as looking
from relctl.setup import sites as nginx
from relctl.setup.draft import Draft, draft
from relctl.setup.seen import Seen
from relctl.setup.sites import Change, Site
from relctl.text import clean

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")


def run(
    name: str | None,
    directory: str | None,
    site: str | None,
    config: str | None,
    *,
    write: bool,
    as_json: bool,
) -> int:
    """The exit code. Raises CtlError."""
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(
            f"cannot call an app {name!r}: a name is lower-case letters, digits and dashes",
            "relctl init web",
        )
    path = os.path.join(find.ETC, f"{name}.toml") if name else ""
    if write and not name:
        raise UsageError("cannot write without a name for the app", "relctl init web --write")
    if write and os.path.lexists(path):
        raise _there(path)
    every, why_not = nginx.sites(config or "")
    chosen = _chosen(every, site)
    address = chosen.addresses[0] if chosen is not None else ""
    place = directory or ("" if chosen is not None else os.getcwd())
    seen = looking.gather(name or "", place, chosen, address, find.ETC)
    app = seen.app
    made = draft(seen)
    changes = nginx.changes(every, chosen, seen.listen) if chosen is not None else ()
    wrong = [] if write else _wrong(app, made.text)
    if write:
        _write(path, made.text)
        wrong = _checked(path)
    unknown = [*made.unknown, *(_no_site(every, why_not) if chosen is None else [])]
    steps = _steps(seen, made, changes, written=write)
    if as_json:
        told = {"app": app, "config": made.text, "written": path if write else None}
        edits = [{"file": c.file, "line": c.line, "type": c.command} for c in changes]
        more = {"unknown": unknown, "wrong": wrong, "site": edits, "next": steps}
        click.echo(json.dumps({**told, **more}))
        return DONE
    if not write:
        click.echo(made.text, nl=False)
        sys.stdout.flush()
    _talk(unknown, wrong, steps, changes, f"{path} is written" if write else "")
    return DONE


def _chosen(every: tuple[Site, ...], wanted: str | None) -> Site | None:
    """The site that leads to the app. Raises UsageError: it cannot be told which, or there is none such."""
    gates = looking.gates(find.ETC)
    plain = [s for s in every if s.how == "proxy_pass" and s.addresses]
    left = [s for s in plain if not set(s.addresses) & set(gates)]
    if wanted is not None:
        left = [s for s in left if wanted in s.names or _named(s, wanted)]
        if not left:
            gone = next((gates[a] for s in plain for a in s.addresses if a in gates), "")
            known = ", ".join(sorted({s.name for s in plain})) or "none"
            told = f"; what leads to a gate already is {gone}'s" if gone else ""
            raise UsageError(f"cannot find a site {clean(wanted)}: there is {clean(known)}{told}")
    apps = {s.addresses: s for s in reversed(left)}
    if len(apps) > 1:
        found = ", ".join(f"{s.name} → {s.addresses[0]}" for s in reversed(apps.values()))
        last = next(reversed(apps.values()))
        same = sum(s.name == last.name for s in apps.values()) > 1
        which = last.addresses[0].rpartition(":")[2] if same else last.name
        raise UsageError(
            f"cannot tell which app is meant: nginx passes requests on to {clean(found)}",
            f"relctl init APP --site {clean(which)}",
        )
    return next(iter(apps.values()), None)


def _no_site(every: tuple[Site, ...], why_not: str) -> list[str]:
    if why_not:
        return [f"the site: {why_not}"]
    for one in every:
        if one.how != "proxy_pass":
            needs = "the app needs an HTTP server of its own, and the site a proxy_pass"
            where = f"{one.file}:{one.line}"
            return [f"{one.name} uses {one.how} ({where}), and the gate speaks HTTP: {needs}"]
        if not one.addresses:
            return [
                f"where {one.name} leads: {one.text} is known per request ({one.file}:{one.line})"
            ]
    return ["where the app listens today: no site of this machine's nginx passes requests on"]


def _named(site: Site, wanted: str) -> bool:
    return any(wanted in (a, a.rpartition(":")[2]) for a in site.addresses)


def _there(path: str) -> CtlError:
    return CtlError(
        f"cannot write {path}: it is there, and nothing is ever overwritten",
        FAILED,
        "exists",
        "the same on the screen: leave --write away",
    )


def _write(path: str, text: str) -> None:
    """Raises CtlError."""
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # O_EXCL: nothing is lost, not even to somebody who writes it at the same moment.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise _there(path) from None
    except OSError as error:
        raise _unwritten(path, error, "sudo relctl init …, or leave --write away") from None
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            data = text.encode()
            while data:
                data = data[file.write(data) :]
            os.fsync(handle)
    except OSError as error:
        with suppress(OSError):
            os.unlink(path)  # ours: a part of a config is none
        raise _unwritten(path, error, "df -h; then the same again") from None


def _unwritten(path: str, error: OSError, mend: str) -> CtlError:
    why = (error.strerror or str(error)).lower()
    return CtlError(f"cannot write {path}: {why}", FAILED, "write", mend)


def _wrong(app: str, text: str) -> list[str]:
    """What reld would have against it, before it is anywhere."""
    try:
        with tempfile.TemporaryDirectory(prefix="relctl-init-") as place:
            path = os.path.join(place, f"{app}.toml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            return [line.replace(f"{place}/", "") for line in _checked(path)]
    except OSError as error:
        return [f"it could not be asked: {(error.strerror or str(error)).lower()}"]


def _checked(path: str) -> list[str]:
    program = programs.reld()
    if not program:
        return []
    code, out, _ = programs.said([*program, path, "--check"], nginx.PATIENCE)
    # reld is root where it matters.
    return [
        line for line in out.splitlines() if code == 8 and "cannot start anything as" not in line
    ]


def _steps(seen: Seen, made: Draft, changes: tuple[Change, ...], *, written: bool) -> list[str]:
    """What to type, in this order."""
    app, path = seen.app, os.path.join(find.ETC, f"{seen.app}.toml")
    steps = [] if written else [f"sudo relctl init {app} --write", f"sudoedit {path}"]
    if written:
        steps.append(f"sudoedit {path}")
    if made.user not in seen.accounts:
        steps.append(f"sudo adduser --system --group {made.user}")
    releases = shlex.quote(made.releases)  # paths are anybody's, and these lines are root's
    if not os.path.isdir(made.releases):
        steps.append(f"sudo install -d -o {made.user} -g {made.user} {releases}")
    source = seen.directory
    if source and not seen.current and not made.releases.startswith(f"{source}/"):
        steps.append(f"sudo cp -a {shlex.quote(source)} {releases}/v1")
    steps += [f"sudo reld {path} --check", f"sudo systemctl enable --now reld@{app}"]
    steps += [change.command for change in changes]
    if changes:
        steps.append("sudo nginx -t && sudo systemctl reload nginx")
    return [*steps, "sudo relctl check", "sudo relctl switch v1"]


def _talk(
    unknown: list[str], wrong: list[str], steps: list[str], changes: tuple[Change, ...], first: str
) -> None:
    look = look_of(sys.stderr)

    def say(text: str = "") -> None:
        click.echo(
            look.text(clean(text))
            if not text.startswith("  ")
            else "  " + look.text(clean(text[2:])),
            err=True,
        )

    if first:
        say(first)
    if unknown:
        say()
        say("What could not be seen:")
        for text in dict.fromkeys(unknown):
            say(f"  - {text}")
    if wrong:
        say()
        say("What reld has against it so far:")
        for text in wrong:
            say(f"  - {text}")
    say()
    if changes:
        lines = "line" if len(changes) == 1 else "lines"
        say(f"The {lines} of the site that {'changes' if len(changes) == 1 else 'change'}:")
        for change in changes:
            say(f"  {change.file}:{change.line}: {change.before} → {change.after}")
    else:
        say("The site: proxy_pass to the address of [gate] listen, in place of the app's own")
    say()
    say("Next:")
    for step in steps:
        say(f"  {step}")
