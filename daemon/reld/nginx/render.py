"""The gate's complete nginx.conf, as a pure function of its settings and a routing.

The same form in all states: upstream blocks and named locations `@COLOR_KIND`. (Without an upstream
block of its own nginx means other things by Host, redirects and cache keys.)

A request goes through it like this: `split_clients` gives it a lane, one file test turns the lane
into a slot, `try_files` jumps to the slot's named location. `try_files` because its last parameter
may hold variables, it changes neither URI nor method, and, unlike `return 418` + `error_page`, it
cannot be confused with an answer of the app.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reld.core.model import Color, Routing, Target
from reld.errors import GateError
from reld.nginx.mark import mark
from reld.nginx.request_log import beat_location, log_lines, thin_test
from reld.nginx.settings import GateSettings, check, check_target
from reld.nginx.unchanged import UNCHANGED


def render(settings: GateSettings, generation: int, routing: Routing) -> str:
    """The config file's text.

    Raises GateError when a value must not become nginx text.
    """
    check(settings)
    if type(generation) is not int or generation < 0:
        raise GateError(f"cannot write a gate config: no generation: {generation!r}")
    _check(routing)
    return "".join(_lines(settings, generation, routing))


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


def _lines(settings: GateSettings, generation: int, routing: Routing) -> Iterator[str]:
    yield mark(generation, routing)
    if routing.default is not None and not routing.default.addresses:
        routing = Routing()  # a live slot that has no port of its own at the moment
    yield "# Written by reld. Changes are lost at the next rollout.\n"
    yield from _process(settings)
    yield "http {\n"
    yield from _log(settings, generation, routing)
    yield UNCHANGED
    yield from _timeouts(settings.timeout)
    yield from _maps(settings, routing)
    yield from _upstreams(settings, routing)
    yield from _status_server(settings, generation, routing)
    yield from _server(settings, routing)
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
    for target in (routing.default, routing.candidate):
        if target is not None and len(target.addresses) > 1:
            # Another seed than the lanes', else lane and instance would go together.
            seed = f"$request_id:{target.color}"
            names = [str(i) for i in range(len(target.addresses))]
            yield from _split(seed, f"pick_{target.color}", names)
    if lanes_in_use(routing):
        yield from _lane_maps(settings, routing)


def _lane_maps(settings: GateSettings, routing: Routing) -> Iterator[str]:
    key = "$request_id"
    if settings.split == "client":
        # The cookie is a random name, not a lane: each rollout deals its users anew, so the same
        # people are not the first to meet every release.
        cookie = cookie_name(settings.app)
        key = f"$client:{routing.rollout}"
        yield (
            f'    map $cookie_{cookie} $client {{ "~^[0-9a-f]{{32}}$" $cookie_{cookie};'
            " default $request_id; }\n"
            "    map $http_x_forwarded_proto $cookie_secure { https '; Secure'; default ''; }\n"
            f"    map $cookie_{cookie} $client_cookie {{ \"~^[0-9a-f]{{32}}$\" '';"
            f' default "{cookie}=$request_id; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax'
            '$cookie_secure"; }\n'
        )
    yield from _split(key, "lane", [f"{lane:02d}" for lane in range(100)])


def cookie_name(app: str) -> str:
    """The lane cookie; nginx has no variable for a cookie with a hyphen in its name."""
    return f"relctl_{app.replace('-', '_')}"


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
    yield f"    upstream {name} {{\n        server {address} max_fails=0;\n"
    if backup is not None:
        yield f"        server {backup} max_fails=0 backup;\n"
    if settings.keepalive:
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
    yield "    }\n"


def _server(settings: GateSettings, routing: Routing) -> Iterator[str]:
    # keepalive_timeout 0 is what makes reloads lossless: all that a reload ever lost were requests
    # on idle keep-alive connections.
    yield (
        "    server {\n"
        f"        listen {settings.listen} default_server backlog=4096;\n"
        "        server_name localhost;\n        keepalive_timeout 0;\n"
    )
    if routing.default is None:
        yield (
            "        default_type text/plain;\n        add_header Retry-After 5 always;\n"
            '        location / { return 503 "no release is running, try again in a moment\\n"; }\n'
            "    }\n"
        )
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
    # A file below /dev/null cannot exist, so the jump is always made.
    yield "        root /dev/null;\n        location / { try_files /- @${slot}_$kind; }\n"
    both = lanes_in_use(routing)
    if both:
        for prefix in settings.assets:
            yield f"        location ^~ {prefix} {{ try_files /- @${{slot}}_assets; }}\n"
    for target in (routing.default, routing.candidate):
        if target is not None:
            yield from _locations(settings, routing, target)
    yield "    }\n"


def _locations(settings: GateSettings, routing: Routing, target: Target) -> Iterator[str]:
    both = lanes_in_use(routing)
    candidate = target is routing.candidate
    number = f"$pick_{target.color}" if len(target.addresses) > 1 else "0"
    upstream = f"{target.color}_{number}"
    cookie = []
    if both and settings.split == "client":
        cookie = ["add_header Set-Cookie $client_cookie always"]
    shield = " http_500 http_502 http_503 http_504" if candidate and settings.shield else ""
    retry = f"proxy_next_upstream error timeout{shield}"
    to_app = f"proxy_pass http://{upstream}{'$alone' if candidate else ''}"
    yield _location(target.color, "plain", [to_app, retry, *cookie])
    # Keep-alive probes tell `connections.waiting` which connections may be silent with good reason.
    patience = ["proxy_read_timeout 1h", "proxy_send_timeout 1h", "proxy_socket_keepalive on"]
    yield _location(target.color, "stream", [to_app, retry, *cookie, *patience])
    if both and settings.assets:
        # A page of one release asks the other for its scripts while both serve.
        asked = f"proxy_next_upstream error timeout http_404{shield}"
        yield _location(target.color, "assets", [f"proxy_pass http://{upstream}", asked])


def _location(color: Color, kind: str, directives: Iterable[str]) -> str:
    body = "".join(f"            {directive};\n" for directive in directives)
    return f"        location @{color}_{kind} {{\n{body}        }}\n"


def _timeouts(seconds: float) -> Iterator[str]:
    limit = f"{round(seconds * 1000)}ms"
    yield f"    proxy_read_timeout {limit};\n    proxy_send_timeout {limit};\n"


def _lanes(settings: GateSettings, routing: Routing) -> str:
    return f"{settings.runtime}/lanes/{routing.rollout}"
