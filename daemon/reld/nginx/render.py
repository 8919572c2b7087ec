"""The gate's complete nginx.conf, as a pure function of its settings and a routing.

The same form in all states: upstream blocks and named locations `@COLOR_KIND`. (Without an upstream
block of its own nginx means other things by Host, redirects and cache keys.)

A request goes through it like this: `split_clients` gives it a lane, one file test turns the lane
into a slot, `try_files` jumps to the slot's named location. `try_files` because its last parameter
may hold variables, it changes neither URI nor method, and, unlike `return 418` + `error_page`, it
cannot be confused with an answer of the app.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reld.core.model import Color, Routing, Target
from reld.errors import GateError
from reld.nginx import clients, closed, mirror, rehearse, static
from reld.nginx.mark import mark, settings_line
from reld.nginx.request_log import beat_location, log_lines, thin_test
from reld.nginx.settings import GateSettings, check, check_target
from reld.nginx.unchanged import UNCHANGED


def render(
    settings: GateSettings, generation: int, routing: Routing, roots: Sequence[str] = ()
) -> str:
    """The config file's text. `roots`: directories of releases, newest first, see `static`.

    Raises GateError when a value must not become nginx text.
    """
    check(settings)
    if type(generation) is not int or generation < 0:
        raise GateError(f"cannot write a gate config: no generation: {generation!r}")
    _check(routing)
    rehearse.check(routing)
    static.check_roots(roots)
    closed.check(routing.maintenance)
    return "".join(_lines(settings, generation, routing, roots))


def lanes_in_use(routing: Routing) -> bool:
    """Both slots are named: lanes decide who gets a request."""
    return routing.candidate is not None and routing.default is not None


def _check(routing: Routing) -> None:
    for target in (routing.default, routing.candidate):
        if target is not None:
            check_target(target.release, target.addresses)
    if routing.candidate is None:
        return
    if routing.default is None or not routing.default.addresses or not routing.candidate.addresses:
        raise GateError("cannot write a gate config: a candidate without a default slot")
    if type(routing.rollout) is not int or routing.rollout < 1:
        raise GateError("cannot write a gate config: a candidate without a rollout")
    if routing.candidate.color is routing.default.color:
        raise GateError("cannot write a gate config: both slots have one colour")
    if not 0 <= routing.shadow <= 1:
        raise GateError(f"cannot write a gate config: no share: {routing.shadow!r}")


def _lines(
    settings: GateSettings, generation: int, routing: Routing, roots: Sequence[str]
) -> Iterator[str]:
    yield mark(generation, routing)
    yield settings_line(settings.fingerprint)
    if routing.default is not None and not routing.default.addresses:
        routing = Routing(
            maintenance=routing.maintenance
        )  # a live slot that has no port of its own at the moment
    yield "# Written by reld. Changes are lost at the next rollout.\n"
    yield from _process(settings)
    yield f"http {{\n{closed.hash_size(routing)}"
    yield from _log(settings, generation, routing)
    yield UNCHANGED
    yield from _timeouts(settings.timeout)
    yield from _maps(settings, routing)
    yield from closed.maps(settings, routing)
    yield from mirror.maps(generation, routing)
    yield from rehearse.maps(settings, generation, routing)
    yield static.maps(settings, roots)
    yield from _upstreams(settings, routing)
    yield from _status_server(settings, generation, routing)
    yield from _server(settings, routing, roots)
    yield "}\n"


def _process(settings: GateSettings) -> Iterator[str]:
    yield "daemon on;\n"
    yield f"worker_rlimit_nofile {settings.descriptors};\n"
    yield f"worker_processes {settings.workers};\n"
    yield f"pid {settings.pid_file};\n"
    yield f"error_log {settings.error_log} error;\n"
    connections = max(32, min(8192, settings.descriptors - 32))
    yield f"events {{ worker_connections {connections}; }}\n"


def _log(settings: GateSettings, generation: int, routing: Routing) -> Iterator[str]:
    yield from log_lines(settings, generation, routing)
    yield "    log_not_found off;\n    server_tokens off;\n    open_file_cache off;\n"
    for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        yield f"    {name}_temp_path {settings.place}/{name};\n"


def _maps(settings: GateSettings, routing: Routing) -> Iterator[str]:
    ordinary = "''" if settings.keepalive else "close"
    yield (
        "    map $http_host $host_as_sent { '' $host; default $http_host; }\n"
        f"    map $http_upgrade $connection_to_app {{ '' {ordinary}; default upgrade; }}\n"
        # Only these two can be known before the answer; they may be silent for an hour.
        "    map $http_accept $answer_kind { default plain; ~*text/event-stream stream; }\n"
        "    map $http_upgrade $kind { '' $answer_kind; default stream; }\n"
    )
    if clients.in_use(settings, routing):
        yield clients.maps(settings)
    for target in (routing.default, routing.candidate):
        if target is not None and len(target.addresses) > 1:
            if clients.in_use(settings, routing):
                yield from clients.pick(target)
                continue
            # Another seed than the lanes', else lane and instance would go together.
            seed = f"$request_id:{target.color}"
            names = [str(i) for i in range(len(target.addresses))]
            yield from _split(seed, f"pick_{target.color}", names)
    if lanes_in_use(routing):
        yield from _lane_maps(settings, routing)


def _lane_maps(settings: GateSettings, routing: Routing) -> Iterator[str]:
    key = "$request_id"
    if clients.in_use(settings, routing):
        key = f"$client:{routing.rollout}"
    yield from _split(key, "lane", [f"{lane:02d}" for lane in range(100)])


def _split(key: str, name: str, values: list[str]) -> Iterator[str]:
    # Two decimals are all that nginx takes; `*` gets the rest.
    percent = f"{100 / len(values):.2f}%"
    yield f'    split_clients "{key}" ${name} {{\n'
    for value in values[:-1]:
        yield f"        {percent} {value};\n"
    yield f"        * {values[-1]};\n    }}\n"


def _upstreams(settings: GateSettings, routing: Routing) -> Iterator[str]:
    for target in (routing.default, routing.candidate):
        if target is None:
            continue
        other = routing.candidate if target is routing.default else routing.default
        for number, address in enumerate(target.addresses):
            backup = _backup(target, number, other)
            yield from _upstream(settings, f"{target.color}_{number}", address, backup)
            if target is routing.candidate:
                yield from _upstream(settings, f"{target.color}_{number}_alone", address, None)


def _backup(target: Target, number: int, other: Target | None) -> str | None:
    if other is not None:
        return other.addresses[number % len(other.addresses)]
    if len(target.addresses) > 1:
        return target.addresses[(number + 1) % len(target.addresses)]
    return None


def _upstream(settings: GateSettings, name: str, address: str, backup: str | None) -> Iterator[str]:
    # One upstream per instance: in a shared one both tries could go to the same slot, and a request
    # that kills the app would kill every instance. max_fails=0: nginx must not hide a dead slot from
    # the sensor, and a refused connection costs a retry of 0.1 ms only.
    servers = f"        server {address} max_fails=0;\n"
    if backup is not None:
        servers += f"        server {backup} max_fails=0 backup;\n"
    # A pool of their own, of none: on a connection that was used before nginx sets no SO_KEEPALIVE.
    yield f"    upstream stream_{name} {{\n{servers}    }}\n    upstream {name} {{\n{servers}"
    # On a Unix socket a connection is cheap, and one for each request shows which of them hang.
    if settings.keepalive and not address.startswith("unix:"):
        # Shorter than the app's own limit (gunicorn's is 2 s), else a POST meets a closing connection.
        yield f"        keepalive {settings.keepalive};\n        keepalive_timeout 1s;\n"
    yield "    }\n"


def _status_server(settings: GateSettings, generation: int, routing: Routing) -> Iterator[str]:
    hello = f"{settings.app} {settings.boot} {generation}"
    yield (
        "    server {\n"
        f"        listen {settings.status};\n        access_log off;\n        keepalive_timeout 0;\n"
        "        default_type text/plain;\n"
        f'        location = / {{ return 200 "{hello}\\n"; }}\n'
        "        location / { return 404; }\n"
    )
    yield beat_location(settings)
    if routing.default is not None:
        yield '        location ~ "^/lane/(?<lane_asked>[0-9][0-9])$" {\n'
        yield f"            set $slot {routing.default.color};\n"
        if routing.candidate is not None:
            yield f"            if (-f {_lanes(settings, routing)}/current/$lane_asked) "
            yield f"{{ set $slot {routing.candidate.color}; }}\n"
        yield f'            return 200 "{hello} $slot\\n";\n        }}\n'
    if routing.candidate is not None:
        yield from mirror.status_server(settings, routing, _number(routing.candidate))
    yield "    }\n"


def _server(settings: GateSettings, routing: Routing, roots: Sequence[str]) -> Iterator[str]:
    # keepalive_timeout 0 is what makes reloads lossless: all that a reload ever lost were requests
    # on idle keep-alive connections.
    yield (
        "    server {\n"
        f"        listen {settings.listen} default_server backlog=4096;\n"
        "        server_name localhost;\n        keepalive_timeout 0;\n"
    )
    if routing.default is None:
        yield from closed.server(settings, routing)
        yield f"{closed.nobody(settings, routing)}    }}\n"
        return
    yield f"        set $slot {routing.default.color};\n"
    if routing.candidate is not None:
        lanes = _lanes(settings, routing)
        yield (
            f"        if (-f {lanes}/current/$lane) {{ set $slot {routing.candidate.color}; }}\n"
            "        set $alone '';\n"
            f"        if (-f {lanes}/noshield) {{ set $alone _alone; }}\n"
        )
    yield thin_test(settings)
    yield from closed.server(settings, routing)
    yield from mirror.server(settings, routing)
    way = rehearse.way(routing) or ("$to" if mirror.in_use(routing) else "$kind")
    # A file below /dev/null cannot exist, so the jump is always made.
    yield f"        root /dev/null;\n        location / {{ try_files /- @${{slot}}_{way}; }}\n"
    yield from static.locations(settings, both=lanes_in_use(routing), roots=roots)
    for target in (routing.default, routing.candidate):
        if target is not None:
            yield from _locations(settings, routing, target)
    yield rehearse.location(settings, routing)
    yield "    }\n"


def _locations(settings: GateSettings, routing: Routing, target: Target) -> Iterator[str]:
    both = lanes_in_use(routing)
    candidate = target is routing.candidate
    upstream = f"{target.color}_{_number(target)}"
    cookie = []
    if clients.in_use(settings, routing):
        cookie = ["add_header Set-Cookie $client_cookie always"]
    shield = " http_500 http_502 http_503 http_504" if candidate and settings.shield else ""
    retry = f"proxy_next_upstream error timeout{shield}"
    one = f"{upstream}{'$alone' if candidate else ''}"
    to_app, as_stream = f"proxy_pass http://{one}", f"proxy_pass http://stream_{one}"
    yield _location(target.color, "plain", [to_app, retry, *cookie])
    if mirror.in_use(routing) and not candidate:
        asked_twice = [to_app, retry, *cookie, *mirror.directives()]
        yield _location(target.color, mirror.WAY, asked_twice)
    # Keep-alive probes tell which connections may be silent with good reason (`connections.waiting`),
    # and which are to be closed one by one (`streams`).
    patience = ["proxy_read_timeout 1h", "proxy_send_timeout 1h", "proxy_socket_keepalive on"]
    yield _location(target.color, "stream", [as_stream, retry, *cookie, *patience])
    if both and settings.assets:
        # A page of one release asks the other for its scripts while both serve.
        asked = f"proxy_next_upstream error timeout http_404{shield}"
        yield _location(target.color, "assets", [f"proxy_pass http://{upstream}", asked])


def _number(target: Target) -> str:
    # In braces: what comes behind it may be a letter of a name, too.
    return f"${{pick_{target.color}}}" if len(target.addresses) > 1 else "0"


def _location(color: Color, kind: str, directives: Iterable[str]) -> str:
    body = "".join(f"            {directive};\n" for directive in directives)
    return f"        location @{color}_{kind} {{\n{body}        }}\n"


def _timeouts(seconds: float) -> Iterator[str]:
    limit = f"{round(seconds * 1000)}ms"
    yield f"    proxy_read_timeout {limit};\n    proxy_send_timeout {limit};\n"


def _lanes(settings: GateSettings, routing: Routing) -> str:
    return f"{settings.runtime}/lanes/{routing.rollout}"
