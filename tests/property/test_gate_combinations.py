"""Everything that a gate's config may hold at once: nginx itself takes every combination of it."""

from __future__ import annotations

import itertools
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from reld.core.model import Closed, Color, Marked, Routing, Target
from reld.nginx import places
from reld.nginx.render import render
from reld.nginx.settings import GateSettings, Route, Static
from tests.contract.gate_support import make_settings

BLUE = ("127.0.0.1:21001", "127.0.0.1:21002", "127.0.0.1:21003")
GREEN = ("127.0.0.1:21004", "127.0.0.1:21005")
ONE = ("127.0.0.1:21006",)
SOCKETS = (
    "unix:/run/relctl/web/sockets/21004/app.sock",
    "unix:/run/relctl/web/sockets/21005/app.sock",
)
STATIC = (Static("/assets/", "public/assets", 3600.0), Static("/assets/deep/", "deep"))
ROOTS = ("/srv/web/releases/v2", "/srv/web/releases/v1")
CLOSED = Closed("", ("192.0.2.0/24", "2001:db8::/32"))

# What the settings say, and what the routing says.
SETTINGS: dict[str, dict[str, object]] = {
    "static": {"static": STATIC},
    "assets": {"assets": ("/assets/", "/packs/")},
    "sessions": {"split": "client"},
    "page": {"unavailable_page": Path("/etc/relctl/sorry.html")},
    "bare": {"keepalive": 0, "shield": False, "routes": (Route("pay", "^/pay", (200,)),)},
}
DEALT = "bare"
SWITCHES = (*(s for s in SETTINGS if s != DEALT), "maintenance", "shadow", "unequal")
LISTENING = {
    "ports": (BLUE, GREEN),
    "sockets": (SOCKETS, SOCKETS[:1]),
    "port to socket": (BLUE, SOCKETS),
}


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gate-") as place:
        Path(place).chmod(0o755)
        yield Path(place)


def combinations() -> Iterator[frozenset[str]]:
    for chosen in itertools.product((False, True), repeat=len(SWITCHES)):
        yield frozenset(itertools.compress(SWITCHES, chosen))


def settings_of(home: Path, on: frozenset[str]) -> GateSettings:
    changes = {k: v for name in SETTINGS.keys() & on for k, v in SETTINGS[name].items()}
    return make_settings(
        home, health=("/healthz",), descriptors=1024,
        listen="127.255.255.1:18080", status="127.255.255.1:18081", **changes,
    )  # fmt: skip


def routing_of(on: frozenset[str], listening: str, *, candidate: bool) -> Routing:
    blue, green = LISTENING[listening]
    if "unequal" not in on:
        blue, green = blue[:1], green[:1]
    return Routing(
        Target(Color.BLUE, "v1", blue),
        Target(Color.GREEN, "v2", green) if candidate else None,
        7 if candidate else None,
        maintenance=CLOSED if "maintenance" in on else None,
        shadow=0.05 if candidate and "shadow" in on else 0,
    )


def complaint(settings: GateSettings, text: str) -> str:
    settings.config.write_text(text)
    said = subprocess.run(
        [settings.binary, "-t", "-q", "-c", settings.config, "-e", settings.error_log],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return said.stderr


@pytest.mark.parametrize("part", range(4))
def test_nginx_takes_every_combination_without_a_warning(home: Path, part: int) -> None:
    for number, on in list(enumerate(combinations()))[part::4]:
        # Where the slots listen, and whether there are two, is dealt out: no test has hours.
        chance = Random(number)
        listening, candidate = chance.choice(list(LISTENING)), chance.random() < 0.8
        settings = settings_of(home, on | {DEALT} if chance.random() < 0.3 else on)
        places.prepare(settings)
        routing = routing_of(on, listening, candidate=candidate)
        if routing.maintenance is not None and chance.random() < 0.5:
            routing = replace(routing, maintenance=replace(CLOSED, hold=5.0))
        if candidate and chance.random() < 0.3:
            marked = Marked("0123456789abcdef" * 2, fails=chance.random() < 0.7)
            routing = replace(routing, rehearsal=marked)
        text = render(settings, 3, routing, ROOTS)
        assert complaint(settings, text) == "", (sorted(on), listening, candidate)


def test_the_number_of_an_instance_ends_where_the_name_of_its_upstream_goes_on(home: Path) -> None:
    on = frozenset({"shadow", "unequal"})
    text = render(settings_of(home, on), 3, routing_of(on, "ports", candidate=True))
    assert "proxy_pass http://green_${pick_green}_alone$shadowed;" in text
    assert not re.search(r"\$pick_(blue|green)_", text)
