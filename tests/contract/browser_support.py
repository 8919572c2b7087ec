"""Requests to the control socket as browsers send them, for tests."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path
from typing import Any

from tests.contract.api_support import OPERATOR, OPERATORS_GROUP, Answer, dial, read_head

HERE = "127.0.0.1:8080"
OWN_PAGE = {
    "Host": HERE,
    "Origin": f"http://{HERE}",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
    "Content-Type": "application/json",
}
TYPED_IN = {
    "Host": HERE,
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Accept-Encoding": "gzip, deflate, br",
}
TOKEN = re.compile(rb'<meta name="relctl-token" content="([^"]*)">')
AS_OPERATOR: dict[str, Any] = {"uid": OPERATOR, "groups": (OPERATORS_GROUP,)}
PAUSE = "/v1/rollouts/42/pause"


async def send(
    path: Path,
    method: str,
    target: str,
    headers: dict[str, str] | list[tuple[str, str]],
    body: bytes = b"",
    *,
    uid: int = 0,
    groups: tuple[int, ...] = (),
) -> Answer:
    """Exactly these headers, and how long the body is. HTTP/1.0: the answer ends with the connection."""
    sock = await dial(path, uid, *groups)
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    pairs = list(headers.items()) if isinstance(headers, dict) else headers
    if body or method == "POST":
        pairs.append(("Content-Length", str(len(body))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    writer.write(f"{method} {target} HTTP/1.0\r\n{lines}\r\n".encode() + body)
    try:
        status, found = await read_head(reader)
        return Answer(status, found, await asyncio.wait_for(reader.read(), 10))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def token_of(path: Path, **caller: Any) -> str:
    """What the page of this caller carries."""
    page = await send(path, "GET", "/", TYPED_IN, **caller)
    assert page.status == 200, page.raw
    found = TOKEN.search(page.raw)
    assert found is not None
    return found[1].decode()


def refused(answer: Answer) -> bool:
    return answer.status == 403 and answer.body["error"]["code"] == "foreign-page"
