"""Bodies: JSON in with a limit, JSON out, and errors with what to type next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from reld import __version__
from reld.api.requests import NotFound
from reld.errors import BadRequest, NotPermitted, RelctlError

LARGEST_BODY = 64 * 1024  # bytes
HEADERS = {"X-Relctl-Version": __version__, "Cache-Control": "no-store"}

PAGE = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>reld</title>
<p>This is reld's control socket. Use <code>relctl</code>: <code>relctl status</code> is a start.</p>
</html>
"""


async def read_json(request: web.BaseRequest) -> Any:
    """The body; {} when it is empty.

    Raises:
        BadRequest: it is larger than 64 KiB, or not JSON.
    """
    if (request.content_length or 0) > LARGEST_BODY:
        raise _too_large()
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise _too_large()
    if not body:
        return {}
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("cannot read the request: its body is not JSON") from error


def answer(body: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        body=_line(body), status=status, content_type="application/json", headers=HEADERS
    )


def text(body: str, content_type: str) -> web.Response:
    headers = {**HEADERS, "Content-Type": content_type}
    return web.Response(body=body.encode(), headers=headers)


def page() -> web.Response:
    return web.Response(body=PAGE, content_type="text/html", charset="utf-8", headers=HEADERS)


def stream() -> web.StreamResponse:
    """One JSON object a line, for as long as it takes."""
    headers = {**HEADERS, "Content-Type": "application/x-ndjson"}
    return web.StreamResponse(headers=headers)


def line(body: Mapping[str, Any]) -> bytes:
    return _line(body)


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
    return 500 if trouble.exit_code == 70 else 409


def _too_large() -> BadRequest:
    return BadRequest(f"cannot read the request: its body is larger than {LARGEST_BODY} bytes")


def _line(body: Mapping[str, Any]) -> bytes:
    # ASCII with escapes: a lone surrogate in an app's output must not break the answer.
    return json.dumps(body, separators=(",", ":")).encode("ascii") + b"\n"
