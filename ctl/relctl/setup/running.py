"""What answers at an address today: its process and its unit. As far as we may look; nothing is changed."""

from __future__ import annotations

import os
import re
import shlex
from contextlib import suppress
from dataclasses import dataclass

from relctl import programs

_LISTEN = "0A"
_UNIT = re.compile(r"/([^/]+\.service)(?:/|$)")
_ENV_FILE = re.compile(r"(/\S.*?) \(ignore_errors=(?:yes|no)\)")


@dataclass(frozen=True, slots=True)
class Today:
    """The app as it runs. `command`: of the unit, or of the process itself where there is no unit.

    `environment`: what the unit sets by itself. `port` 0: it listens on a socket.
    """

    address: str
    port: int = 0
    pid: int = 0
    unit: str = ""
    command: tuple[str, ...] = ()
    user: str = ""
    directory: str = ""
    env_files: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    stop_signal: str = ""
    listens: bool = False


def today(address: str) -> Today:
    """What is at "127.0.0.1:8000" or "unix:/path"."""
    socket = address.removeprefix("unix:") if address.startswith("unix:") else ""
    port = 0 if socket else _port(address)
    inodes = _unix(socket) if socket else _tcp(port)
    pid = _holder(inodes)
    unit = _unit_of(pid) if pid else ""
    known = of_unit(unit) if unit else {}
    command = _command(unit, known) if unit else ()
    if not command and pid:
        command = _cmdline(pid)
    return Today(
        address=address,
        port=port,
        pid=pid,
        unit=unit,
        command=command,
        user=known.get("User") or (_user(pid) if pid else ""),
        directory=known.get("WorkingDirectory", "").lstrip("!-") or (_cwd(pid) if pid else ""),
        env_files=tuple(_ENV_FILE.findall(known.get("EnvironmentFiles", ""))),
        environment=_pairs(known.get("Environment", "")),
        stop_signal=_signal(known.get("KillSignal", "")),
        listens=bool(inodes),
    )


def of_unit(unit: str) -> dict[str, str]:
    return programs.properties(
        unit,
        "ExecStart",
        "User",
        "WorkingDirectory",
        "EnvironmentFiles",
        "Environment",
        "KillSignal",
    )


def listening() -> frozenset[int]:
    """Every TCP port that somebody listens on."""
    return frozenset(port for port, _ in _listeners())


def _command(unit: str, known: dict[str, str]) -> tuple[str, ...]:
    """As the unit says it: a process may have changed its own title since."""
    found = re.search(r"argv\[\]=(.*?) ; ignore_errors=", known.get("ExecStart", ""))
    joined = found[1].strip() if found else ""
    _, out, _ = programs.said(["systemctl", "cat", "--", unit])
    written = exec_start(out)
    # systemctl show has filled in %i and the like, but no quotes; the file has both the other way round.
    if written and (not joined or " ".join(written) == joined):
        return written
    return tuple(joined.split()) or written


def exec_start(content: str) -> tuple[str, ...]:
    """The last ExecStart= of unit files, in words."""
    joined = re.sub(r"\\\n[ \t]*", " ", content)
    found = ""
    for line in re.findall(r"^ExecStart[ \t]*=[ \t]*(.*?)[ \t]*$", joined, re.MULTILINE):
        found = line
    try:
        words = shlex.split(found)
    except ValueError:
        return ()
    if not words:
        return ()
    return (words[0].lstrip("@-:+!"), *words[1:])


def _pairs(value: str) -> tuple[tuple[str, str], ...]:
    try:
        words = shlex.split(value)
    except ValueError:
        return ()
    return tuple((name, content) for name, eq, content in (w.partition("=") for w in words) if eq)


def _signal(number: str) -> str:
    import signal

    with suppress(ValueError):
        return signal.Signals(int(number)).name
    return ""


def _port(address: str) -> int:
    port = address.rpartition(":")[2]
    return int(port) if port.isascii() and port.isdigit() else 0


def _tcp(port: int) -> set[str]:
    return {inode for found, inode in _listeners() if found == port}


def _listeners() -> list[tuple[int, str]]:
    found = []
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError), open(path, encoding="ascii") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    found.append((int(fields[1].rpartition(":")[2], 16), fields[9]))
    return found


def _unix(path: str) -> set[str]:
    found = set()
    with suppress(OSError), open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        for line in file.readlines()[1:]:
            fields = line.split()
            if len(fields) > 7 and fields[7] == path:
                found.add(fields[6])
    return found


def _holder(inodes: set[str]) -> int:
    """The oldest process that has one of the sockets: the master, not a worker of it."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    every = sorted(int(name) for name in os.listdir("/proc") if name.isdigit()) if wanted else []
    for pid in every:
        if pid == 1:  # it keeps the sockets of socket units
            continue
        with suppress(OSError):
            for number in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{number}") in wanted:
                        return pid
    return 0


def _unit_of(pid: int) -> str:
    with suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        found = _UNIT.findall(file.read().replace("\n", "/\n"))
        return str(found[-1]) if found else ""
    return ""


def _cmdline(pid: int) -> tuple[str, ...]:
    with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        return tuple(os.fsdecode(word) for word in file.read().rstrip(b"\0").split(b"\0"))
    return ()


def _user(pid: int) -> str:
    import pwd

    with suppress(OSError, KeyError):
        return pwd.getpwuid(os.stat(f"/proc/{pid}").st_uid).pw_name
    return ""


def _cwd(pid: int) -> str:
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd")
    return ""
