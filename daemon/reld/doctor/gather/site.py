"""The config of the site's nginx. Read as files, not by `nginx -T`.

`nginx -T` binds the ports, opens the logs and looks names up before it says anything: in reld's sandbox it
may do none of that. Reading has no side effect, and shows a broken config, too. `told` does ask nginx: for
`relctl init`, which is run by a person.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import stat
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from reld.doctor.directives import absolute, dumped, includes, parse
from reld.doctor.sites import Proxy, proxies

MAIN = "/etc/nginx/nginx.conf"
MOST_FILES, LARGEST, ALL = 500, 1 << 20, 8 << 20
"""Files, bytes of one, and of all together."""
PATIENCE = 5.0
_UID = re.compile(r"^Uid:\s+([0-9]+)", re.MULTILINE)
_OPTION = re.compile(r"(?:^|\s)-([cp])\s+(\S+)")


def read(mains: tuple[str, ...] | None = None) -> tuple[tuple[Proxy, ...], str]:
    """Where every site of this machine sends requests, and why one could not be read ("" = all could).

    `mains`: config files; default: Debian's, and that of each nginx that runs.
    """
    found: list[Proxy] = []
    why = ""
    every = configs() if mains is None else mains
    for main in every:
        files, trouble = files_of(main)
        why = why or trouble
        if files:
            found += proxies(parse(files, main))
    if not every:
        why = f"there is no {MAIN}, and no nginx runs here but the gate"
    return tuple(found), why


def told(main: str) -> tuple[tuple[Proxy, ...], str]:
    """The same of one config, by `nginx -T`. Nothing but a reason where nginx refuses."""
    command = ["nginx", "-T", "-c", main]
    environment = {"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return (), f"cannot run nginx -T: {error}"
    files, first = dumped(ended.stdout)
    if ended.returncode != 0 or not files:
        said = [line for line in ended.stderr.splitlines() if "[emerg]" in line]
        return (), f"nginx -T: {said[-1] if said else f'it ended with {ended.returncode}'}"
    return proxies(parse(files, first)), ""


def configs() -> tuple[str, ...]:
    """The main config of Debian's nginx, and of each master that runs and is no gate.

    Only of root's, and of our own: anybody can call a process of theirs so.
    """
    found = [MAIN] if os.path.exists(MAIN) else []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with suppress(OSError):
            title = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ")
            if title.startswith(b"nginx: master process") and _starter(entry) in (0, os.geteuid()):
                main = _config_of(os.fsdecode(title))
                if main and not main.endswith("/gate/gate.conf"):
                    found.append(main)
    return tuple(dict.fromkeys(found))


def _starter(pid: str) -> int | None:
    """The real user id; the owner of /proc/PID is root where a program of anybody's wants it so."""
    found = _UID.search(Path(f"/proc/{pid}/status").read_text("utf-8", "replace"))
    return None if found is None else int(found[1])


def _config_of(title: str) -> str:
    options = dict(_OPTION.findall(title))
    prefix = options.get("p", os.path.dirname(MAIN))
    return absolute(options["c"], prefix) if "c" in options else ""


def files_of(main: str) -> tuple[dict[str, str], str]:
    """A config with all that it includes, by path, and why some of it could not be read."""
    files: dict[str, str] = {}
    why, left = "", ALL
    waiting = [main]
    while waiting and len(files) < MOST_FILES and left > 0:
        path = waiting.pop(0)
        if path in files:
            continue
        try:
            raw = _read(path, min(LARGEST, left))
        except OSError as error:
            why = why or f"cannot read {path}: {(error.strerror or str(error)).lower()}"
            continue
        left -= len(raw)
        text = files[path] = raw.decode("utf-8", "replace")
        for pattern in includes(text):
            wanted = absolute(pattern, os.path.dirname(main))
            waiting += sorted(glob.glob(wanted)) if glob.has_magic(wanted) else [wanted]
    return files, why


def _read(path: str, most: int) -> bytes:
    """Raises OSError, also for what is no regular file: a pipe would never end."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "No regular file", path)
        return file.read(most)


def main(arguments: list[str]) -> int:
    """`reld --sites [CONFIG]`, for `relctl init`: one JSON object."""
    every = (arguments[0],) if arguments else configs()
    found: list[Proxy] = []
    why = "" if every else f"there is no {MAIN}, and no nginx runs here"
    for one in every:
        by_nginx, refused = told(one)
        by_reading, unread = ((), "") if not refused else read((one,))
        found += by_nginx or by_reading
        why = why or unread or refused
    json.dump(
        {"proxies": [asdict(p) | {"name": p.name} for p in found], "why_not": why}, sys.stdout
    )
    print()
    return 0
