"""What PID 1 is told and asked: systemctl, and why a unit ended.

By its own commands, of systemd 252 and later: a call is rare here, and costs some 10 ms. All of it blocks.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from systemd.journal import SYSTEM, Reader

from reld.core.model import OUT_OF_MEMORY, SHUTDOWN, Exit
from reld.processes.environment import DEFAULT_PATH

log = logging.getLogger("reld.units")

PATIENCE = 20.0
"""Seconds that systemd may take for one answer."""
_SETTLE = 5.0  # seconds that PID 1 may take to reap what it was told of
ENVIRONMENT = {
    "PATH": DEFAULT_PATH,
    "LC_ALL": "C.UTF-8",
    "SYSTEMD_COLORS": "0",
    "SYSTEMD_PAGER": "",
}
_SHOWN = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "ExecMainPID",
    "ExecMainCode",
    "ExecMainStatus",
)
_OOM_MESSAGE = "fe6faa94e7774663a0da52717891d8ef"  # SD_MESSAGE_UNIT_OUT_OF_MEMORY
_CODES = {"1": "exited", "2": "killed", "3": "dumped"}  # CLD_* of <signal.h>


def how_it_ended(unit: str) -> Exit:
    """What PID 1 says of a unit whose process is over; blocks, at most some seconds."""
    until = time.monotonic() + _SETTLE
    while not over(now := properties(unit)):
        if time.monotonic() > until:
            return Exit()
        time.sleep(0.02)
    status = int(now.get("ExecMainStatus") or 0)
    match _CODES.get(now.get("ExecMainCode", "")):
        case "exited":
            found = Exit(code=status)
        case "killed" | "dumped":
            found = Exit(signal=status)
        case _:
            found = Exit()
    return replace(found, cause=_cause(unit, now, found))


def _cause(unit: str, now: Mapping[str, str], found: Exit) -> str:
    if _going_down():
        return SHUTDOWN
    if now.get("LoadState") == "not-found" or now.get("ActiveState") == "inactive":
        return "stopped with systemctl"  # what ends by itself stays loaded
    if now.get("Result") == "oom-kill" or (found.signal == signal.SIGKILL and _was_oom(unit)):
        return OUT_OF_MEMORY
    return ""


def forget(unit: str) -> None:
    """Unload a unit that is over; blocks. Anything else is left as it is."""
    now = properties(unit)
    if not over(now):
        return
    if now.get("ActiveState") == "active":
        tell("stop", unit)
    elif now.get("ActiveState") == "failed":
        tell("reset-failed", unit)


def services() -> list[str]:
    """Every unit of relctl's that is loaded, of whichever app."""
    listed = run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "relctl-*.service"])
    return [line.partition(" ")[0] for line in listed.stdout.splitlines()]


def over(now: Mapping[str, str]) -> bool:
    """No process of it runs that systemd would call its main one."""
    state = (now.get("ActiveState"), now.get("SubState"))
    return state[0] in {"inactive", "failed"} or state == ("active", "exited")


def properties(
    unit: str, names: Sequence[str] = _SHOWN, patience: float = PATIENCE
) -> dict[str, str]:
    """Empty: systemd did not answer."""
    wanted = [f"--property={name}" for name in names]
    said = run(["systemctl", "show", *wanted, unit], patience).stdout
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


def tell(*words: str) -> None:
    ended = run(["systemctl", *words])
    if ended.returncode != 0:
        log.warning("systemctl %s: %s", " ".join(words), ended.stderr.strip())


def run(command: Sequence[str], patience: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """A failure with nothing on stdout: it could not be run, or did not end in `patience` seconds."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=ENVIRONMENT,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {patience:g} s")
    except OSError as problem:  # no memory, process or descriptor for it: as if nobody had answered
        return subprocess.CompletedProcess(command, 1, "", f"cannot run {command[0]}: {problem}")


def _going_down() -> bool:
    return run(["systemctl", "is-system-running"]).stdout.strip() == "stopping"


def _was_oom(unit: str) -> bool:
    """Whether the kernel's OOM killer took a process of it (told by PID 1 itself)."""
    with contextlib.suppress(OSError), Reader(SYSTEM) as reader:
        reader.this_boot()
        for match in (f"MESSAGE_ID={_OOM_MESSAGE}", f"UNIT={unit}", "_PID=1"):
            reader.add_match(match)
        return any(True for _ in reader)
    return False
