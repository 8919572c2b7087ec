"""Reading the config file of one app: all that is wrong with it at once, each with its line."""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reld import (
    config_gate,
    config_metrics,
    config_notify,
    config_releases,
    config_shadow,
    config_steps,
    config_streams,
    config_surge,
)
from reld import config_values as v
from reld.config import (
    COMMAND_PLACEHOLDERS,
    HOOK_PLACEHOLDERS,
    HOOKS,
    WORKER_PLACEHOLDERS,
    Access,
    App,
    Config,
    External,
    Gate,
    Hooks,
    Kept,
    Liveness,
    Metrics,
    Notify,
    PortRange,
    Ports,
    Readiness,
    Releases,
    Route,
    Smoke,
    Verdict,
    Worker,
)
from reld.config_toml import Document, Findings, Key, MalformedError, nearest, parse, sentence
from reld.core.policy import STOP_FIRST, WARM
from reld.errors import ConfigError

LARGEST = 1 << 20  # bytes; no honest config comes near it
GATE_USERS = ("www-data", "relctl-gate")  # Debian's nginx workers; the gate, see nginx/owner.py
FIRST_PORT, BLOCK = 21000, 100
NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")

_COMMAND = v.argv(COMMAND_PLACEHOLDERS)
_HOOK = v.argv(HOOK_PLACEHOLDERS)
_WORKER = v.argv(WORKER_PLACEHOLDERS)
_PERIOD = v.duration(0.01)
_MEMBERS = v.many(v.MEMBER, 'a list of users and groups, such as ["@relctl", "anna"]')


@dataclass(frozen=True, slots=True)
class _Table:
    make: Callable[..., Any]
    keys: Mapping[str, v.Reader]
    required: tuple[str, ...] = ()


