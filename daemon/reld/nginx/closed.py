"""The part of a gate config that answers 503 by itself: nothing is live, or a person closed it.

The page is a file, because a quoted text of nginx has at most 4 KiB, and `$` in it means a variable. An
error page that is a URI is asked for with GET whatever the request was; as a named location it would
meet a POST as such, and refuse it with 405.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from reld.core.model import Closed, Routing
from reld.errors import GateError
from reld.nginx import hold, pages
from reld.nginx.settings import GateSettings

RETRY_AFTER = 5
RETRY_AFTER_MAINTENANCE = 30
"""Seconds."""
_WHERE = "/.relctl-unavailable/"
_MOST = 200


def check(closed: Closed | None) -> None:
    """Raises GateError for what must not become nginx text."""
    if closed is None:
        return
    hold.check(closed)
    if closed.page and not pages.is_name(closed.page):
        raise GateError(f"cannot write a gate config: no page of ours: {closed.page[:80]!r}")
    if len(closed.allow) > _MOST:
        raise GateError(f"cannot write a gate config: more than {_MOST} networks are allowed")
    for network in closed.allow:
        try:
            fits = str(ipaddress.ip_network(network)) == network
        except ValueError:
            fits = False
        if not fits:
            raise GateError(f"cannot write a gate config: no network: {network[:80]!r}")


def page(settings: GateSettings, routing: Routing) -> str:
    """The name of the page that every 503 of the gate has; empty = a line of text."""
    if routing.maintenance is not None:
        return routing.maintenance.page or pages.COMMON
    return pages.COMMON if settings.unavailable_page is not None else ""


def hash_size(routing: Routing) -> str:
    """Before the first map of the config, or nginx has chosen already: paths may be long."""
    return "    map_hash_bucket_size 512;\n" if routing.maintenance is not None else ""


def maps(settings: GateSettings, routing: Routing) -> Iterator[str]:
    """Directives of the http level: who is let through."""
    closed = routing.maintenance
    if closed is None:
        return
    # Only what the site's nginx says of a client counts, and everybody who reaches the gate is on this
    # machine: of X-Forwarded-For its last hop. A site that sets one of the two headers may pass on what
    # a client says in the other one, so where both are there both must be allowed.
    yield "    geo $closed_to_hop {\n        default 1;\n"
    yield "        proxy 127.0.0.0/8;\n        proxy ::1;\n"
    yield from _networks(closed)
    yield "    geo $http_x_real_ip $closed_to_real_ip {\n        default 1;\n"
    yield from _networks(closed)
    yield (
        "    map $http_x_forwarded_for $hop_told { '' ''; default $closed_to_hop; }\n"
        "    map $http_x_real_ip $real_ip_told { '' ''; default $closed_to_real_ip; }\n"
        # Of whom nothing is said, it is known that they are here: then it is the peer that is looked up.
        '    map "$hop_told$real_ip_told" $closed_to_client'
        " { '' $closed_to_hop; ~1 1; default 0; }\n"
    )
    yield "    map $uri $healthy_path {\n        volatile;\n        default '';\n"
    # The page itself is asked for from within.
    for path in sorted({*settings.health, f"{_WHERE}{page(settings, routing)}"}):
        yield f'        "{_quoted(path)}" yes;\n'
    yield (
        '    }\n    map "$closed_to_client$healthy_path" $closed {\n'
        "        volatile;\n        default '';\n        1 yes;\n    }\n"
    )


def server(settings: GateSettings, routing: Routing) -> Iterator[str]:
    """Directives of the server, where all variables are set."""
    name = page(settings, routing)
    if routing.maintenance is not None and routing.maintenance.hold:
        yield from hold.server(settings, routing.maintenance)
    elif routing.maintenance is not None:
        yield "        if ($closed) { return 503; }\n"
    if name:
        retry = RETRY_AFTER if routing.maintenance is None else RETRY_AFTER_MAINTENANCE
        yield (
            f"        error_page 503 {_WHERE}{name};\n"
            f"        location = {_WHERE}{name} {{\n            internal;\n"
            f"            root {settings.pages};\n            try_files /{name} =503;\n"
            "            types { }\n            default_type 'text/html; charset=utf-8';\n"
            "            etag off;\n            if_modified_since off;\n"
            f"            add_header Retry-After {retry} always;\n"
            "            add_header Cache-Control no-store always;\n        }\n"
        )


def nobody(settings: GateSettings, routing: Routing) -> str:
    """The rest of a server that has no slot."""
    if page(settings, routing):
        return "        location / { return 503; }\n"
    return (
        f"        default_type text/plain;\n        add_header Retry-After {RETRY_AFTER} always;\n"
        '        location / { return 503 "no release is running, try again in a moment\\n"; }\n'
    )


def _networks(closed: Closed) -> Iterator[str]:
    for network in closed.allow:
        yield f"        {network} 0;\n"
    yield "    }\n"


def _quoted(path: str) -> str:
    return path.replace("\\", "\\\\").replace('"', '\\"')
