"""What the gate writes of each request: the part of its config that `requests` and `counting` read.

    msec|seconds|header seconds|client|addresses|statuses|status|method|kind|thin|rollout|generation|route
    msec|-|NUMBER|-|beat

What differs from line to line comes first, so that a reader can count the rest as one word. Under
overload (the file `settings.thin` is there) nine of ten dull lines are left out. Dull: one attempt,
below 400, on the live slot, of no route with a `success` of its own. `thin` says what a line
stands for:

    -   nothing is left out
    k   ten: the nine that were left out too
    t   itself, and it is one of the tenth that would have been kept anyway
    d   itself: it was logged only because it is not dull

`k` and `t` together are a fair tenth of both slots. With `split = "client"` it is a tenth of the
clients, so that what one client does stays whole.
"""

from __future__ import annotations

from collections.abc import Iterator

from reld.core.model import Routing
from reld.nginx.settings import GateSettings, Route

FILE = "buffer=64k flush=100ms"


def log_lines(settings: GateSettings, generation: int, routing: Routing) -> Iterator[str]:
    """Directives of the http level, `access_log` included."""
    lanes = routing.candidate is not None and routing.default is not None
    rollout = routing.rollout if lanes else "-"
    client = "$client" if lanes and settings.split == "client" else "-"
    route = "$relctl_route" if routing.rehearsal is None or not lanes else "$rehearsal_route"
    # Without a slot there is no $slot, and nothing that would have to be thinned.
    thin, only = ("$thin_mark", " if=$logged") if routing.default is not None else ("-", "")
    yield (
        f"    log_format relctl '$msec|$request_time|$upstream_header_time|{client}"
        f"|$upstream_addr|$upstream_status|$status|$request_method|$kind|{thin}"
        f"|{rollout}|{generation}|{route}';\n"
        "    log_format relctl_beat '$msec|-|$beat|-|beat';\n"
        f"    access_log {settings.request_log} relctl {FILE}{only};\n"
    )
    yield from _map("relctl_route", [(r, r.name) for r in settings.routes])
    if routing.default is not None:
        # The `success` of a route is told by the reader; here it is enough that there is one.
        yield from _map("judged", [(r, "by-status" if r.success else "-") for r in settings.routes])
        yield from _thinning(routing, client)


def beat_location(settings: GateSettings) -> str:
    """The only requests to the status server that are logged: the host asks whether the log works."""
    return (
        '        location ~ "^/beat/(?<beat>[0-9]{1,15})$" {\n'
        f"            access_log {settings.request_log} relctl_beat {FILE};\n"
        "            return 204;\n        }\n"
    )


def thin_test(settings: GateSettings) -> str:
    """Directives of a server that sets $slot."""
    return f"        set $thin -;\n        if (-f {settings.thin}) {{ set $thin $thin_bucket; }}\n"


def _map(name: str, values: list[tuple[Route, str]]) -> Iterator[str]:
    yield f"    map $uri ${name} {{\n        default -;\n"
    for route, value in values:
        yield f'        "~{_quoted(route.match)}" {value};\n'
    yield "    }\n"


def _quoted(regex: str) -> str:
    # In quotes nginx takes \\ for \ and \" for ", and leaves all else but \t, \r, \n as it is.
    return regex.replace("\\", "\\\\").replace('"', '\\"')


def _thinning(routing: Routing, client: str) -> Iterator[str]:
    assert routing.default is not None
    # Another seed than the lanes', else a lane would be in or out as a whole.
    key = f"{client}:{routing.rollout}:thin" if client != "-" else "$request_id:thin"
    fine = "[1-3][0-9][0-9]"
    yield (
        f'    split_clients "{key}" $thin_bucket {{ 10% k; * d; }}\n'
        '    map "$slot $upstream_status $status $judged" $dull {\n'
        f'        default 0;\n        "~^{routing.default.color} {fine} {fine} -$" 1;\n    }}\n'
        "    map $dull $kept_mark { default t; 1 k; }\n"
        "    map $dull $not_dull { default 1; 1 0; }\n"
        "    map $thin $thin_mark { default -; k $kept_mark; d d; }\n"
        "    map $thin $logged { default 1; d $not_dull; }\n"
    )
