"""Readers of what `[gate]` says beyond single words: the directories that it serves by itself."""

from __future__ import annotations

import re
from typing import Any

from reld.config import Config, Static, named
from reld.config_toml import Findings, Key, nearest
from reld.config_values import WrongError, duration, items, show, text

_EXPECTED = 'a list of tables such as { url = "/assets/", dir = "public/assets" }'
_URL = re.compile(r"/(?!/)(?!.*(?:\.\.|//))[A-Za-z0-9/_.~+@-]{0,199}/")
_DIR = re.compile(r"(?!.*(?:\.\.|//))[A-Za-z0-9_.@+-][A-Za-z0-9/_.@+-]{0,199}")
_KEYS = ("url", "dir", "cache")
# Directories of releases become nginx text beside a `dir`.
_PLAIN = re.compile(r"/[A-Za-z0-9_./@+{}-]{0,400}")


def static(value: Any) -> tuple[Static, ...]:
    """`[gate] static`; each `url` once."""
    found = tuple(_one(item) for item in items(value, _EXPECTED))
    urls = [item.url for item in found]
    if twice := [url for url in urls if urls.count(url) > 1]:
        raise WrongError(f"{show(twice[0])} is there twice", _EXPECTED)
    return found


def fits(directory: str) -> bool:
    """Whether `app.directory`, a template, leads to directories that the gate's config can name."""
    return _PLAIN.fullmatch(directory) is not None


def _one(value: Any) -> Static:
    if not isinstance(value, dict):
        raise WrongError(f"{show(value)} is not a table", _EXPECTED)
    for key in value:
        if key not in _KEYS:
            known = nearest(key, "static", [f"static.{one}" for one in _KEYS])
            raise WrongError(
                f"there is no key {show(key)} in it", _EXPECTED, known.rpartition(".")[2]
            )
    for key in ("url", "dir"):
        if key not in value:
            raise WrongError(f"{key} is missing in {show(value)}", _EXPECTED)
    url, place = text(value["url"], _EXPECTED), text(value["dir"], _EXPECTED)
    if not _URL.fullmatch(url) or url == "/":
        expected = 'a prefix that ends with /, such as "/assets/" (letters, digits, /_.~+@-, no ..)'
        raise WrongError(f"url {show(url)} is not possible here", expected)
    if not _DIR.fullmatch(place):
        expected = 'a directory of the release, such as "public/assets" (no .. and no / before it)'
        raise WrongError(f"dir {show(place)} is not possible here", expected)
    cache = duration()(value["cache"]) if "cache" in value else 0.0
    return Static(url, place.rstrip("/"), cache)


def check_place(config: Config, findings: Findings) -> None:
    """Where the app listens: on a port or on a socket, and its commands are told the same place."""
    command = ("app", "command")
    given = named(config.app.command)
    if findings.about(command, ("app",)):
        return
    if {"port", "socket"} <= given:
        findings.add(command, "has both {port} and {socket}", "one place where the app listens")
        return
    there, absent = ("{socket}", "port") if "socket" in given else ("{port}", "socket")
    others: list[tuple[Key, tuple[str, ...]]] = [
        (("readiness", "command"), config.readiness.command)
    ]
    others += [(("smoke", n, "command"), smoke.command) for n, smoke in enumerate(config.smoke)]
    for key, words in others:
        if absent in named(words):
            what = f"there is no {{{absent}}}: the app listens on {there}, see app.command"
            findings.add(key, what, there)
    if "socket" in given and any(name == "SOCKET" for name, _ in config.app.env):
        findings.add(("app", "env"), "SOCKET is set by reld", "another name")
