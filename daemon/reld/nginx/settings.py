"""What one gate is: where it listens, where its files are, how it treats the app.

Every value that becomes nginx text is held against an allow-list here or in `render`; what does not
fit raises GateError. Only the regexes of routes are quoted, when they are written.
"""

from __future__ import annotations

import hashlib
import re
import resource
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from reld.errors import GateError

_APP = re.compile(r"[a-z][a-z0-9-]{0,62}")
_TCP = re.compile(r"(?:(?:\d{1,3}\.){3}\d{1,3}|\[[0-9a-fA-F:]{2,39}\]):(\d{1,5})")
_UNIX = re.compile(r"unix:/[A-Za-z0-9_./@+-]{1,100}")
_PATH = re.compile(r"/[A-Za-z0-9_./@+-]{0,400}")
_ASSETS = re.compile(r"/[A-Za-z0-9_./@+~-]{1,200}")
_BELOW = re.compile(r"[A-Za-z0-9_.@+-][A-Za-z0-9_./@+-]{0,200}")
_HEALTH = re.compile(r"/[!-~]{0,400}")  # quoted when it is written
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_BOOT = re.compile(r"[A-Za-z0-9-]{1,64}")
_RELEASE = re.compile(r"[A-Za-z0-9._-]{1,64}")


_ROUTE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Quoted when it is written. No leading *: "~*" is nginx's word for "any case". No named groups: they
# would become variables of nginx.
_MATCH = re.compile(r"(?!\*)(?:(?!\(\?[<P'])[ -~]){1,200}")


def _descriptors() -> int:
    # The hard limit is as far as workers get without CAP_SYS_RESOURCE; two for each request.
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 32_768)


@dataclass(frozen=True, slots=True)
class Route:
    """Requests whose path the regex `match` finds; the first route that does has them.

    `success`: the statuses that are no failure; empty = all below 500.
    """

    name: str
    match: str
    success: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Static:
    """Paths that begin with `url` are files below `dir` of a release. `cache`: seconds, 0 = unsaid."""

    url: str
    dir: str
    cache: float = 0.0


@dataclass(frozen=True, slots=True)
class GateSettings:
    """The part of the config that the gate needs.

    Args:
        app: the app's name.
        listen: "ADDRESS:PORT" that the site's nginx proxies to.
        status: "ADDRESS:PORT" of the status endpoint. Never a unix socket: after a SIGKILL the socket
            file stays and nginx does not start any more.
        runtime: on tmpfs: lanes and, in `place`, what nginx writes. Gone after a reboot.
        state: the config file is below it, it must survive a reboot.
        boot: the kernel's boot id, part of the status answer.
        keepalive: idle connections to the app per worker and instance; 0 = none.
        timeout: seconds that the app may be silent before the gate gives up.
        split: deal requests ("request") or users ("client") to the lanes.
        assets: path prefixes where a 404 is asked of the other slot too.
        static: what the gate answers from the releases' directories, see `static`.
        health: paths that go on to the app while the gate is closed for maintenance.
        unavailable_page: a person's page for the gate's own 503s; None: a line of text.
        shield: answer the candidate's failures from the live slot where that is safe.
        routes: what the request log tells apart.
        binary: the nginx to run.
        user: who the gate runs as, master and workers; None when reld is not root.
        unit: systemd's unit that is this gate; None: reld starts it by itself.
        workers: worker processes.
        descriptors: how many files a worker may have open; default what this machine allows.
    """

    app: str
    listen: str
    status: str
    runtime: Path
    state: Path
    boot: str
    keepalive: int = 16
    timeout: float = 60.0
    split: Literal["request", "client"] = "request"
    assets: tuple[str, ...] = ()
    static: tuple[Static, ...] = ()
    health: tuple[str, ...] = ()
    unavailable_page: Path | None = None
    shield: bool = True
    routes: tuple[Route, ...] = ()
    binary: Path = Path("/usr/sbin/nginx")
    user: str | None = None
    unit: str | None = None
    workers: int = 2
    descriptors: int = field(default_factory=_descriptors)

    @property
    def fingerprint(self) -> str:
        """Of what a person can edit: the same after a reboot, and whoever starts reld."""
        edited = replace(self, boot="", descriptors=0)
        return hashlib.sha256(repr(edited).encode()).hexdigest()[:16]

    @property
    def config(self) -> Path:
        return self.state / "gate" / "gate.conf"

    @property
    def staged(self) -> Path:
        return self.config.with_name("gate.conf.staged")

    @property
    def pages(self) -> Path:
        """Where the pages are that the gate shows: it may read them, and not write."""
        return self.config.parent

    @property
    def place(self) -> Path:
        """The only directory that the gate itself may write in."""
        return self.runtime / "gate"

    @property
    def pid_file(self) -> Path:
        return self.place / "gate.pid"

    @property
    def error_log(self) -> Path:
        return self.place / "error.log"

    @property
    def request_log(self) -> Path:
        return self.place / "requests.log"

    @property
    def thin(self) -> Path:
        """While this file is there, most healthy lines of the live slot are not logged."""
        return self.runtime / "thin"


