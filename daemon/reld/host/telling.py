"""Everything that helps at 2 a.m.: why an instance ended, or does not get ready."""

from __future__ import annotations

from collections.abc import Iterable

from reld.core.addresses import socket_path
from reld.core.model import Exit, Identity, Instance
from reld.errors import LaunchError
from reld.excerpt import excerpt, words
from reld.host.roster import Running
from reld.probes.hints import Seen, classic_hint
from reld.probes.spec import Result
from reld.processes import ports
from reld.snapshot import Snapshot


def why_it_ended(
    snapshot: Snapshot, instance: Instance, running: Running, found: Exit, tail: list[str]
) -> str:
    """A hint where the cause is a classic, and its last words (`tail`)."""
    seen = Seen(
        port=_port(instance),
        socket=socket_path(instance.address),
        exit=found,
        survivors=len(running.tree.everyone()),  # a daemon has left session and parents
        argv=snapshot.command_of(instance.worker),
        host=snapshot.app.host,
        log_tail=tail,
        result=running.last,
    )
    hint, said = classic_hint(seen), excerpt(tail)
    if hint or not said:
        return _joined(hint or "it said nothing", said)
    last = words(tail[-1])
    told = next(line for line in said if line == last or line.endswith(f" × {last}"))
    return _joined(told, [line for line in said if line is not told])


def why_not_ready(
    snapshot: Snapshot,
    instance: Instance,
    members: Iterable[Identity],
    detail: str,
    result: Result,
    tail: list[str],
) -> str:
    """What the probe said (`detail`), what the app answered, a hint, and the last lines of its log."""
    port = _port(instance)
    seen = Seen(
        result=result,
        port=port,
        socket=socket_path(instance.address),
        elsewhere=tuple(p for p in ports.listening_ports(members) if p != port),
        argv=snapshot.app.command,
        host=snapshot.app.host,
        log_tail=tail,
    )
    body = f"; it said: {words(result.body)}" if result.body else ""
    return _joined(f"{detail}{body}", (), classic_hint(seen), excerpt(tail))


def why_not_started(error: LaunchError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message


def _port(instance: Instance) -> int | None:
    port = instance.address.rpartition(":")[2]
    return int(port) if port.isdigit() else None


def _joined(first: str, *rest: str | tuple[str, ...] | list[str]) -> str:
    lines = [first] if first else []
    for part in rest:
        if isinstance(part, str):
            lines += [f"hint: {part}"] if part else []
        elif part:
            lines += ["its last lines:", *(f"  {line}" for line in part)]
    return "\n".join(lines)
