"""HTTP/1.1 over a Unix socket: as much of it as reld speaks, and nothing that is slow to import."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import contextmanager

from relctl.errors import (
    BUG,
    FAILED,
    NOT_PERMITTED,
    USAGE,
    CtlError,
    UnreachableError,
    UsageError,
)
from relctl.find import app_of
from relctl.wire import Watching, Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

CONNECT_TIMEOUT = 5.0
ANSWER_TIMEOUT = 30.0
LOOK_AFTER = 3.0
"""Seconds of silence before systemd is asked why: longer than a restart takes as a rule."""
LOOK_EVERY = 0.4
"""Seconds between two looks: a unit that starts again looks for a moment as if all were well."""
NO_SUCH_ROUTE = "no-such-route"
LONGEST_PATH = 107  # sun_path of Linux, without its closing zero


class Client:
    """One reld. A connection per request: reads never wait for each other.

    Args:
        path: the control socket.

    `patience`: seconds that an answer may take.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.app = app_of(path)
        self.unit = f"reld@{self.app}"
        self.version = ""
        self.patience = ANSWER_TIMEOUT

    def get(self, target: str) -> dict[str, Any]:
        return self._answer("GET", target, None)

    def post(self, target: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._answer("POST", target, body)

    def stream(
        self,
        target: str,
        idle: float | None = None,
        until: float | None = None,
        body: dict[str, Any] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """The objects of an NDJSON answer, each as soon as its line is complete.

        Args:
            target: path and query.
            idle: seconds of silence after which reld counts as gone; None waits for ever.
            until: a time of `time.monotonic()` at which waiting ends.
            body: what is posted; None: it is asked with GET.

        Raises:
            UnreachableError: reld cannot be reached, fell silent, or hung up inside a line.
            LostError: whoever read our stdout or stderr is gone.
            WaitOverError: `until` is over.
            CtlError: reld refused.
        """
        connection = self._connect()
        with connection:
            wire = Watching(connection, idle, until)
            try:
                status, headers = self._send(wire, "GET" if body is None else "POST", target, body)
                if status >= 400:
                    raise self._refusal(status, b"".join(_pieces(wire, headers)))
                rest = b""
                for piece in _pieces(wire, headers):
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        if line.strip():
                            yield _object(line)
                if rest.strip():
                    yield _object(rest)
            except (OSError, EOFError, ValueError) as error:
                raise self._lost(error) from None

    @contextmanager
    def hand(
        self, target: str, body: dict[str, Any], descriptors: list[int]
    ) -> Iterator[socket.socket]:
        """Posts `body`, and hands descriptors over once reld wants them.

        `handed` reads the answer, when there is something to read; whoever hangs up before has left.

        Raises:
            UnreachableError: reld cannot be reached, or hung up.
            CtlError: reld refused.
        """
        connection = self._connect()
        with connection:
            wire = Wire(connection, ANSWER_TIMEOUT, None)
            try:
                expect = "Expect: 100-continue\r\n"
                status, headers = self._send(wire, "POST", target, body, expect)
                if status >= 400:
                    raise self._refusal(status, b"".join(_pieces(wire, headers)))
                if status == 100:
                    socket.send_fds(connection, [b"d"], descriptors)
            except (OSError, EOFError, ValueError) as error:
                raise self._lost(error) from None
            if status != 100:
                raise self._lost(ValueError("it did not wait for what is handed over"))
            yield connection

    def handed(self, connection: socket.socket) -> dict[str, Any]:
        """The answer to `hand`. Raises what that does."""
        wire = Wire(connection, None, None)
        try:
            status, headers = _head(wire)
            raw = b"".join(_pieces(wire, headers))
            if status >= 400:
                raise self._refusal(status, raw)
            return _object(raw)
        except (OSError, EOFError, ValueError) as error:
            raise self._lost(error) from None

    def _answer(self, method: str, target: str, body: dict[str, Any] | None) -> dict[str, Any]:
        connection = self._connect()
        with connection:
            wire = Wire(connection, self.patience, None)
            try:
                status, headers = self._send(wire, method, target, body)
                raw = b"".join(_pieces(wire, headers))
                if status >= 400:
                    raise self._refusal(status, raw)
                return _object(raw)
            except (OSError, EOFError, ValueError) as error:
                raise self._lost(error) from None

    def _connect(self) -> socket.socket:
        if len(os.fsencode(self.path)) > LONGEST_PATH:
            raise UsageError(
                f"cannot use {self.path}: a socket's path has at most {LONGEST_PATH} bytes"
            )
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_TIMEOUT)
        try:
            _connect(connection, self.path)
        except PermissionError:
            connection.close()
            raise self._forbidden() from None
        except OSError as error:
            connection.close()
            why = (error.strerror or str(error)).lower()
            raise UnreachableError(
                f"cannot reach {self.unit} at {self.path}: {why}",
                f"relctl check; sudo systemctl start {self.unit}",
            ) from None
        return connection

    def _send(
        self,
        wire: Wire,
        method: str,
        target: str,
        body: dict[str, Any] | None,
        more: str = "",
    ) -> tuple[int, dict[str, str]]:
        head = f"{method} {target} HTTP/1.1\r\nHost: reld\r\nConnection: close\r\n{more}"
        content = b""
        if body is not None:
            content = json.dumps(body).encode()
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        wire.send(head.encode() + b"\r\n" + content)
        self._wait(wire)
        status, headers = _head(wire)
        self.version = headers.get("x-relctl-version", "")
        return status, headers

    def _wait(self, wire: Wire) -> None:
        """For the first byte. A reld that is restarted is waited for, one that cannot start is not."""
        pause = LOOK_AFTER
        while ((left := wire.patience) is None or left > pause) and wire.silent(pause):
            from relctl import absent

            found = absent.why(self.path, self.app)
            if found is not None:
                raise found
            pause = LOOK_EVERY

    def _refusal(self, status: int, raw: bytes) -> CtlError:
        try:
            error = _object(raw)["error"]
            if error["code"] == NO_SUCH_ROUTE:
                return self._other_version()
            return CtlError(
                str(error["message"]),
                int(error["exit"]),
                str(error["code"]),
                str(error.get("hint") or ""),
            )
        except (KeyError, TypeError, ValueError, EOFError):
            # 404, 405 and the like from a reld that is older or newer than this relctl.
            exit_code = {400: USAGE, 403: NOT_PERMITTED, 404: USAGE}.get(status, FAILED)
            if status >= 500:
                exit_code = BUG
            return CtlError(
                f"cannot do that: {self.unit} answered HTTP {status}",
                exit_code,
                f"http-{status}",
                "relctl version",
            )

    def _other_version(self) -> CtlError:
        from relctl import __version__

        return CtlError(
            f"cannot do that: {self.unit} is version {self.version}, relctl is {__version__}; "
            "it does not know this command",
            FAILED,
            NO_SUCH_ROUTE,
            f"sudo systemctl restart {self.unit}, if it is the older one: the app goes on",
        )

    def _lost(self, error: Exception) -> CtlError:
        if isinstance(error, TimeoutError):
            why = "it does not answer"
        elif isinstance(error, ValueError):
            why = f"it does not speak relctl's language ({error})"
        else:
            why = "it hung up in the middle of its answer"
        return UnreachableError(
            f"cannot talk to {self.unit} at {self.path}: {why}",
            f"relctl check; sudo systemctl status {self.unit}",
        )

    def _forbidden(self) -> CtlError:
        import getpass
        import grp

        group = "relctl"
        for place in (self.path, os.path.dirname(self.path)):
            try:
                group = grp.getgrgid(os.stat(place).st_gid).gr_name
                break
            except (OSError, KeyError):
                continue
        try:
            user = getpass.getuser()
        except (OSError, KeyError):
            user = "YOU"
        joining = "" if group == "root" else f"sudo adduser {user} {group} and log in again, or "
        return CtlError(
            f"cannot use {self.path}: permission denied; it is open to root and group {group}",
            NOT_PERMITTED,
            "not-permitted",
            f"{joining}sudo relctl …",
        )


def _connect(connection: socket.socket, path: str) -> None:
    """Linux does not wait for room in the backlog: it fails at once, whatever the timeout."""
    until = time.monotonic() + CONNECT_TIMEOUT
    while True:
        try:
            connection.connect(path)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.02)
        else:
            return


def _head(wire: Wire) -> tuple[int, dict[str, str]]:
    first = wire.line().split(b" ", 2)
    if len(first) < 2 or not first[0].startswith(b"HTTP/1."):
        raise ValueError("no HTTP answer")
    headers: dict[str, str] = {}
    while line := wire.line():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(first[1]), headers


def _pieces(wire: Wire, headers: dict[str, str]) -> Iterator[bytes]:
    """The body as it comes in: chunked, of a known length, or until the end."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int(wire.line().partition(b";")[0], 16):
            yield from _exactly(wire, size)
            wire.line()
        return
    if "content-length" in headers:
        yield from _exactly(wire, int(headers["content-length"]))
        return
    while data := wire.more():
        yield data


def _exactly(wire: Wire, size: int) -> Iterator[bytes]:
    while size > 0:
        data = wire.upto(size)
        size -= len(data)
        yield data


def _object(raw: bytes) -> dict[str, Any]:
    value = json.loads(raw)
    if not isinstance(value, dict):
        raise ValueError("an answer that is no object")  # noqa: TRY004  wrong on the wire, not in here
    return value