def tcp_port(address: str) -> int | None:
    """The port of "ADDRESS:PORT", None for anything else."""
    match = _TCP.fullmatch(address)
    port = int(match.group(1)) if match else 0
    return port if 0 < port < 65536 else None


def check(settings: GateSettings) -> None:
    """Raises GateError for the first value that must not become nginx text."""
    _must(_APP.fullmatch(settings.app), "app", settings.app)
    _must(_BOOT.fullmatch(settings.boot), "boot id", settings.boot)
    _must(tcp_port(settings.listen), "gate.listen", settings.listen)
    _must(tcp_port(settings.status), "gate.status", settings.status)
    _must(settings.listen != settings.status, "gate.status", f"{settings.status} (is gate.listen)")
    for name, path in (
        ("runtime directory", settings.runtime),
        ("state directory", settings.state),
    ):
        _must(_PATH.fullmatch(str(path)) and ".." not in path.parts, name, str(path))
    for prefix in settings.assets:
        fits = _ASSETS.fullmatch(prefix) and ".." not in prefix and "//" not in prefix
        _must(fits, "gate.assets", prefix)
    _must(len(set(settings.assets)) == len(settings.assets), "gate.assets", "a prefix twice")
    for static in settings.static:
        fits = _ASSETS.fullmatch(static.url) and ".." not in static.url and "//" not in static.url
        _must(fits and static.url.endswith("/"), "gate.static url", static.url)
        _must(
            _BELOW.fullmatch(static.dir) and ".." not in static.dir, "gate.static dir", static.dir
        )
        _must(0 <= static.cache <= 400 * 86_400, "gate.static cache", str(static.cache))
    for asked in settings.health:
        _must(_HEALTH.fullmatch(asked), "health path", asked)
    for route in settings.routes:
        _must(_ROUTE.fullmatch(route.name), "route.name", route.name)
        _must(_MATCH.fullmatch(route.match), "route.match", route.match)
    _must(settings.user is None or _USER.fullmatch(settings.user), "gate user", str(settings.user))
    _must(settings.split in ("request", "client"), "gate.split", settings.split)
    _must(_whole(settings.keepalive, 0, 10_000), "gate.keepalive", str(settings.keepalive))
    _must(_whole(settings.workers, 1, 64), "gate workers", str(settings.workers))
    _must(_whole(settings.descriptors, 64, 1 << 20), "descriptors", str(settings.descriptors))
    _must(0.001 <= settings.timeout <= 86_400, "gate.timeout", str(settings.timeout))


def check_target(release: str, addresses: tuple[str, ...]) -> None:
    """Raises GateError for a release or an address that must not become nginx text."""
    _must(_RELEASE.fullmatch(release), "release", release)
    _must(len(addresses) <= 100, "number of instances", str(len(addresses)))
    for address in addresses:
        fits = tcp_port(address) or (_UNIX.fullmatch(address) and ".." not in address)
        _must(fits, "address", address)


def _whole(value: int, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _must(fits: object, name: str, value: str) -> None:
    if not fits:
        raise GateError(
            f"cannot write a gate config: {name} does not fit: {value[:120]!r}",
            hint="correct it in the config file, then: reld CONFIG --check",
        )
