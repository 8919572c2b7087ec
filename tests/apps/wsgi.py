"""A small WSGI application for gunicorn: `gunicorn -b 127.0.0.1:PORT wsgi:application`.

The same answers as knobs.py for `/`, `/ready`, `/live` and `/echo`; no knobs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    release = os.environ.get("RELCTL_RELEASE", "unknown")
    status, answer = (
        "200 OK",
        {
            "release": release,
            "slot": os.environ.get("RELCTL_SLOT", ""),
            "pid": os.getpid(),
        },
    )
    if request_id := environ.get("HTTP_X_REQUEST_ID"):
        answer["id"] = request_id
    path = environ.get("PATH_INFO", "/")
    if path == "/echo":
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        answer |= {"length": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    elif path not in ("/", "/ready", "/live"):
        status, answer["error"] = "404 Not Found", f"nothing at {path}"
    content = json.dumps(answer).encode()
    start_response(
        status,
        [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(content))),
            ("X-Release", release),
        ],
    )
    return [content]
