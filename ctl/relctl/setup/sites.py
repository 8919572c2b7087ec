"""The site's nginx, as `reld --sites` reads it, and the one line of it that has to change."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from relctl import programs

PATIENCE = 20.0
"""Seconds: nginx -T looks up every name in its config."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server of an upstream block."""

    address: str
    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Site:
    """One place that passes requests on; as reld's doctor has it, see `reld.doctor.sites.Proxy`."""

    name: str
    names: tuple[str, ...]
    location: str
    file: str
    line: int
    text: str
    addresses: tuple[str, ...]
    how: str
    upstream: str
    servers: tuple[Server, ...]
    read_timeout: float


def sites(config: str = "") -> tuple[tuple[Site, ...], str]:
    """Every one of this machine, and why nothing or not all could be read ("" = all was)."""
    program = programs.reld()
    if not program:
        return (), "there is no reld here that could read nginx's config"
    asked = [*program, "--sites", *([config] if config else [])]
    code, out, err = programs.said(asked, PATIENCE)
    try:
        told = json.loads(out)
        return tuple(site(one) for one in told["proxies"]), str(told["why_not"])
    except (ValueError, KeyError, TypeError):
        why = err.strip().rpartition("\n")[2] or f"it ended with {code}"
        return (), f"reld --sites: {why}"


def site(told: dict[str, Any]) -> Site:
    return Site(
        name=str(told["name"]),
        names=tuple(map(str, told["names"])),
        location=str(told["location"]),
        file=str(told["file"]),
        line=int(told["line"]),
        text=str(told["text"]),
        addresses=tuple(map(str, told["addresses"])),
        how=str(told["how"]),
        upstream=str(told["upstream"]),
        servers=tuple(
            Server(str(s["address"]), str(s["file"]), int(s["line"]), str(s["text"]))
            for s in told["servers"]
        ),
        read_timeout=float(told["read_timeout"]),
    )


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the site. `before` and `after`: what is replaced in it; `gone`: lines to take out."""

    file: str
    line: int
    before: str
    after: str
    gone: tuple[int, ...] = ()

    @property
    def command(self) -> str:
        before = re.sub(r"[][\\*^$|]", r"\\\g<0>", self.before)
        edits = [f"{self.line}s|{before}|{self.after}|", *(f"{n}d" for n in self.gone)]
        script = shlex.quote("; ".join(edits))
        return f"sudo sed -i --follow-symlinks {script} {shlex.quote(self.file)}"


def changes(every: tuple[Site, ...], chosen: Site, listen: str) -> tuple[Change, ...]:
    """What leads the chosen site's requests to the gate; the same app may be named at several places."""
    made: dict[tuple[str, int], Change] = {}
    for one in every:
        if one.how == "proxy_pass" and set(one.addresses) & set(chosen.addresses):
            change = _upstream(one, listen) if one.servers else _place(one, listen)
            made.setdefault((change.file, change.line), change)
    return tuple(made.values())


def _place(one: Site, listen: str) -> Change:
    address = one.addresses[0]
    plain = address if address in one.text else address.rpartition(":")[0]
    if f"{plain}:/" in one.text:  # http://unix:/run/web.sock:/uri
        plain += ":"
    scheme = one.text.partition("://")[0]
    return Change(one.file, one.line, f"{scheme}://{plain}", f"http://{listen}")


def _upstream(one: Site, listen: str) -> Change:
    first, *others = one.servers
    gone = tuple(s.line for s in others if s.file == first.file and s.line != first.line)
    return Change(first.file, first.line, first.text, listen, gone)
