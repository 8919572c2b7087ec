"""Shadow: while a file is there, some of the live slot's GETs are asked of the candidate, too.

nginx keeps a request, and so the connection of a user whose answer has no Content-Length, until its
`mirror` has ended: a candidate that hangs would be felt (measured: 1 s more for each such user with a
read timeout of 1 s). Hence three hops, all of them in this gate, and only the last one waits:

    the user's request   mirror → /shadow/PATH on the status port, which answers at once
    /shadow/PATH         mirror → /sink/PATH, after its own answer
    /sink/PATH           the request to the candidate; it is what the log has

Of a mirrored answer nginx reads the head and hangs up. With the last hop it is not the app that meets
that at once: it can send its answer in the two writes that nearly all take. A third one may fail.
"""

from __future__ import annotations

from collections.abc import Iterator

from reld.core.model import Routing
from reld.nginx.request_log import FILE
from reld.nginx.settings import GateSettings
from reld.nginx.shapes import SHADOW as KIND

WAY = "mirrored"
_FROM = "/.relctl-shadow"
# Everybody on this machine reaches the status port. Nothing else than GETs is ever mirrored.
_ONLY_GETS = "            limit_except GET { deny all; }\n"
_MOST, _OF_CONNECTIONS = 100, 16
"""Requests that the candidate may be busy with; each costs the gate four connections."""


def in_use(routing: Routing) -> bool:
    """The config is able to mirror; whether it does, the file decides."""
    return routing.shadow > 0 and routing.candidate is not None and routing.default is not None


def maps(generation: int, routing: Routing) -> Iterator[str]:
    """Directives of the http level: whose request is mirrored, and what is logged of it."""
    if not in_use(routing):
        return
    assert routing.default is not None
    yield f'    split_clients "$request_id:{KIND}" $shadow_dice {{ {_percent(routing.shadow)}\n'
    yield (
        # A body would have to be kept for the copy; without it the copy would be another request.
        '    map "$slot|$request_method|$kind|$content_length$http_transfer_encoding|$shadow_dice"'
        f' $way {{ default $kind; "~^{routing.default.color}\\|GET\\|plain\\|0?\\|1$" {WAY}; }}\n'
        '    map $request_uri $shadowed { default /; "~^/(?:shadow|sink)(?<shadow_of>/.*)$"'
        " $shadow_of; }\n"
        "    map $thin $shadow_thin { default -; k t; d d; }\n"
        f"    limit_conn_zone $server_port zone={KIND}:64k;\n"
        f"    log_format relctl_{KIND} '$msec|$request_time|$upstream_header_time|-"
        f"|$upstream_addr|$upstream_status|$status|$request_method|{KIND}|$shadow_thin"
        f"|{routing.rollout}|{generation}|$relctl_route';\n"
    )


def server(settings: GateSettings, routing: Routing) -> Iterator[str]:
    """Directives of the server that users meet: it sets $to, the way into a slot."""
    if not in_use(routing):
        return
    yield (
        "        set $to $kind;\n"
        f"        if (-f {settings.runtime}/lanes/{routing.rollout}/{KIND}) {{ set $to $way; }}\n"
        f"        location = {_FROM} {{\n            internal;\n"
        f"            proxy_pass http://{settings.status}/shadow$request_uri;\n"
        "            proxy_connect_timeout 1s;\n            proxy_read_timeout 1s;\n"
        f"            proxy_pass_request_body off;\n{_headers('')}        }}\n"
    )


def directives() -> list[str]:
    """Of the live slot's location whose requests are mirrored."""
    return [f"mirror {_FROM}", "mirror_request_body off"]


def status_server(settings: GateSettings, routing: Routing, number: str) -> Iterator[str]:
    """Locations of the status server. `number`: which instance of the candidate, as nginx has it."""
    if not in_use(routing):
        return
    assert routing.candidate is not None
    connections = max(32, min(8192, settings.descriptors - 32))
    most = max(1, min(_MOST, connections // _OF_CONNECTIONS))
    yield (
        f"        location ^~ /shadow/ {{\n            empty_gif;\n{_ONLY_GETS}"
        "            mirror /.sink;\n            mirror_request_body off;\n        }\n"
        "        location = /.sink {\n            internal;\n"
        f"            proxy_pass http://{settings.status}/sink$shadowed;\n"
        "            proxy_read_timeout 1h;\n            proxy_ignore_client_abort on;\n"
        f"{_headers('')}        }}\n"
        f"        location ^~ /sink/ {{\n{_ONLY_GETS}"
        f"            set $thin -;\n            if (-f {settings.thin}) {{ set $thin $thin_bucket; }}\n"
        # Routes are told by the path that the user asked for.
        "            rewrite ^/sink(/.*)$ $1 break;\n"
        f"            proxy_pass http://{routing.candidate.color}_{number}_alone$shadowed;\n"
        "            proxy_next_upstream off;\n            proxy_ignore_client_abort on;\n"
        f"            limit_conn {KIND} {most};\n            limit_conn_log_level info;\n"
        f"            access_log {settings.request_log} relctl_{KIND} {FILE} if=$upstream_addr;\n"
        f"{_headers('1')}        }}\n"
    )


def _headers(mark: str) -> str:
    # As in `unchanged`: a location that sets one header has none of the others.
    return (
        "            proxy_set_header Host $host_as_sent;\n"
        "            proxy_set_header Upgrade '';\n"
        "            proxy_set_header Connection close;\n"
        "            proxy_set_header Content-Length '';\n"
        f"            proxy_set_header X-Relctl-Shadow '{mark}';\n"
    )


def _percent(share: float) -> str:
    return "* 1; }" if share >= 1 else f"{max(0.01, share * 100):.2f}% 1; * ''; }}"
