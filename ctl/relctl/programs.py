"""Other programs, asked something: bounded in time, and never a reason to fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE = 3.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def said(command: Sequence[str], patience: float = PATIENCE) -> tuple[int, str, str]:
    """Exit status, stdout, stderr; 127 = it could not be run, 124 = it did not end in time."""
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": ""},
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer within {patience:g} s"
    except OSError as error:
        return 127, "", (error.strerror or str(error)).lower()
    return ended.returncode, ended.stdout, ended.stderr


def reld() -> list[str]:
    """How reld is started here: the program beside this one, or the one in PATH; empty: there is none."""
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "reld")
    for one in (beside, os.path.join(os.path.dirname(sys.executable), "reld")):
        if os.access(one, os.X_OK) and os.path.isfile(one):
            return [one]
    found = shutil.which("reld", path=PATH)
    return [found] if found else []


def properties(unit: str, *names: str) -> dict[str, str]:
    """What systemd says of a unit; empty: there is no systemd here, or it does not answer."""
    if not os.path.isdir("/run/systemd/system"):
        return {}
    code, out, _ = said(
        ["systemctl", "show", *(f"--property={name}" for name in names), "--", unit]
    )
    pairs = (line.partition("=") for line in out.splitlines())
    return {name: value for name, _, value in pairs} if code == 0 else {}
