"""What the clients send, and whether an answer is the right one."""

from __future__ import annotations

import itertools
import json
import os

from tests.load.http1 import RequestError

_numbers = itertools.count(1)
_process = os.urandom(4).hex()


def new_id() -> str:
    """Unique over all clients of all load processes."""
    return f"{_process}-{next(_numbers)}"


def post(
    host: str, path: str, request_id: str, body: bytes, connection: str = "keep-alive"
) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: {request_id}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n"
    ).encode() + body


def release_of(status: int, body: bytes, request_id: str, length: int) -> str:
    """The release that answered; raises RequestError (status, mixed) if the answer is not ours or not 2xx."""
    if not 200 <= status < 300:
        raise RequestError("status", f"{status} {body[:80]!r}")
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise RequestError("protocol", f"not JSON: {body[:80]!r}") from error
    if answer.get("id") != request_id or answer.get("length") != length:
        raise RequestError("mixed", f"{request_id}: {body[:200]!r}")
    return str(answer.get("release", ""))
