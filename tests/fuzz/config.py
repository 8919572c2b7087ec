"""The config file: a Config, or findings of one line each; and what it makes of the gate's config."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from reld.config import Config, fill
from reld.config_file import load
from reld.config_streams import health
from reld.core.model import Closed, Color, Routing, Target
from reld.errors import ConfigError
from reld.nginx.render import render
from reld.nginx.settings import GateSettings, Route, Static
from reld.telling.target import name_of as target_name
from reld.telling.webhook import Webhook
from tests.fuzz import gate_text
from tests.fuzz.counted import Counted, tried
from tests.fuzz.mutate import spoiled

FULL = """\
[app]
command = ["bin/serve", "--port", "{port}", "{{x}}"]
directory = "/srv/web/releases/{release}"
user = "nobody"
host = "www.example.com"
instances = 2
env_file = "/etc/relctl/web.env"
env = { LANG = "C.UTF-8", A_B = "c d" }
stop_signal = "SIGTERM"
stop_timeout = "30s"
memory_max = "512M"
tasks_max = 100
[ports]
range = "21000-21099"
[readiness]
path = "/ready"
interval = "200ms"
timeout = "2s"
successes = 2
deadline = "1m30s"
[liveness]
path = "/live"
failures = 3
[[smoke]]
name = "login"
method = "POST"
path = "/login?a=b"
body = "user=probe"
headers = { Content-Type = "application/x-www-form-urlencoded" }
status = [200, 302]
contains = "Welcome"
within = "800ms"
times = 5
warm = 2
[[smoke]]
name = "job"
command = ["bin/smoke", "{port}"]
[rollout]
steps = [5, "approve", 25, 50, 95, 100]
step_time = "1m"
step_requests = 300
step_max = "10m"
bake = "10m"
drain = "30s"
drain_max = "5m"
strategy = "warm"
surge = 1
shadow = "5%"
side_by_side = true
[releases]
build = [["make"], ["bin/assets", "{release}"]]
shared = ["storage", "tmp/pids"]
keep = 5
max_size = "2G"
unpack_timeout = "10m"
follow = "/srv/web/current"
[[worker]]
name = "mailer"
command = ["bin/mail", "{release}"]
instances = 2
stop_timeout = "1m"
stop_signal = "SIGTERM"
handover = "stop-first"
[verdict]
false_alarm = "1/1000"
max_error_rate = "5%"
max_p95 = 0.8
warmup = "1m"
on_unproven = "promote"
shield = true
[[route]]
name = "checkout"
match = "^/checkout(/|$)"
success = [200, 302]
[[route]]
name = "api.v2"
match = "\\\\.json$|^/api/[a-z]+/(?:x|y)"
[gate]
listen = "127.0.0.1:8080"
status = "127.0.0.1:21099"
keepalive = 16
timeout = "60s"
split = "client"
assets = ["/assets/", "/static/v-1"]
static = [{ url = "/files/", dir = "public/f", cache = "1h" }, { url = "/f.x/", dir = "." }]
websockets = { keep = "1m", close_over = "30s" }
unavailable_page = "/etc/passwd"
[external]
address = "127.0.0.1:8000"
unit = "myapp.service"
[hooks]
before_start = ["bin/migrate", "expand"]
contract = ["bin/migrate", "{release}"]
timeout = "15m"
[metrics]
textfile = "/var/lib/x/relctl-web.prom"
[[notify]]
url = "https://hooks.example.com:8443/a/b?c=d%20e"
on = ["start", "end"]
format = "slack"
headers = { X-Team = "ops" }
secret_file = "/etc/relctl/web.secret"
[[notify]]
command = ["/usr/bin/tell", "{x}"]
on = ["trouble"]
user = "daemon"
[access]
operators = ["@relctl", "anna"]
viewers = []
""".replace("max_p95 = 0.8", 'max_p95 = "800ms"')
SMALL = """\
[app]
command = ["x"]
directory = "/srv/{release}"
user = "nobody"
[readiness]
tcp = true
[[route]]
name = "a"
match = "^/a"
[gate]
assets = ["/a/"]
static = [{ url = "/b/", dir = "c" }]
"""
ODD = (
    "0", "-1", "5", "1e400", "nan", "-inf", "true", "[]", "{}", '""', "''", "[[]]", "[{}]", "0x10",
    "2026-01-01", "12:00:00", "1979-05-27T07:32:00Z", '"\\u0000"', '"\\n"', '"{"', '"}"', '"{}"',
    '"127.0.0.1:99999"', '"unix:"', '"unix:/run/x;y"', '"1/0"', '"0%"', '"h"', '"999999999d"',
    '"400d"', '"٣s"', '"["', '"(?P<a>"', '"(?<a>x)"', '"a{9999}"', '"$host"', '"a$|b"', '"a\\\\"',
    '"a\\""', '"; }"', "'\"'", '"/a b"', '"/;"', '"/{"', '"/$x"', '"/\\u0022"', '"~*x"', '"*"', '"x*+"',
    '"(a+)+$"', '"\\\\d+?"', '"(?i)x"', '"[[:alpha:]]"', '"[a-\\\\d]"', '"\\\\1"', '"(a)\\\\1"', '"a++"',
    '"(?=a)b"', '"(?!a)"', '"]"', '"[]a]"', '"[^]a]"', '"a|*"', '"(|a)"', '"?"', '"a,b"', '"#"', '"%7B"',
    '"65535-65535"', "[1, 1.5, true]", '{ "" = "" }', '{ a.b = "c" }', '["", 1, [2]]', '["/"]',
    '["/a/", "/a/"]', '["/../"]', '["//"]', '["/%2e/"]', '["/a=b"]', '["/a,b"]', '["/a~"]', "1000",
    '"' + "(" * 199 + '"', '"' + "9" * 400 + '"', "9" * 400, '"[z-a]"', '"a**"', '"[[a]"', '"365d"',
    '"25h"', '"example.org:80"', '"[::1]:8000"', '"localhost:1"', '"unix:/run/a/../b"', '"127.0.0.1:0"',
    '"::1:80"', '"127.1.2.3:65535"', '"unix:/' + "a" * 106 + '"', '"/' + "a" * 300 + '"',
    '["/' + "a" * 300 + '"]', '["/%"]', '["/@+"]', '"{socket}"', '["{socket}", "{port}"]', '"stop-first"',
    '[{ url = "/", dir = "x" }]', '[{ url = "/a/", dir = "../x" }]', '[{ url = "/a;/", dir = "x" }]', '"warm"',
    '[{ url = "/~a.b+c@d/", dir = "a/b" }, { url = "/~a.b+c@d/e/", dir = "." }]', '[{ url = "/a/" }]', '"/dev/zero"',
    '[{ url = "/a/", dir = "x", cache = "400d" }, { url = "/a/b/", dir = "x", cache = 0 }]', '"/etc"', '[["a"], []]',
    '{ keep = "0s", close_over = "0s" }', '{ keep = -1 }', '{ kepp = "1s" }', '["a", "a/b"]', '["../a"]', '["-a"]', '"2T"',
    '["tmp/./a"]', '"100%"', '"101%"', '"0.001%"', '"/healthz?a=b"', '"/h%22%3b%7b$x\\\\"', '"/\\u00e9"', '"-2G"',
    '"https://[::1]/a"', '"https://[/"', '"http://a:b@c/"', '"https://a:0/"', '"https://a.b/%zz?#"', '"HTTP://a"',
    '"https://a\\\\b/"', '"https://.../"', '"https://a:65536/"', '["step", "step"]', '["/x", ""]', '"/x/.prom"',
)  # fmt: skip
_FINDING = re.compile(r":[1-9][0-9]*: [^ ].*: .+")
NGINX = "/usr/sbin/nginx"
ADDRESS = "127.0.0.1:21000"
T = TypeVar("T")


def run(inputs: int, seed: int) -> Counted:
    """Half are spoiled bytes, a quarter odd values; the others regexes, and Hypothesis' own.

    nginx itself looks at every regex and prefix that was taken.
    """
    with _place() as place:
        trial = Trial(place)
        corpus = (FULL.encode(), SMALL.encode())
        half, quarter, eighth = inputs // 2, inputs // 4, inputs // 8
        found = tried(
            half, seed, lambda r: trial.answer(spoiled(r, r.choice(corpus), corpus))
        ) + tried(quarter, seed + 1, lambda r: trial.answer(_odd(r)))
        found += tried(eighth, seed + 2, lambda r: trial.answer(_sensible(r)))
        found += _from_hypothesis(trial, inputs - half - quarter - eighth, seed)
        taken = {"regexes and prefixes seen by nginx": len(trial.routes) + len(trial.assets)}
        return Counted(found.inputs, {**found.answers, **taken}, found.bugs + trial.by_nginx())


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    place = Path(tempfile.mkdtemp(prefix="relctl-fuzz.", dir=shm))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


class Trial:
    """`routes`, `assets`, `static`, `health`: what was taken so far, for nginx."""

    def __init__(self, place: Path) -> None:
        self.routes: set[Route] = set()
        self.assets: set[str] = set()
        self.static: dict[str, Static] = {}
        self.health: set[str] = set()
        self._place = place
        self._path = place / "web.toml"

    def answer(self, content: bytes) -> str:
        """How it ended. Raises what is a bug."""
        self._path.write_bytes(content)
        self._path.chmod(0o644)
        try:
            config = load(self._path, uid=0, neighbours=())
        except ConfigError as error:
            return self._refusal(error.findings)
        except Exception as bug:
            raise AssertionError(f"{bug!r} for {content!r}") from bug
        try:
            self._use(config)
        except Exception as bug:
            raise AssertionError(f"{bug!r} after {content!r}") from bug
        return "taken"

    def _refusal(self, findings: tuple[str, ...]) -> str:
        assert findings
        for finding in findings:
            assert finding.isprintable(), f"not printable: {finding!a}"
            assert finding.startswith(f"{self._path}:"), f"no place: {finding!r}"
            rest = finding.removeprefix(str(self._path))
            assert _FINDING.fullmatch(rest), f"no line, key and text: {finding!r}"
        return "refused"

    def _use(self, config: Config) -> None:
        values = {"port": "1", "slot": "blue", "release": "v1", "instance": "0", "directory": "/x"}
        values["socket"] = "/run/s"
        for command in (config.app.command, config.readiness.command or ()):
            for argument in command:
                assert "\0" not in fill(argument, values)
        for target in config.notify:
            assert target_name(target).isprintable()
            if target.url is not None:
                Webhook(target)
        directory = fill(config.app.directory, {"release": "v1"})
        assert directory.startswith("/")
        assert ".." not in directory.split("/")
        # What nginx makes of files and health checks it says itself, see `by_nginx`.
        complete = gate(config, self._place)
        settings = replace(complete, static=(), health=())
        self.static |= {s.url: s for s in complete.static}
        self.health.update(complete.health)
        addresses = tuple(f"127.0.0.1:{21000 + n}" for n in range(config.app.instances))
        live = Target(Color.BLUE, "v1", addresses)
        if config.external is not None:
            live = Target(Color.BLUE, "external", (config.external.address,))
        routing = Routing(live, Target(Color.GREEN, "v2", addresses), 7)
        text = render(settings, 3, routing)
        values_of_twin, stand_for = gate_text.twin(settings)
        calm = render(replace(settings, **values_of_twin), 3, routing)  # type: ignore[arg-type]
        gate_text.same(gate_text.read(text), gate_text.read(calm), stand_for)
        self.routes.update(settings.routes)
        self.assets.update(settings.assets)
        closed = replace(
            routing, maintenance=Closed(allow=("::1/128",)), shadow=config.rollout.shadow
        )
        render(complete, 3, closed, ("/srv/v2", "/srv/v1"))

    def by_nginx(self) -> tuple[str, ...]:
        """What it refuses of all that was taken."""
        bugs: list[str] = []
        routes = sorted(self.routes, key=lambda route: (route.match, route.name))
        for batch in _batches(routes):
            if self._refused(batch, ()):
                bugs += [f"{r}: {said}" for r in batch if (said := self._refused([r], ()))]
        for prefixes in _batches(sorted(self.assets)):
            if self._refused([], prefixes):
                bugs += [f"{a}: {said}" for a in prefixes if (said := self._refused([], [a]))]
        for static in _batches([self.static[url] for url in sorted(self.static)]):
            if said := self._refused([], (), static):
                bugs.append(f"{static}: {said}")
        for paths in _batches(sorted(self.health)):
            if said := self._refused([], (), (), paths):
                bugs.append(f"{paths}: {said}")
        return tuple(bugs)

    def _refused(
        self,
        routes: list[Route],
        assets: Iterable[str],
        static: Iterable[Static] = (),
        health: Iterable[str] = (),
    ) -> str:
        settings = GateSettings(
            # Ports of nobody: what is tested is the text, not who listens.
            "web", "127.255.255.1:18080", "127.255.255.1:18081", self._place, self._place, "b00t",
            routes=tuple(routes), assets=tuple(assets), descriptors=1024,
            static=tuple(static), health=tuple(health),
        )  # fmt: skip
        sides = (Target(Color.BLUE, "v1", (ADDRESS,)), Target(Color.GREEN, "v2", (ADDRESS,)))
        path = self._place / "gate.conf"
        settings.pid_file.parent.mkdir(exist_ok=True)
        closed = Closed() if settings.health else None
        path.write_text(render(settings, 3, Routing(*sides, 7, closed), ("/srv/v2", "/srv/v1")))
        said = subprocess.run(
            [NGINX, "-t", "-q", "-c", path, "-e", self._place / "error.log"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return said.stderr if said.returncode else ""


def _batches(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), 100):
        yield items[start : start + 100]


def gate(config: Config, place: Path) -> GateSettings:
    """As reld makes it."""
    return GateSettings(
        app=config.name,
        listen=config.gate.listen,
        status=config.gate.status,
        runtime=place,
        state=place,
        boot="b00t",
        keepalive=config.gate.keepalive,
        timeout=config.gate.timeout,
        split="client" if config.gate.split == "client" else "request",
        assets=config.gate.assets,
        static=tuple(Static(s.url, s.dir, s.cache) for s in config.gate.static),
        health=health(config),
        unavailable_page=Path(config.gate.unavailable_page)
        if config.gate.unavailable_page
        else None,
        shield=config.verdict.shield,
        routes=tuple(Route(r.name, r.match, r.success) for r in config.route),
        descriptors=1024,
    )


def _odd(chance: Random) -> bytes:
    """Values in place of others, keys in other tables, lines elsewhere."""
    lines = chance.choice((FULL, FULL, SMALL)).splitlines()
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(lines))
        name, equals, was = lines[at].partition("=")
        match chance.randrange(7):
            case 0:
                lines.insert(chance.randrange(len(lines)), lines.pop(at))
            case 1:
                del lines[at]
            case 2:
                lines.insert(at, lines[at])
            case 3 if equals:
                lines[at] = f"{name[: chance.randrange(len(name))]}x = {was}"
            case _ if equals:
                lines[at] = f"{name}= {chance.choice(ODD)}"
            case _:
                lines[at] = f"{lines[at].strip('[]')} = {chance.choice(ODD)}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


_ATOMS = (
    "a", "/", ".", "-", "%2e", "~", "&", "=", "@", "<", "\\d", "\\W", "\\b", "\\.", "\\/", "\\-", "[a-z]",
     "[^/]", "[]a]", "[^]a-]", "[a\\-z]", "[\\d.-]", "(x)", "(?:x|y)", "(|z)", "(?=a)", "(?!b/)", "(a|b|)", "|",
     "^", "$", "]", "[a,:=]", "[!-/]",
)  # fmt: skip
_OFTEN = ("", "", "", "*", "+", "?", "*?", "+?", "??", "++", "*+", "?+")


def _sensible(chance: Random) -> bytes:
    """Regexes and prefixes that look as if they could be."""
    atoms = range(chance.choice((1, 2, 3, 3, 5, 9)))
    match = "".join(chance.choice(_ATOMS) + chance.choice(_OFTEN) for _ in atoms)
    prefix = "".join(chance.choices("ab/_.~+@-%", k=chance.randrange(8)))
    text = SMALL.replace('"^/a"', _toml(match)).replace('"/a/"', _toml(f"/{prefix}a"))
    return text.encode()


_KEYS = [line.partition("=")[0].strip() for line in FULL.splitlines() if "=" in line]
_HEADS = [line for line in FULL.splitlines() if line.startswith("[")]
_REGEX_BITS = st.sampled_from(
    [
        *"abz09/_.~%!*+?^|)([],=:@&<>-$\\{}#'\" ;",
        "\\d",
        "\\.",
        "(?:",
        "(?=",
        "(?!",
        "[^",
        "$)",
        "[:",
    ]
)
_regexes = st.one_of(
    st.lists(_REGEX_BITS, max_size=12).map("".join),
    st.lists(
        st.tuples(st.sampled_from(_ATOMS), st.sampled_from(_OFTEN)).map("".join),
        min_size=1,
        max_size=8,
    ).map("".join),
)
_scalars = st.one_of(
    st.text(max_size=30), _regexes, _regexes.map(lambda t: f"/{t}"), st.integers(), st.booleans(),
    st.floats(), st.integers(0, 2000), st.from_regex(r"[0-9]{1,6}(d|h|m|s|ms|%|/[0-9]+)", fullmatch=True),
    st.ip_addresses(v=4).map(lambda a: f"{a}:80"),
)  # fmt: skip


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(_character(c) for c in value) + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value)


def _character(c: str) -> str:
    plain = c not in '"\\' and (c.isprintable() or ord(c) > 0x7F) and not 0xD800 <= ord(c) < 0xE000
    return c if plain else f"\\U{ord(c):08x}"


_values = st.one_of(_scalars, st.lists(_scalars, max_size=3)).map(_toml)
_changes = st.lists(
    st.tuples(
        st.sampled_from(range(len(FULL.splitlines()))), st.one_of(_values, _regexes.map(_toml))
    ),
    min_size=1,
    max_size=3,
)
_anew = st.lists(
    st.one_of(
        st.sampled_from(_HEADS),
        st.tuples(st.sampled_from(_KEYS), _values).map(lambda p: f"{p[0]} = {p[1]}"),
    ),
    max_size=30,
).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))
_LINES = tuple(FULL.splitlines())


def _changed(changes: list[tuple[int, str]]) -> bytes:
    lines = list(_LINES)
    for at, value in changes:
        name, equals, _ = lines[at].partition("=")
        if equals:
            lines[at] = f"{name}= {value}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


_prefixes = st.one_of(st.just("a/"), _regexes)
_routes = st.tuples(_regexes, _prefixes).map(
    lambda two: (
        SMALL.replace('"^/a"', _toml(two[0])).replace('"/a/"', _toml(f"/{two[1]}"))
    ).encode()
)
_documents = st.one_of(_changes.map(_changed), _routes, _anew, st.binary(max_size=200))


def _from_hypothesis(trial: Trial, inputs: int, seed: int) -> Counted:
    counted = Counted(0)
    if inputs < 1:
        return counted

    @seeded(seed)
    @settings(
        max_examples=inputs, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(_documents)
    def one(content: bytes) -> None:
        nonlocal counted
        counted += tried(1, seed, lambda _: trial.answer(content))

    one()
    return counted
