"""What is asked, and what came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

BODY_SHOWN = 200
"""Characters of an answer's body that are kept for people."""


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """One request. `timeout` in seconds for all of it; empty `status`: 200–299.

    `headers` replace those that every probe sends (Host, X-Forwarded-Proto: https, User-Agent …).
    """

    path: str
    method: str = "GET"
    host: str = "localhost"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    timeout: float = 2.0
    status: tuple[int, ...] = ()
    contains: str = ""


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """Whether it accepts a connection within `timeout` seconds."""

    timeout: float = 2.0


@dataclass(frozen=True, slots=True)
class ExecProbe:
    """A command that ends with 0 within `timeout` seconds. `env` is the complete environment."""

    argv: tuple[str, ...]
    directory: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    timeout: float = 2.0


Probe = HttpProbe | TcpProbe | ExecProbe


@dataclass(frozen=True, slots=True)
class Result:
    """What a probe found.

    Attributes:
        ok: it was as wanted.
        detail: one line that says what was found, and what was wanted where that differs.
        seconds: how long it took.
        status: of an HTTP answer; None: there was none.
        body: the first 200 characters of the answer, or of a command's output; printable.
        location: where an HTTP answer redirects to; never followed.
        asked: False: it was never asked, because we ourselves lack files, memory or processes.
    """

    ok: bool
    detail: str
    seconds: float
    status: int | None = None
    body: str = ""
    location: str = ""
    asked: bool = True
