"""What the site's nginx does with requests: which names it serves, and where it sends them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from reld.doctor.directives import Directive

_PASS = re.compile(
    r"(https?)://(unix:(?P<path>/[^:]*)|(?P<host>[^/$]+))(?P<uri>[/$:].*)?", re.DOTALL
)
_PORT = re.compile(r":[0-9]{1,5}\Z")
_TIME = re.compile(r"([0-9]+)(ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
OTHER_PASSES = ("fastcgi_pass", "uwsgi_pass", "scgi_pass", "grpc_pass")
READ_TIMEOUT = 60.0
"""Seconds; nginx's own default."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server of an upstream block. `text`: as it is written."""

    address: str
    file: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """One place of the config that passes requests on.

    `names`: the site's server_name; `listens`: as written. `how`: the directive. `text`: where to, as it
    is written at `file`:`line`. `addresses`: "127.0.0.1:8000" or "unix:/path"; none where nginx finds
    it out per request. `upstream`: the name of the block in between, and its `servers`.
    `read_timeout`: seconds that the site waits for an answer.
    """

    names: tuple[str, ...]
    listens: tuple[str, ...]
    location: str
    file: str
    line: int
    text: str
    addresses: tuple[str, ...]
    how: str = "proxy_pass"
    upstream: str = ""
    servers: tuple[Server, ...] = ()
    read_timeout: float = READ_TIMEOUT

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def name(self) -> str:
        """For people."""
        return next((n for n in self.names if n not in ("", "_")), "the default site")


def proxies(config: Directive) -> tuple[Proxy, ...]:
    """Every place that passes requests on, in the order of the files."""
    found: list[Proxy] = []
    for http in config.all("http"):
        upstreams = {one.words[0]: _servers(one) for one in http.all("upstream") if one.words}
        for server in http.all("server"):
            names = tuple(word for one in server.all("server_name") for word in one.words)
            listens = tuple(one.words[0] for one in server.all("listen") if one.words)
            at = Proxy(names, listens, "", "", 0, "", (), read_timeout=_timeout(http, READ_TIMEOUT))
            found += _inside(server, at, upstreams)
    return tuple(found)


def _inside(
    block: Directive, around: Proxy, upstreams: dict[str, tuple[Server, ...]]
) -> Iterator[Proxy]:
    around = replace(around, read_timeout=_timeout(block, around.read_timeout))
    for inner in block.block or ():
        if inner.name == "proxy_pass" and inner.words:
            yield _proxy(inner, around, upstreams)
        elif inner.name in OTHER_PASSES and inner.words:
            yield replace(
                around, file=inner.file, line=inner.line, text=inner.words[0], how=inner.name
            )
        elif inner.name == "location" and inner.block is not None:
            yield from _inside(inner, replace(around, location=" ".join(inner.words)), upstreams)
        elif inner.name in ("if", "limit_except") and inner.block is not None:
            yield from _inside(inner, around, upstreams)


def _proxy(one: Directive, around: Proxy, upstreams: dict[str, tuple[Server, ...]]) -> Proxy:
    made = replace(around, file=one.file, line=one.line, text=one.words[0])
    found = _PASS.fullmatch(one.words[0])
    if found is None:  # a variable decides
        return made
    if found["path"]:
        return replace(made, addresses=(f"unix:{found['path']}",))
    host = found["host"]
    if host in upstreams:
        servers = upstreams[host]
        addresses = tuple(dict.fromkeys(server.address for server in servers))
        return replace(made, upstream=host, servers=servers, addresses=addresses)
    return replace(made, addresses=(_with_port(host, "443" if found[1] == "https" else "80"),))


def _servers(upstream: Directive) -> tuple[Server, ...]:
    return tuple(
        Server(
            one.words[0] if one.words[0].startswith("unix:") else _with_port(one.words[0], "80"),
            one.file,
            one.line,
            one.words[0],
        )
        for one in upstream.all("server")
        if one.words
    )


def _with_port(host: str, port: str) -> str:
    return host if _PORT.search(host) else f"{host}:{port}"


def _timeout(block: Directive, inherited: float) -> float:
    said = block.last("proxy_read_timeout")
    found = _TIME.fullmatch(said.words[0]) if said is not None and said.words else None
    return int(found[1]) * _UNITS[found[2]] if found else inherited
