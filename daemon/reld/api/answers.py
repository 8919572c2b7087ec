"""Bodies: JSON in with a limit, JSON out, and errors with what to type next."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from reld import __version__
from reld.api.requests import NotFound
from reld.errors import BadRequest, NotPermitted, Refused, RelctlError

LARGEST_BODY = 64 * 1024  # bytes
BODY_TIME = 10.0  # seconds until all of it has come
HEADERS = {
    "X-Relctl-Version": __version__,
    "Cache-Control": "no-store",
    # For browsers: what an app wrote into its log is never a page, nor a part of another one's.
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Crowded(Refused):
    """Too many connections, or streams."""

    code = "too-many-connections"
    exit_code = 5


async def read_json(request: web.BaseRequest, largest: int = LARGEST_BODY) -> Any:
    """The body; {} when it is empty.

    Raises:
        BadRequest: it is larger than `largest` (bytes), slower than 10 s, or not JSON.
    """
    told = request.headers.get("Content-Length", "0")  # as it came: the parser is lenient
    if not (told.isascii() and told.isdecimal() and len(told) < 20):
        raise BadRequest("cannot read the request: its Content-Length is no length")
    if int(told) > largest:
        raise _too_large(largest)
    try:
        async with asyncio.timeout(BODY_TIME):
            body = await _body(request, largest)
    except TimeoutError:
        why = f"its body did not come within {BODY_TIME:g} s"
        raise BadRequest(f"cannot read the request: {why}") from None
    if not body:
        return {}
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("cannot read the request: its body is not JSON") from error


async def _body(request: web.BaseRequest, largest: int) -> bytes:
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > largest:
            raise _too_large(largest)
    return bytes(body)


def answer(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        body=_line(body), status=status, content_type="application/json", headers=HEADERS
    )


def text(body: bytes, content_type: str) -> web.Response:
    headers = {**HEADERS, "Content-Type": content_type}
    return web.Response(body=body, headers=headers)


def page(body: bytes, headers: Mapping[str, str]) -> web.Response:
    return web.Response(body=body, headers={**HEADERS, **headers})


def stream() -> web.StreamResponse:
    """One JSON object a line, for as long as it takes."""
    headers = {**HEADERS, "Content-Type": "application/x-ndjson"}
    return web.StreamResponse(headers=headers)


def line(body: Mapping[str, Any]) -> bytes:
    return _line(body)


def alone(trouble: RelctlError) -> bytes:
    """An error for a client that is not even read: the whole answer."""
    response = error(trouble)
    assert isinstance(response.body, bytes)
    return (
        f"HTTP/1.1 {response.status} {response.reason}\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(response.body)}\r\n\r\n"
    ).encode() + response.body


def error(trouble: RelctlError) -> web.Response:
    body = {
        "code": trouble.code,
        "exit": trouble.exit_code,
        "message": trouble.message,
        "hint": trouble.hint,
    }
    response = answer({"error": body}, _status(trouble))
    if isinstance(trouble, BadRequest):
        # What is left of a body that was too large is not read.
        response.force_close()
    return response


def _status(trouble: RelctlError) -> int:
    match trouble:
        case NotFound():
            return 404
        case BadRequest():
            return 400
        case NotPermitted():
            return 403
        case Crowded():
            return 503
    return 500 if trouble.exit_code == 70 else 409


def _too_large(largest: int) -> BadRequest:
    return BadRequest(f"cannot read the request: its body is larger than {largest} bytes")


def _line(body: Mapping[str, Any]) -> bytes:
    # ASCII with escapes: a lone surrogate in an app's output must not break the answer.
    return json.dumps(body, separators=(",", ":")).encode("ascii") + b"\n"
