"""A small ASGI application for uvicorn: `uvicorn --host 127.0.0.1 --port PORT asgi:application`.

The same answers as knobs.py for `/`, `/ready`, `/live` and `/echo`; no knobs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
    elif scope["type"] == "http":
        await answer(scope, receive, send)


async def live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def answer(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    release = os.environ.get("RELCTL_RELEASE", "unknown")
    reply: dict[str, Any] = {
        "release": release,
        "slot": os.environ.get("RELCTL_SLOT", ""),
        "pid": os.getpid(),
    }
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            reply["id"] = value.decode("latin-1")
    status = 200
    if scope["path"] == "/echo":
        sha, length, more = hashlib.sha256(), 0, True
        while more:
            message = await receive()
            piece = message.get("body", b"")
            sha.update(piece)
            length += len(piece)
            more = message.get("more_body", False)
        reply |= {"length": length, "sha256": sha.hexdigest()}
    elif scope["path"] not in ("/", "/ready", "/live"):
        status, reply["error"] = 404, f"nothing at {scope['path']}"
    content = json.dumps(reply).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        (b"x-release", release.encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
