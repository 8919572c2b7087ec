"""What a browser may ask: it carries everybody's pages, and all of them can talk to a forwarded port.

The kernel says which user is at the other end of the socket. Behind `ssh -L 8080:…/control.sock` that is
the person who logged in, whoever it is that reaches the laptop's port: also a page of somebody else's that
is open in the same browser. So, before the role is looked at:

- Host must be this machine's own name (localhost, 127.0.0.1, [::1]). A page of evil.example whose name
  resolves to 127.0.0.1 all of a sudden (DNS rebinding) is of the same origin for its browser and could
  read everything; it cannot change what it sends as Host. Names without a dot (relctl says "reld", people
  type `curl --unix-socket … http://x/`) are for programs only.
- What a page of another origin asks for is refused (Fetch metadata, Origin), but for the link to `/`.
- What changes something needs the token of reld's own page as soon as it could come from a browser. One
  without Origin, without Sec-Fetch-* and with JSON cannot: browsers send Origin with every POST of another
  site, and none can be made to leave it out; relctl and curl send neither and go on as before.

The token is a keyed hash (BLAKE2b) of the user id under a key of this start of reld: it is good for one
user and until the next restart.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping

from reld.errors import NotPermitted

TOKEN = "X-Relctl-Token"  # noqa: S105  a header's name
_HERE = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9_-]{1,63}(?::[0-9]{1,5})?")
_SIGNS = ("Origin", "Referer", "Accept-Language", "Accept-Encoding", "Cookie")
"""A page cannot keep its browser from sending some of them, and curl sends none."""


class Foreign(NotPermitted):
    """It could be a page of somebody else's."""

    code = "foreign-page"


def from_browser(headers: Mapping[str, str]) -> bool:
    """Whether it says so itself, as every browser does that asks for something of another site."""
    return "Origin" in headers or any(name.lower().startswith("sec-fetch-") for name in headers)


def look(method: str, path: str, headers: Mapping[str, str], hosts: list[str]) -> None:
    """Returns when neither the name nor the origin is somebody else's. `hosts`: every Host header.

    Raises:
        Foreign: with what to open instead.
    """
    signs = from_browser(headers) or any(name in headers for name in _SIGNS)
    for host in hosts:
        if not (_HERE.fullmatch(host) or (_WORD.fullmatch(host) and not signs)):
            raise Foreign(
                f"cannot answer for the name {ascii(host)[:80]}: a page of somebody else's could hide "
                "behind it (DNS rebinding)",
                "http://127.0.0.1:PORT/ in a browser, http://localhost/ elsewhere",
            )
    if _another_site(method, path, headers, hosts):
        raise Foreign(
            "cannot answer a page of another site",
            "open reld's own page, http://127.0.0.1:PORT/",
        )


def _another_site(method: str, path: str, headers: Mapping[str, str], hosts: list[str]) -> bool:
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site", "none")
    if origin is not None:
        own = [f"{scheme}://{host}".lower() for host in hosts for scheme in ("http", "https")]
        if origin.lower() not in own:
            return True
    if site in ("none", "same-origin"):
        return False
    opened = (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest"))
    return not (method == "GET" and path == "/" and opened == ("navigate", "document"))


class Tokens:
    """Of one start of reld."""

    def __init__(self) -> None:
        self._key = os.urandom(32)
        self.start = os.urandom(6).hex()
        """Names this start; a page sees by it that reld was restarted."""

    def of(self, uid: int) -> str:
        return hashlib.blake2b(b"%d" % uid, key=self._key, digest_size=24).hexdigest()

    def prove(self, headers: Mapping[str, str], uid: int) -> None:
        """Returns when a request that changes something comes from no browser, or from our page.

        Raises:
            Foreign: with how to go on.
        """
        from hmac import compare_digest  # only browsers cost it

        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        token = headers.get(TOKEN)
        if token is None and not from_browser(headers):
            if kind in ("", "application/json"):
                return
            raise Foreign(
                f"cannot take a body of type {ascii(kind)[:80]}: forms of other sites send such",
                "say Content-Type: application/json",
            )
        given = (token or "").encode("ascii", "backslashreplace")
        if not compare_digest(given, self.of(uid).encode()):
            raise Foreign(
                "cannot do that for a page without the token of this start of reld",
                "reload the page: reld was restarted since, or it is not reld's own",
            )
