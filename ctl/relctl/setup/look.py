"""Looks at the machine for `relctl init`. Nothing in here changes anything."""

from __future__ import annotations

import os
import pwd
import re
import tomllib
from contextlib import suppress
from pathlib import Path

from relctl.setup import project as projects
from relctl.setup import running
from relctl.setup.running import Today
from relctl.setup.seen import Seen
from relctl.setup.sites import Site

LARGEST = 1 << 20
FIRST, LAST = 8080, 8099
"""Ports for the gate: the first of them that is free."""
_READY = (
    "/ready",
    "/readyz",
    "/health/ready",
    "/healthz",
    "/health",
    "/up",
    "/api/health",
    "/-/ready",
)
_NOWHERE = "/relctl-init/no-such-page"
_PATIENCE = 0.5
_NO_NAMES = ("current", "app", "html", "www", "src", "live", "root", "home", "srv", "var", "tmp")
_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib", "/etc/", "/run/", "/dev/", "/proc/", "/tmp/")


def gather(app: str, directory: str, site: Site | None, address: str, etc: str) -> Seen:
    """`app`: its name, "" = what suits. `directory`: what was typed, "" = where the app runs. `etc`: where
    the other apps' configs are.
    """
    today = running.today(address) if address else None
    place = directory or (home(today) if today is not None else "")
    place = os.path.abspath(place) if place else ""
    listen, why = _free(etc, today)
    names = [n for n in (site.names if site is not None else ()) if n not in ("", "_", "localhost")]
    host = next((n for n in names if n[0] not in "*.~"), "")
    return Seen(
        app=app or name_for(place, today, site),
        today=today,
        project=projects.project_of(files(place)) if place else None,
        directory=place,
        owner=_owner(place) if place else "",
        host=host,
        where=site.file if site is not None else "",
        copies=len(site.servers) if site is not None and site.servers else 1,
        ready=_answering(today, host) if today is not None and today.listens else "",
        listen=listen,
        why_listen=why,
        current=os.path.realpath(place) if place and os.path.islink(place) else "",
        accounts=frozenset(account.pw_name for account in pwd.getpwall()),
    )


def home(today: Today) -> str:
    """The directory of the app's code; "" = not known.

    Where it runs, or, for a unit without a WorkingDirectory, where its program is.
    """
    if today.directory not in ("", "/"):
        return today.directory
    for word in today.command:
        if word.startswith("/") and not word.startswith(_SYSTEM) and os.path.isfile(word):
            place = os.path.dirname(word)
            for inner in ("/bin", "/.venv", "/venv"):
                place = place.removesuffix(inner)
            return place if place.count("/") > 1 else ""
    return ""


def name_for(place: str, today: Today | None, site: Site | None) -> str:
    """A name that an app can have: of its directory, its unit or its site."""
    inner, outer = os.path.basename(place), os.path.basename(os.path.dirname(place))
    unit = today.unit.removesuffix(".service") if today is not None else ""
    names = site.names if site is not None else ()
    for word in (inner, outer if inner in _NO_NAMES else "", unit, *names):
        first = word.lower().removeprefix("www.").partition(".")[0]
        plain = re.sub(r"[^a-z0-9]+", "-", first).strip("-")[:40].strip("-")
        if re.fullmatch(r"[a-z][a-z0-9-]*", plain) and plain not in _NO_NAMES:
            return plain
    return "web"


def files(directory: str) -> dict[str, str]:
    """The names in it, with the content of those that say something."""
    found: dict[str, str] = {}
    try:
        names = sorted(os.listdir(directory))[:2000]
    except OSError:
        return found
    for name in names:
        found[name] = ""
        if name in projects.READ:
            path = os.path.join(directory, name)
            with suppress(OSError):
                if os.path.isfile(path):
                    with open(path, encoding="utf-8", errors="replace") as file:
                        found[name] = file.read(LARGEST)
    return found


def gates(etc: str) -> dict[str, str]:
    """Addresses where gates of this machine's apps listen, and the apps."""
    found = {}
    for path in sorted(Path(etc).glob("*.toml")):
        with suppress(OSError, ValueError, RecursionError):
            gate = tomllib.loads(path.read_text("utf-8")).get("gate", {})
            listen = gate.get("listen") if isinstance(gate, dict) else None
            found[str(listen or "127.0.0.1:8080").replace("localhost", "127.0.0.1")] = path.stem
    return found


def _free(etc: str, today: Today | None) -> tuple[str, str]:
    """An address for the gate, and why it is not the usual one."""
    taken, busy = gates(etc), running.listening()
    why = ""
    for port in range(FIRST, LAST + 1):
        address = f"127.0.0.1:{port}"
        if address in taken:
            why = why or f"{FIRST} is the gate of {taken[address]}"
        elif port in busy:
            mine = today is not None and today.port == port
            why = why or f"{'the app itself' if mine else 'somebody'} listens on {FIRST}"
        else:
            return address, why and f"guess: a free port; {why}"
    return f"127.0.0.1:{FIRST}", f"guess: {FIRST} to {LAST} are all taken, choose another"


def _owner(directory: str) -> str:
    with suppress(OSError, KeyError):
        return pwd.getpwuid(os.stat(directory).st_uid).pw_name
    return ""


def _answering(today: Today, host: str) -> str:
    """The first of the usual paths that says 2xx, where a path that cannot exist does not."""
    if _status(today, _NOWHERE, host) in (None, *range(200, 300)):
        return ""
    return next((p for p in _READY if _status(today, p, host) in range(200, 300)), "")


def _status(today: Today, path: str, host: str) -> int | None:
    """None: no answer that one could read."""
    import http.client
    import socket

    connection = http.client.HTTPConnection("127.0.0.1", today.port or 80, timeout=_PATIENCE)
    with suppress(OSError, http.client.HTTPException, ValueError):
        try:
            if not today.port:
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.settimeout(_PATIENCE)
                connection.sock.connect(today.address.removeprefix("unix:"))
            headers = {
                "Host": host or "localhost",
                "User-Agent": "relctl",
                "X-Forwarded-Proto": "https",
            }
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()
    return None