_TABLES: Mapping[str, _Table] = {
    "app": _Table(App, {
        "command": _COMMAND, "directory": v.directory, "user": v.USER, "host": v.HOST,
        "instances": v.integer(1, 100), "env_file": v.absolute, "env": v.env,
        "stop_signal": v.stop_signal, "stop_timeout": v.duration(),
        "memory_max": v.size, "tasks_max": v.integer(1, 1_000_000),
    }, ("command", "directory")),
    "ports": _Table(Ports, {"range": v.port_range}),
    "readiness": _Table(Readiness, {
        "path": v.PATH, "tcp": v.boolean, "command": _COMMAND, "interval": _PERIOD,
        "timeout": _PERIOD, "successes": v.integer(1, 1000), "deadline": _PERIOD,
    }),
    "liveness": _Table(Liveness, {
        "path": v.PATH, "interval": _PERIOD, "timeout": _PERIOD, "failures": v.integer(1, 1000),
    }),
    "smoke": _Table(Smoke, {
        "name": v.NAME, "path": v.PATH, "command": _COMMAND, "method": v.METHOD, "body": v.text,
        "headers": v.headers, "status": v.statuses, "contains": v.text, "within": _PERIOD,
        "times": v.integer(1, 1000), "warm": v.integer(0, 1000),
    }, ("name",)),
    "rollout": _Table(config_steps.rollout, {
        "steps": config_steps.steps, "step_time": v.duration(), "step_requests": v.integer(0, 10**9),
        "step_max": v.duration(), "bake": v.duration(), "drain": v.duration(),
        "drain_max": v.duration(), "strategy": v.choice(WARM, STOP_FIRST),
        "surge": v.integer(0, 100), "shadow": v.fraction_or_none('"5%" or 0.05', 1.0),
        "side_by_side": v.boolean,
    }),
    "verdict": _Table(Verdict, {
        "false_alarm": v.fraction('"1/1000" or 0.001', 0.5),
        "max_error_rate": v.fraction('"5%" or 0.05', 1.0), "max_p95": _PERIOD,
        "warmup": v.duration(), "on_unproven": v.choice("promote", "hold", "rollback"),
        "shield": v.boolean,
    }),
    "route": _Table(Route, {
        "name": v.NAME, "match": v.regex, "success": v.successes,
    }, ("name", "match")),
    "worker": _Table(Worker, {
        "name": v.NAME, "command": _WORKER, "instances": v.integer(1, 100),
        "stop_timeout": v.duration(), "stop_signal": v.stop_signal,
        "handover": v.choice("overlap", "stop-first"),
    }, ("name", "command")),
    "gate": _Table(Gate, {
        "listen": v.loopback, "status": v.loopback, "keepalive": v.integer(0, 1000),
        "timeout": v.duration(0.01, 86400), "split": v.choice("request", "client"),
        "assets": v.each_once(v.ASSETS, 'a list of prefixes, such as ["/assets/"]'),
        "static": config_gate.static, "websockets": config_streams.websockets,
        "unavailable_page": v.absolute,
    }),
    "external": _Table(External, {"address": v.upstream, "unit": v.UNIT}, ("address",)),
    "hooks": _Table(Hooks, dict.fromkeys(HOOKS, _HOOK) | {"timeout": _PERIOD}),
    "releases": _Table(Releases, {
        "build": config_releases.build, "shared": config_releases.shared,
        "keep": v.integer(0, 1000), "max_size": v.size, "unpack_timeout": v.duration(1.0, 86400.0),
        "follow": config_releases.follow,
    }),
    "metrics": _Table(Metrics, {"textfile": config_metrics.textfile}),
    "notify": _Table(Notify, {
        "url": config_notify.url, "command": config_notify.command, "on": config_notify.on,
        "format": v.choice("json", "slack"), "headers": config_notify.headers,
        "secret_file": v.absolute, "user": v.USER,
    }),
    "access": _Table(Access, dict.fromkeys(("operators", "viewers", "approvers"), _MEMBERS)),
}  # fmt: skip
_NAMED = ("smoke", "route", "worker")
_ARRAYS = (*_NAMED, "notify")
_KEYS = (*_TABLES, *(f"{table}.{key}" for table in _TABLES for key in _TABLES[table].keys))
_EXAMPLES = {
    "app.command": f"command = {v.ARGV.partition('such as ')[2]}",
    "app.directory": 'directory = "/srv/web/releases/{release}"',
    "smoke.name": 'name = "login"',
    "route.name": 'name = "checkout"',
    "route.match": 'match = "^/checkout"',
    "worker.name": 'name = "queue"',
    "worker.command": 'command = ["bin/worker", "--queue", "mail"]',
    "external.address": 'address = "127.0.0.1:8000"',
}


def check(path: Path, uid: int, kept: Mapping[str, Kept] | None = None) -> list[str]:
    """What is wrong with a config file, one text per finding in the order of its lines."""
    try:
        load(path, uid=uid, kept=kept)
    except ConfigError as error:
        return list(error.findings)
    return []


