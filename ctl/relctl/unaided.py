"""What `relctl check` can tell without reld: the unit, the socket, who may, the config, what goes on."""

from __future__ import annotations

import os
import stat

from relctl import find, programs
from relctl.errors import CtlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CHECKING = 3.0
"""Seconds that reld may take to read a config."""
Finding = dict[str, str]
"""{"area", "level", "text", "mend"}, as reld sends it."""


def finding(area: str, level: str, text: str, mend: str = "") -> Finding:
    return {"area": area, "level": level, "text": text, "mend": mend}


def findings(socket: str, app: str, error: CtlError) -> list[Finding]:
    """`error`: why reld could not be asked."""
    found: list[Finding] = []
    if error.code == "not-permitted":
        found.append(_shut_out(socket, error))
    else:
        found += _unit(app, error)
        found += _socket(socket)
    found += _goes_on(os.path.dirname(socket), app)
    if (
        os.path.dirname(os.path.dirname(socket)) == find.RUN
    ):  # elsewhere the name of a directory is no app's
        found += config(app)
    return found


def who_asks(socket: str) -> Finding:
    """About the caller, when reld has answered."""
    name = _user()
    if os.geteuid() == 0:
        return finding("permissions", "ok", "you are root: you may do everything")
    group = _group(socket)
    if group and _has_group(group):
        return finding("permissions", "ok", f"you, {name}, are in group {group}")
    return finding("permissions", "ok", f"you, {name}, may look")


def _shut_out(socket: str, error: CtlError) -> Finding:
    group, name = _group(socket), _user()
    if group and _listed(name, group) and not _has_group(group):
        text = (
            f"you, {name}, were put into group {group} after you logged in: it does not count yet"
        )
        return finding(
            "permissions", "error", text, "log out and in again; at once: newgrp " + group
        )
    return finding("permissions", "error", error.message, error.hint)


def _unit(app: str, error: CtlError) -> list[Finding]:
    unit = f"reld@{app}"
    now = programs.properties(
        f"{unit}.service", "LoadState", "ActiveState", "SubState", "Result", "UnitFileState"
    )
    if not now:
        return [finding("reld", "error", error.message, error.hint)]
    start = f"sudo systemctl enable --now {unit}"
    journal = f"sudo journalctl -u {unit} -n 50"
    if now.get("LoadState") == "not-found":
        text = f"there is no unit {unit}: relctl is not installed as a package"
        return [finding("reld", "error", text, "sudo apt install ./relctl_*_all.deb")]
    state = f"{now.get('ActiveState', '?')} ({now.get('SubState', '?')})"
    if now.get("ActiveState") == "active":
        text = f"{unit} is active and does not answer: {error.message}"
        return [finding("reld", "error", text, f"{journal}; sudo systemctl restart {unit}")]
    if now.get("ActiveState") in ("failed", "activating"):
        text = f"{unit} does not come up: {state}, {now.get('Result', '')}"
        return [finding("reld", "error", text, f"{journal}; then: sudo systemctl restart {unit}")]
    found = [finding("reld", "error", f"{unit} is {state}", start)]
    if now.get("UnitFileState") == "disabled":
        found.append(finding("reld", "warning", f"{unit} is not started at boot", start))
    return found


def _socket(path: str) -> list[Finding]:
    try:
        there = os.stat(path)
    except PermissionError:
        return [finding("permissions", "error", f"cannot look at {path}", "sudo relctl check")]
    except OSError:
        text = f"there is no control socket at {path}: nothing listens"
        return [finding("reld", "error", text, "see above: it comes with reld")]
    mode = f"{stat.S_IMODE(there.st_mode):04o}"
    text = f"{path} is there ({mode}, group {_group(path) or there.st_gid})"
    return [finding("permissions", "ok", text)]


def _goes_on(runtime: str, app: str) -> list[Finding]:
    """Whether users notice: the gate and the app need no reld."""
    try:
        with open(os.path.join(runtime, "gate", "gate.pid"), encoding="ascii") as file:
            pid = int(file.read(20))
        os.kill(pid, 0)
    except PermissionError:
        pass  # of another user's: it runs, or its directory is shut; nothing is known then
    except (OSError, ValueError):
        mend = f"sudo systemctl start relctl-gate@{app}"
        return [finding("nginx", "warning", f"no gate of {app} runs", mend)]
    else:
        text = f"the gate of {app} runs (pid {pid}): users are served, reld or no reld"
        return [finding("nginx", "ok", text)]
    return []


def config(app: str) -> list[Finding]:
    """What reld itself says of the app's config file."""
    path = os.path.join(find.ETC, f"{app}.toml")
    if not os.path.exists(path):
        text = f"there is no {path}"
        return [finding("config", "error", text, f"sudo relctl init {app} --write")]
    program = programs.reld()
    mend = f"sudo reld {path} --check"
    if not program or not os.access(path, os.R_OK, effective_ids=True):
        return [finding("config", "warning", f"{path} cannot be checked from here", mend)]
    code, out, err = programs.said([*program, path, "--check"], CHECKING)
    if code == 0:
        return [finding("config", "ok", f"{path} loads")]
    if code == 8 and os.geteuid() != 0 and "cannot start anything as" in out:
        # reld itself is root, and may; what else is wrong stands beside it.
        lines = [line for line in out.splitlines() if "cannot start anything as" not in line]
        if not lines:
            return [finding("config", "ok", f"{path} loads")]
        out = "\n".join(lines)
    said = out.splitlines() or err.splitlines()[-1:] or [f"reld --check ended with {code}"]
    return [finding("config", "error", line, mend) for line in said]


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.geteuid()}"


def _group(path: str) -> str:
    import grp

    try:
        return grp.getgrgid(os.stat(path).st_gid).gr_name
    except (OSError, KeyError):
        return ""


def _has_group(name: str) -> bool:
    import grp

    try:
        return grp.getgrnam(name).gr_gid in (*os.getgroups(), os.getegid())
    except KeyError:
        return False


def _listed(user: str, group: str) -> bool:
    import grp

    try:
        return user in grp.getgrnam(group).gr_mem
    except KeyError:
        return False


def as_findings(value: Any) -> list[Finding]:
    """What a reld of whatever version sent."""
    keys = ("area", "level", "text", "mend")
    every = value if isinstance(value, list) else []
    return [
        {key: str(one.get(key) or "") for key in keys} for one in every if isinstance(one, dict)
    ]
