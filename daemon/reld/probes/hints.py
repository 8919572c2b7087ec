"""The classics: why a new release does not get ready, recognised from what was seen. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from reld.core.model import OUT_OF_MEMORY, Exit
from reld.probes.spec import Result


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that may tell why; whatever is not known is left empty.

    Attributes:
        result: the last probe.
        port: that the instance was given.
        socket: the path that it was given instead.
        elsewhere: other TCP ports that its processes listen on.
        exit: how its first process ended; None: it runs.
        survivors: processes of its tree that still run.
        stop_ignored: it had the stop signal and was there when stop_timeout was over.
        argv: its command.
        host: `app.host`.
        log_tail: its last lines.
    """

    result: Result | None = None
    port: int | None = None
    socket: str = ""
    elsewhere: tuple[int, ...] = ()
    exit: Exit | None = None
    survivors: int = 0
    stop_ignored: bool = False
    argv: tuple[str, ...] = ()
    host: str = ""
    log_tail: Sequence[str] = ()


def classic_hint(seen: Seen) -> str:
    """One sentence with what to do, or "" where nothing is recognised."""
    log = "\n".join(seen.log_tail).lower()
    return (
        _shell_in_between(seen)
        or _daemonised(seen)
        or _no_room_for_a_socket(seen, log)
        or _port_taken(log)
        or _exec_failed(seen, log)
        or _other_port(seen)
        or _answered(seen, log)
        or _killed(seen)
    )


def _shell_in_between(seen: Seen) -> str:
    if not seen.stop_ignored or not seen.argv:
        return ""
    first = PurePath(seen.argv[0]).name
    if first in {"npm", "npx", "yarn", "pnpm"}:
        return (
            f"{first} does not pass the stop signal on to the app: start the app itself, "
            'for example ["node", "server.js"]'
        )
    if first in {"sh", "bash", "dash"}:
        return (
            f"{first} does not pass the stop signal on to the app: put `exec` before the last "
            "command of the script, or start the app itself"
        )
    return "the app does not end on app.stop_signal: let it, or give it more app.stop_timeout"


def _daemonised(seen: Seen) -> str:
    if seen.exit is not None and seen.exit.code == 0 and seen.survivors:
        return (
            "the command went to the background (it ended with 0 while its children run): "
            "switch its daemon mode off, reld has to see the app itself"
        )
    if seen.exit is not None and seen.exit.code == 0:
        return "the command ended by itself, as if it were done: it has to stay in the foreground"
    return ""


def _no_room_for_a_socket(seen: Seen, log: str) -> str:
    if not seen.socket:
        return ""
    if "address already in use" in log or "eaddrinuse" in log:
        return (
            "the app made its socket twice, or wanted a port that is taken: it has to listen on"
            " {socket} alone (also in the environment as SOCKET), each instance on its own"
        )
    if "permission denied" in log or "eacces" in log:
        return f"the app may make its socket at {seen.socket} and nowhere else: pass {{socket}} as it is"
    return ""


def _port_taken(log: str) -> str:
    if "address already in use" in log or "eaddrinuse" in log:
        return (
            "the app wanted a port that is taken: it has to listen on {port} "
            "(also in the environment as PORT), not on a fixed one"
        )
    return ""


def _exec_failed(seen: Seen, log: str) -> str:
    if seen.exit is not None and (seen.exit.code == 127 or "command not found" in log):
        return "a command was not found: the app's PATH is what app.env and env_file say, no login"
    if seen.exit is not None and seen.exit.code == 126:
        return "a command may not be run: chmod +x"
    return ""


def _other_port(seen: Seen) -> str:
    if not seen.elsewhere or (seen.result is not None and seen.result.status is not None):
        return ""
    where = " and ".join(map(str, seen.elsewhere))
    if seen.socket:
        return (
            f"it listens on port {where}, not on {seen.socket}: pass {{socket}} in app.command the way"
            " the server wants it (gunicorn --bind unix:{socket}, puma -b unix://{socket}), or use {port}"
        )
    given = "{port}" if seen.port is None else str(seen.port)
    return (
        f"it listens on {where}, not on {given}: pass {{port}} in app.command, "
        "or let the app read PORT"
    )


def _answered(seen: Seen, log: str) -> str:
    result = seen.result
    if result is None or result.status is None:
        return ""
    host = seen.host or "localhost"
    if result.status in {301, 302, 307, 308} and result.location.startswith("https:"):
        return (
            "it redirects to https although the probe says X-Forwarded-Proto: https: let the app "
            "trust that header from 127.0.0.1 (Django: SECURE_PROXY_SSL_HEADER; Rails: assume_ssl)"
        )
    if result.status in {301, 302, 303, 307, 308}:
        return (
            f"it redirects to {result.location or 'another page'}: readiness needs a path that "
            "answers 200 without a login"
        )
    words = log + result.body.lower()
    if result.status in {400, 403, 421} or "disallowedhost" in words or "blocked host" in words:
        return (
            f"it refuses the host {host!r}: set app.host to a name that it serves, or allow that "
            "one (Django: ALLOWED_HOSTS; Rails: config.hosts)"
        )
    if result.status == 401:
        return "readiness needs a path that answers without a login"
    if result.status == 404:
        return "there is no such page in this release: correct readiness.path"
    return ""


def _killed(seen: Seen) -> str:
    if seen.exit is not None and seen.exit.cause == OUT_OF_MEMORY:
        return (
            "the kernel took it for lack of memory: raise app.memory_max, or let the app use less"
        )
    if seen.exit is not None and seen.exit.signal == 9:
        return "killed by signal 9 and not by reld: look for the OOM killer (sudo journalctl -k)"
    return ""
