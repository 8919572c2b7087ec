"""Routes that are handed descriptors: an archive to unpack, a person's terminal for a command.

A client says `Expect: 100-continue`. What it asks for is checked first; then reld answers 100, and takes
one byte with the descriptors (SCM_RIGHTS) off the same connection: who is at its other end is known. They
go to a process of the app's user; nothing of what flows through them comes by reld.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from reld.api.requests import known_object, one_line, release_name
from reld.api.unasked import MOST, close
from reld.errors import BadRequest

PATIENCE = 10.0
"""Seconds for the descriptors to come."""
_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_MOST_WORDS = 1000
_LONGEST = 8192
"""Characters of all words; all of them are kept in the audit."""

Over = Callable[[], bool]
"""Whether nobody waits for the answer any more, or reld stops."""


@dataclass(frozen=True, slots=True)
class UnpackRequest:
    release: str
    note: str


@dataclass(frozen=True, slots=True)
class RunRequest:
    """`release` None: the live one. `terminal`: the descriptors are one; `term` is what it is like."""

    argv: tuple[str, ...]
    release: str | None
    terminal: bool
    term: str
    note: str


class Hands(Protocol):
    """What is done with descriptors. Each pair: may it be done, then do it; both may raise Refused."""

    async def refuse_unpack(self, request: UnpackRequest) -> None: ...

    async def unpack(
        self, request: UnpackRequest, archive: int, talk: int, over: Over
    ) -> dict[str, Any]:
        """{"release", "message", …} once it is in place. `talk`: where builds say what they do."""
        ...

    async def refuse_run(self, request: RunRequest) -> None: ...

    async def run(
        self, request: RunRequest, streams: tuple[int, int, int], over: Over
    ) -> dict[str, Any]:
        """{"release", "exit", "message"} when the command is over."""
        ...


def unpack_request(body: Any) -> UnpackRequest:
    """Reads the body of POST /v1/releases. Raises BadRequest."""
    fields = known_object(body, "the body", ("release", "note"))
    return UnpackRequest(release_name(fields.get("release")), one_line(fields, "note"))


def run_request(body: Any) -> RunRequest:
    """Reads the body of POST /v1/run. Raises BadRequest."""
    fields = known_object(body, "the body", ("argv", "release", "terminal", "term", "note"))
    argv = fields.get("argv")
    if (
        not isinstance(argv, list)
        or not 1 <= len(argv) <= _MOST_WORDS
        or not all(isinstance(word, str) and "\0" not in word for word in argv)
        or not argv[0]
    ):
        raise BadRequest("cannot run: argv is a list of words", "relctl run -- COMMAND [WORD]…")
    if sum(map(len, argv)) > _LONGEST:
        raise BadRequest(
            f"cannot run: its words have more than {_LONGEST} characters",
            "give it what is long on the standard input",
        )
    release, terminal, term = fields.get("release"), fields.get("terminal"), fields.get("term")
    if terminal not in (None, True, False):
        raise BadRequest("cannot run: terminal is true or false")
    known = isinstance(term, str) and _TERM.fullmatch(term)
    return RunRequest(
        tuple(map(_utf8, argv)),
        None if release is None else release_name(release),
        bool(terminal),
        str(term) if known else "",
        one_line(fields, "note"),
    )


def _utf8(word: str) -> str:
    """Never another word in its place: it may be the name of a file that is to be removed."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise BadRequest(
            f"cannot run: {ascii(word)[:80]} is not UTF-8", "say it in a script, or on stdin"
        ) from None
    return word


@contextlib.contextmanager
def _quiet(transport: asyncio.ReadTransport) -> Iterator[None]:
    """Nobody else reads what comes meanwhile."""
    transport.pause_reading()
    try:
        yield
    finally:
        transport.resume_reading()


async def take(request: web.BaseRequest, count: int) -> tuple[int, ...]:
    """`count` descriptors of the client's; the caller closes them.

    Raises:
        BadRequest: it does not hand any over.
        ConnectionResetError: it left.
    """
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise BadRequest("cannot do that over this connection: descriptors are needed", "relctl")
    transport = request.transport
    if not isinstance(transport, asyncio.Transport):
        raise ConnectionResetError("the client left")
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as ear:
        ear.setblocking(False)
        with _quiet(transport):
            transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return await _received(ear, count)


async def _received(ear: socket.socket, count: int) -> tuple[int, ...]:
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(ear, there.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await there.wait()
    except TimeoutError:
        raise BadRequest(f"cannot do that: no descriptors came within {PATIENCE:g} s") from None
    finally:
        loop.remove_reader(ear)
    said, given, _, _ = socket.recv_fds(ear, 1, MOST, socket.MSG_CMSG_CLOEXEC)
    if not said:
        raise ConnectionResetError("the client left")
    if len(given) > count:
        close(given)
        raise BadRequest(f"cannot do that: {len(given)} descriptors came, not {count}")
    if len(given) < count:
        close(given)
        raise BadRequest(
            "cannot do that: no descriptors came with the connection",
            "on the machine itself: a socket that was forwarded (ssh -L) cannot carry them",
        )
    return tuple(given)


@contextlib.contextmanager
def closing(descriptors: tuple[int, ...]) -> Iterator[None]:
    try:
        yield
    finally:
        close(descriptors)


def over(request: web.BaseRequest, stopping: asyncio.Event) -> Over:
    def asked() -> bool:
        transport = request.transport
        return stopping.is_set() or transport is None or transport.is_closing()

    return asked
