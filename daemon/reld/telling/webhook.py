"""A webhook: one POST, verified, never led elsewhere, and nothing of the answer but its status.

Errors of aiohttp name the address, which is a secret: their text is never used.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http
import os
import ssl
import stat
from pathlib import Path

import aiohttp
from yarl import URL

from reld import __version__
from reld.config import Notify
from reld.telling.message import Message
from reld.telling.resolver import LookupHangsError, Resolver
from reld.telling.target import NotTold

PATIENCE = 10.0
"""Seconds for all of it."""
SIGNATURE = "X-Relctl-Signature"
_LONGEST_SECRET = 4096
_LONGEST_PAUSE = 120.0
_AGAIN = (408, 425, 429)


class Webhook:
    """See `Target`."""

    def __init__(self, notify: Notify, patience: float = PATIENCE) -> None:
        assert notify.url is not None
        self._url = notify.url
        self._notify = notify
        self._patience = patience
        self._resolver = Resolver()

    async def tell(self, message: Message) -> str:
        body = message.body(self._notify.format)
        headers = {
            **dict(self._notify.headers),
            "Content-Type": "application/json",
            "User-Agent": f"relctl/{__version__}",
        }
        if self._notify.secret_file is not None:
            secret = await asyncio.to_thread(read_secret, Path(self._notify.secret_file))
            headers[SIGNATURE] = signature(secret, body)
        try:
            async with asyncio.timeout(self._patience):
                status, after = await self._post(body, headers)
        except (TimeoutError, aiohttp.ServerTimeoutError):
            raise NotTold(f"no answer within {self._patience:g} s") from None
        except Exception as error:
            raise NotTold(words(error)) from None
        return _judged(status, after)

    async def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        url = URL(self._url, encoded=True)
        connector = aiohttp.TCPConnector(resolver=self._resolver, force_close=True)
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._patience),
                auto_decompress=False,
            ) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status, answer.headers.get("Retry-After", "")


def signature(secret: bytes, body: bytes) -> str:
    """`sha256=` and the HMAC of the body, in hex."""
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


def read_secret(path: Path) -> bytes:
    """Anew each time: it may be changed while reld runs. Raises NotTold."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise NotTold(f"{path} is not a regular file")
            if found.st_mode & 0o007:
                raise NotTold(f"others can read {path}: chmod o= {path}")
            secret = os.read(handle, _LONGEST_SECRET).strip()
        finally:
            os.close(handle)
    except OSError as error:
        raise NotTold(f"cannot read {path}: {error.strerror}") from None
    if not secret:
        raise NotTold(f"{path} is empty")
    return secret


def _judged(status: int, after: str) -> str:
    said = f"{status} {_phrase(status)}".strip()
    if 200 <= status < 300:
        return said
    if 300 <= status < 400:
        raise NotTold(f"{said}: it leads elsewhere, which is not followed", final=True)
    seconds = float(after) if after.isdecimal() and len(after) < 6 else 0.0
    final = 400 <= status < 500 and status not in _AGAIN
    raise NotTold(said, final=final, after=min(seconds, _LONGEST_PAUSE))


def _phrase(status: int) -> str:
    """Ours, not theirs."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


def words(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            found = error.certificate_error
            why = found.verify_message if isinstance(found, ssl.SSLCertVerificationError) else ""
            return f"its certificate is not trusted{f': {why}' if why else ''}"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "it speaks no TLS that can be trusted"
        case aiohttp.ClientConnectorError():
            return _of_system(error.os_error)
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection without an answer"
        case aiohttp.ClientOSError():
            return _of_system(error)
        case aiohttp.ClientError():
            return "it answers something that is no HTTP"
        case _:
            return f"cannot ask it ({type(error).__name__})"


def _of_system(error: OSError) -> str:
    if isinstance(error, LookupHangsError):
        return "the look-up of its name hangs"
    number = error.errno
    if number is None:  # as asyncio says it
        return "it closed the connection"
    if number <= 0:  # of getaddrinfo(3)
        return "its name cannot be looked up"
    return f"cannot connect: {os.strerror(number)}"
