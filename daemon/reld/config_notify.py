"""Readers of `[[notify]]`: who is told. What they refuse they do not repeat: it may be a secret."""

from __future__ import annotations

import pwd
import re
from typing import Any
from urllib.parse import urlsplit

from reld.config import Config
from reld.config_toml import Document, Findings
from reld.config_values import WrongError, items

EVENTS = ("start", "step", "verdict", "end", "trouble")
_URL = 'an address such as "https://hooks.example.com/services/…"'
_COMMAND = (
    'a list of the program and its arguments, such as ["/usr/local/bin/tell", "--team", "ops"]'
)
_HEADERS = 'a table of names and texts, such as { Authorization = "Bearer …" }'
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]*:[0-9a-f:.]*")
"""A name, or an IPv6 address: what else stands there is understood by each program in its own way."""
_ON = f"a list of some of {', '.join(EVENTS)}"
_MOST_HEADERS = 20
_OURS = {"content-type", "content-length", "host", "user-agent", "x-relctl-signature"}


def url(value: Any) -> str:
    """Http or https, with a host, without a user in it: that belongs into headers."""
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,2000}", value):
        raise WrongError("is no address", _URL)
    try:
        found = urlsplit(value)
        port = found.port
    except ValueError:
        raise WrongError("is no address", _URL) from None
    host = _HOST.fullmatch(found.hostname or "")
    if found.scheme not in ("http", "https") or host is None or port == 0:
        raise WrongError("is no http or https address", _URL)
    if found.username is not None or found.password is not None:
        raise WrongError("has a user in it", "headers = { Authorization = … } instead")
    if found.fragment:
        raise WrongError("has a # in it", _URL)
    return value


def command(value: Any) -> tuple[str, ...]:
    """Taken as it is: nothing is filled in, what happened comes on standard input."""
    if isinstance(value, str):
        raise WrongError("a string is not taken apart by any shell", _COMMAND)
    words = items(value, _COMMAND) if isinstance(value, list) else None
    if not words or not all(isinstance(w, str) and "\0" not in w for w in words):
        raise WrongError("is no list of texts", _COMMAND)
    if not words[0].startswith("/"):
        raise WrongError("its program is no absolute path", _COMMAND)
    return tuple(words)


def headers(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or len(value) > _MOST_HEADERS:
        raise WrongError("is no table of headers", _HEADERS)
    for name, content in value.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", name):
            raise WrongError("has a name that no header can have", _HEADERS)
        if name.lower() in _OURS:
            raise WrongError(f"{name} is set by reld", "other headers")
        if not isinstance(content, str) or not re.fullmatch(r"[ -~]{0,4000}", content):
            raise WrongError(f"the value of {name} is not plain ASCII text", _HEADERS)
    return tuple(value.items())


def on(value: Any) -> tuple[str, ...]:
    found = items(value, _ON)
    if not found or any(event not in EVENTS for event in found):
        raise WrongError("has an event that there is not" if found else "is empty", _ON)
    return tuple(event for event in EVENTS if event in found)


def check(config: Config, document: Document, findings: Findings) -> None:
    """What single values cannot show."""
    for number, target in enumerate(config.notify):
        at = ("notify", number)
        given = document.data["notify"][number].keys()
        if findings.about((*at, "url"), (*at, "command")):
            continue
        if ("url" in given) == ("command" in given):
            what = "has both url and command" if "url" in given else "says nobody to tell"
            expected = 'url = "https://…", or command = ["/usr/local/bin/tell"]'
            findings.add(at, what, expected)
        elif target.command:
            for key in ("headers", "format", "secret_file"):
                if key in given:
                    expected = "it only where there is a url"
                    findings.add((*at, key), "means nothing to a command", expected)
            _check_user(config, number, findings)
        elif "user" in given:
            findings.add(
                (*at, "user"), "means nothing to a url", "it only where there is a command"
            )


def _check_user(config: Config, number: int, findings: Findings) -> None:
    key, name = ("notify", number, "user"), config.notify[number].user
    if name is None or findings.about(key):
        return
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        findings.add(key, f"there is no user {name}", "a user of this machine, or no user at all")
        return
    if uid == 0:
        findings.add(key, "is root", "a user who may do nothing else, or no user at all")
    elif name == config.app.user:
        expected = "another one: the app could read what others are told"
        findings.add(key, f"{name} is the user of the app", expected)
