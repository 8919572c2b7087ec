"""Texts of strangers: a browser's headers, addresses of webhooks, and where a followed link leads."""

from __future__ import annotations

import re
from random import Random

from multidict import CIMultiDict
from yarl import URL

from reld import config_notify
from reld.api import browser
from reld.config import Notify
from reld.config_values import WrongError
from reld.host.follow import release_at
from reld.telling.target import name_of
from tests.fuzz import counted
from tests.fuzz.counted import tried
from tests.fuzz.mutate import spoiled

HERE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE | re.ASCII)
HOSTS = (
    b"localhost", b"127.0.0.1:8080", b"[::1]:8080", b"reld", b"evil.example", b"LOCALHOST:1", b"localhost.",
    b"127.0.0.1.evil.example", b"127.1", b"[::ffff:127.0.0.1]", b"", b"localhost:8080@evil.example", b"0.0.0.0",
)  # fmt: skip
URLS = (
    b"https://hooks.example.com/services/T0/s3cret?x=s3cret", b"http://[::1]:80/s3cret",
    b"HTTP://Host/s3cret", b"https://a.b:443?s3cret",
)  # fmt: skip
TEMPLATES = (
    "/srv/web/releases/{release}", "/srv/{{x}}/r-{release}/app", "/{release}", "/srv/web/{release}/a/{release}",
)  # fmt: skip
_TOKENS = browser.Tokens()


def run(inputs: int, seed: int) -> counted.Counted:
    return tried(inputs, seed, lambda chance: chance.choice((_headers, _url, _link))(chance))


def _headers(chance: Random) -> str:
    """Who says that it is a browser gets in only by our name, from our page, and with our token."""

    def text(*choices: bytes) -> str:
        made = chance.choice(choices)
        made = spoiled(chance, made, HOSTS) if chance.random() < 0.4 else made
        return made.decode("utf-8", "surrogateescape")

    hosts = [text(*HOSTS) for _ in range(chance.choice((1, 1, 1, 2)))]
    headers = CIMultiDict([("Host", host) for host in hosts])
    if chance.random() < 0.5:
        headers["Origin"] = text(b"null", f"http://{hosts[0]}".encode(errors="replace"), b"")
    if chance.random() < 0.5:
        headers["Sec-Fetch-Site"] = text(b"cross-site", b"same-site", b"same-origin", b"none")
        headers["Sec-Fetch-Mode"] = chance.choice(("navigate", "cors"))
        headers["Sec-Fetch-Dest"] = chance.choice(("document", "iframe"))
    if chance.random() < 0.5:
        headers["X-Relctl-Token"] = text(_TOKENS.of(0).encode(), b"")
    headers["Content-Type"] = text(b"application/json", b"text/plain", b"")
    method, path = chance.choice((("GET", "/"), ("GET", "/v1/status"), ("POST", "/v1/rollouts")))
    try:
        browser.look(method, path, headers, hosts)
        if method == "POST":
            _TOKENS.prove(headers, 0)
    except browser.Foreign:
        return "foreign"
    if browser.from_browser(headers):
        assert all(map(HERE.fullmatch, hosts)), hosts
        assert headers.get("Origin", f"http://{hosts[0]}").lower().endswith(hosts[0].lower())
        site = headers.get("Sec-Fetch-Site", "none")
        assert site in ("none", "same-origin") or (method, path) == ("GET", "/"), site
        assert method == "GET" or headers.get("X-Relctl-Token") == _TOKENS.of(0)
    return "let in"


def _url(chance: Random) -> str:
    """What is taken leads where it seems to, and its name has no secret in it."""
    raw = spoiled(chance, chance.choice(URLS), URLS).decode("utf-8", "replace")
    try:
        url = config_notify.url(raw)
    except WrongError:
        return "no address"
    host = URL(url, encoded=True).raw_host
    assert host is not None
    assert host.lower() in name_of(Notify(url)).lower()
    assert "/s3cret" not in name_of(Notify(url))
    return "address"


def _link(chance: Random) -> str:
    """A release is found where it is, and nowhere else."""
    template = chance.choice(TEMPLATES)
    target = template.replace("{{", "{").replace("}}", "}").replace("{release}", "v1")
    spoil = chance.random() < 0.6
    if spoil:
        target = spoiled(chance, target.encode()).decode("utf-8", "surrogateescape")
    found = release_at(template, target)
    assert spoil or found == "v1", target
    assert not found or (
        re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", found) and found in target
    )
    return "release" if found else "none"