def load(
    path: Path,
    *,
    uid: int,
    neighbours: Iterable[Path] | None = None,
    kept: Mapping[str, Kept] | None = None,
) -> Config:
    """Read and check the config of one app.

    Args:
        path: the file; the stem of its name is the name of the app.
        uid: who reld runs as; 0 asks for more (a user for the app, a file only its owner writes).
        neighbours: the configs of the other apps on this machine, whose ports are theirs.
            Default: every other `*.toml` in the same directory.
        kept: what the apps that ever started have, by name. They keep it, whatever config is new.

    Raises ConfigError with every finding, whatever the bytes of the file are.
    """
    try:
        content, status = _read(path)
        document = parse(content)
    except MalformedError as bad:
        text = sentence(path, bad.line, bad.key, bad.what, bad.expected)
        raise ConfigError((text,)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError((sentence(path, 1, "file", f"cannot read it: {reason}"),)) from None
    findings = Findings(path, document)
    if not NAME.fullmatch(path.stem):
        what = f"{v.show(path.stem)} cannot be the name of an app"
        findings.add((), what, "[a-z][a-z0-9-]*, such as web.toml")
    if uid == 0:
        _only_its_owner_writes(status, findings)
    config = _build(path, document, findings)
    _check_user(config.app, uid, findings)
    _check_probes(config, document, findings)
    config_gate.check_place(config, findings)
    config_releases.check(config, findings)
    _check_times(config, document, findings)
    config_surge.check(config, findings)
    config_shadow.check(config, findings)
    config_streams.check(config, document, findings)
    config_notify.check(config, document, findings)
    if config.gate.static and not findings.about(("app", "directory")):
        _check_static(config, findings)
    others = _siblings(path) if neighbours is None else neighbours
    leases = [lease for p in others if (lease := _lease(path, p))]
    config = _with_ports(config, leases, kept or {}, findings)
    if findings.sorted:
        raise ConfigError(findings.sorted)
    return config


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    # Opened without waiting and looked at before it is read: it may be a FIFO or a device.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if len(content := os.read(descriptor, LARGEST + 1)) > LARGEST:
            raise ValueError("it is larger than 1 MiB")
        return content, status
    finally:
        os.close(descriptor)


def _only_its_owner_writes(status: os.stat_result, findings: Findings) -> None:
    if status.st_uid != 0:
        what = f"it belongs to uid {status.st_uid}, who could run anything as root"
        findings.add((), what, "root as its owner: chown root FILE")
    if status.st_mode & 0o022:
        what = f"others than its owner can write it (mode {stat.S_IMODE(status.st_mode):04o})"
        findings.add((), what, "0644 or less: chmod go-w FILE")


def _build(path: Path, document: Document, findings: Findings) -> Config:
    made: dict[str, Any] = {}
    for name, raw in document.data.items():
        if name not in _TABLES:
            _unknown(name, raw, findings)
        elif name in _ARRAYS:
            if isinstance(raw, list) and all(isinstance(item, dict) for item in raw):
                made[name] = tuple(
                    _table(name, item, (name, n), findings) for n, item in enumerate(raw)
                )
            else:
                findings.add((name,), f"{v.show(raw)} is not a list of tables", f"[[{name}]]")
        elif isinstance(raw, dict):
            made[name] = _table(name, raw, (name,), findings)
        else:
            findings.add((name,), f"{v.show(raw)} is not a table", f"[{name}]")
    if "app" not in document.data:
        expected = f"[app] with {_EXAMPLES['app.command']} and {_EXAMPLES['app.directory']}"
        findings.add(("app",), "is missing", expected)
    made.setdefault("app", App((), ""))
    made.setdefault("readiness", Readiness())
    made["ports"] = made.get("ports") or Ports(PortRange(0, 0))
    return Config(name=path.stem, path=path, **made)


def _table(name: str, raw: Mapping[str, Any], at: Key, findings: Findings) -> Any:
    table = _TABLES[name]
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in table.keys:
            meant = nearest(key, name, _KEYS)
            findings.add((*at, key), "there is no such key", "" if meant else _one_of(table), meant)
            continue
        try:
            values[key] = table.keys[key](value)
        except v.WrongError as wrong:
            findings.add((*at, key), wrong.what, wrong.expected, wrong.meant)
    for key in table.required:
        if key not in raw:
            findings.add((*at, key), "is missing", _EXAMPLES[f"{name}.{key}"])
        values.setdefault(key, () if key == "command" else "")
    if name == "ports" and not values:
        return None
    return table.make(**values)


def _one_of(table: _Table) -> str:
    return "one of " + ", ".join(table.keys)


def _unknown(name: str, raw: Any, findings: Findings) -> None:
    what = "there is no such table" if isinstance(raw, dict) else "there is no such key"
    meant = nearest(name, "", _KEYS)
    findings.add((name,), what, "" if meant else "one of " + ", ".join(_TABLES), meant)
    # A [Service] pasted from a unit: say for each line where it belongs.
    for key in raw if isinstance(raw, dict) else ():
        if meant := nearest(key, name, _KEYS):
            findings.add((name, key), "there is no such key", "", meant)


def _check_user(app: App, uid: int, findings: Findings) -> None:
    key = ("app", "user")
    if findings.about(key, ("app",)):
        return
    if app.user is None:
        if uid == 0:
            findings.add(
                key, "is missing, and reld runs as root", 'user = "web", a user of its own'
            )
        return
    ids = {}
    for name in (app.user, *GATE_USERS):
        try:
            ids[name] = pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    uids = {ids[name] for name in GATE_USERS if name in ids}
    if app.user in GATE_USERS or ids.get(app.user) in uids:
        expected = "a user of its own: nginx's could read and signal the app"
        findings.add(key, f"{app.user} is the user of nginx", expected)
    elif app.user not in ids:
        expected = f"a user of this machine: adduser --system --group {app.user}"
        findings.add(key, f"there is no user {app.user}", expected)
    elif uid not in (0, ids[app.user]):
        what = f"reld runs with uid {uid} and cannot start anything as {app.user}"
        findings.add(key, what, "no user at all, or reld as root")


def _check_probes(config: Config, document: Document, findings: Findings) -> None:
    probe, raw = config.readiness, document.data.get("readiness", {})
    wrong = [("readiness", key) for key in ("path", "tcp", "command")]
    if not findings.about(("readiness",), *wrong):
        ways = [probe.path is not None, probe.tcp, bool(probe.command)]
        expected = '[readiness] with path = "/ready" (or tcp = true, or command = ["bin/ready"])'
        if not any(ways):
            what = "is missing" if not raw else "says nothing to ask"
            findings.add(("readiness",), what, expected)
        elif sum(ways) > 1:
            findings.add(("readiness",), "asks in more than one way", "one of path, tcp, command")
    for name in _NAMED:
        seen: set[str] = set()
        for number, item in enumerate(getattr(config, name)):
            if item.name in seen and not findings.about((name, number, "name")):
                expected = "a name of its own for each"
                findings.add((name, number, "name"), f"{item.name} is there already", expected)
            seen.add(item.name)
    for number, smoke in enumerate(config.smoke):
        at = ("smoke", number)
        if findings.about((*at, "path"), (*at, "command")):
            continue
        given = document.data["smoke"][number].keys()
        if ("path" in given) == ("command" in given):
            what = "has both path and command" if "path" in given else "has nothing to ask"
            findings.add(at, what, 'path = "/login", or command = ["bin/smoke"]')
        elif smoke.command:
            for key in ("method", "body", "headers", "status", "contains"):
                if key in given:
                    expected = "it only where there is a path: a command judges by its exit code"
                    findings.add((*at, key), "means nothing to a command", expected)


def _check_times(config: Config, document: Document, findings: Findings) -> None:
    given = document.data.get("rollout", {})
    for low, high in (("step_time", "step_max"), ("drain", "drain_max")):
        least, most = getattr(config.rollout, low), getattr(config.rollout, high)
        if least > most and not findings.about(("rollout", low), ("rollout", high)):
            what = f"{high} ({most:g} s) is shorter than {low} ({least:g} s)"
            key = high if high in given else low
            findings.add(("rollout", key), what, f"{low} to be at most {high}")


def _check_static(config: Config, findings: Findings) -> None:
    if not config_gate.fits(config.app.directory):
        what = f"{v.show(config.app.directory)} cannot be named in the gate's config"
        findings.add(("gate", "static"), what, "app.directory of letters, digits and /_.@+-")


@dataclass(frozen=True, slots=True)
class _Lease:
    """What the config of an app takes; `range` None: it leaves the choice to the default."""

    name: str
    path: Path
    range: PortRange | None
    addresses: tuple[str, ...]


def _siblings(path: Path) -> list[Path]:
    try:
        return sorted(path.parent.glob("*.toml"))
    except (OSError, ValueError):
        return []


def _lease(own: Path, path: Path) -> _Lease | None:
    """A neighbour's ports, leniently: its other mistakes are not ours. None: no app, or our own."""
    if os.path.abspath(own) == os.path.abspath(path) or not NAME.fullmatch(path.stem):
        return None
    try:
        data = parse(_read(path)[0]).data
    except (MalformedError, OSError, ValueError):
        return None
    if not isinstance(data.get("app"), dict):
        return None

    def said(table: str, key: str) -> Any:
        section = data.get(table)
        try:
            return _TABLES[table].keys[key](section[key]) if isinstance(section, dict) else None
        except (KeyError, v.WrongError):
            return None

    addresses = (
        said("gate", "listen") or Gate().listen, said("gate", "status"), said("external", "address")
    )  # fmt: skip
    return _Lease(path.stem, path, said("ports", "range"), tuple(a for a in addresses if a))


def _port(address: str) -> int:
    return 0 if address.startswith("unix:") else int(address.rpartition(":")[2])


def _defaults(leases: Iterable[_Lease], kept: Mapping[str, Kept]) -> dict[str, PortRange]:
    """Everybody's range. Those without one keep what they have; new ones get the free hundreds.

    In the order of their names: every app computes the same from the same files, so no two of them
    ever choose the same.
    """
    every = sorted(leases, key=lambda lease: lease.name)
    ranges = {lease.name: lease.range for lease in every if lease.range}
    for lease in every:
        if lease.name in kept:
            ranges.setdefault(lease.name, kept[lease.name].range)
    gates = {_port(address) for lease in every for address in lease.addresses}
    for lease in every:
        if lease.name not in ranges:
            for first in range(FIRST_PORT, 65536 - BLOCK, BLOCK):
                block = PortRange(first, first + BLOCK - 1)
                leased = any(block.overlaps(taken) for taken in ranges.values())
                if not leased and not any(port in block for port in gates):
                    ranges[lease.name] = block
                    break
    return ranges


def _with_ports(
    config: Config, others: list[_Lease], kept: Mapping[str, Kept], findings: Findings
) -> Config:
    key, gate = ("ports", "range"), config.gate
    chosen = config.ports.range if config.ports.range.first else None
    external = config.external.address if config.external else ""
    addresses = tuple(a for a in (gate.listen, gate.status, external) if a)
    free = _defaults([*others, _Lease(config.name, config.path, None, addresses)], kept)
    if findings.about(key, ("ports",)):
        return config
    if config.name not in free:
        findings.add(key, "there is no free hundred of ports left", 'range = "FIRST-LAST"')
        return config
    ports = chosen or free[config.name]
    status = gate.status or f"127.0.0.1:{ports.last}"
    needed = 4 * config.app.instances + (_port(status) in ports)
    if len(ports) < needed:
        what = f"{ports} has {len(ports)} ports, too few for instances = {config.app.instances}"
        expected = f"at least {needed}: two slots, as many that rest, and the gate's status"
        findings.add(key, what, expected, f'"{ports.first}-{ports.first + needed - 1}"')
    theirs = _defaults(others, kept)
    for other in others:
        if config.name in kept and other.name not in kept:
            continue  # it never started, and it is its start that is refused
        name = f"{other.name} ({other.path.name})"
        taken = theirs.get(other.name)
        if chosen and taken and chosen.overlaps(taken):
            what = f"{chosen} overlaps {taken} of {name}"
            findings.add(key, what, "ports of its own", f'"{free[config.name]}"')
        for address in other.addresses:
            if _port(address) in ports:
                what = f"{ports} holds {address}, which {name} uses"
                findings.add(key, what, "ports of its own", f'"{free[config.name]}"')
        for where, mine in (("listen", gate.listen), ("status", status)):
            # A status port that came with the range has been judged with the range.
            said = where == "listen" or gate.status
            if said and (mine in other.addresses or (taken and _port(mine) in taken)):
                findings.add(("gate", where), f"{mine} is taken by {name}", "a free port")
    if _port(gate.listen) in ports:
        what = f"{gate.listen} is inside [ports] range {ports}"
        findings.add(("gate", "listen"), what, "a port outside, such as 127.0.0.1:8080")
    if status == gate.listen:
        findings.add(("gate", "status"), f"{status} is gate.listen too", "a port of its own")
    if external in (gate.listen, status):
        what = f"{external} is the gate's own address: it would ask itself"
        findings.add(("external", "address"), what, "the address of the app that runs today")
    elif external and _port(external) in ports and v.is_loopback(external):
        what = f"{external} is inside [ports] range {ports}"
        findings.add(("external", "address"), what, "a range without it in [ports]")
    return replace(config, ports=Ports(ports), gate=replace(gate, status=status))
