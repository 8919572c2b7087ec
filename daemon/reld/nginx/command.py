"""nginx as a command: always as the gate's user, never as root, so that nothing it opens is root's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reld.errors import GateError
from reld.nginx import owner
from reld.nginx.settings import GateSettings

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
# The files that nginx writes are bounded even when nobody reads them. It needs SIGXFSZ ignored
# (then write() fails, and nginx goes on); Python ignores it, and `restore_signals=False` leaves it so.
LOG_LIMIT = 128 << 20
PATIENCE = 20.0


def test(settings: GateSettings, config: Path) -> str:
    """What `nginx -t` has against a config file; "" = nothing. Raises GateError."""
    gate = owner.of(settings.user)
    code, said = run([str(settings.binary), *_arguments(settings, config), "-t"], gate)
    return "" if code == 0 else complaints(said) or f"nginx -t ended with {code}"


def line(settings: GateSettings) -> list[str]:
    """What starts the gate: the config on disk, logs bounded."""
    argv = [str(settings.binary), *_arguments(settings, settings.config)]
    return ["prlimit", f"--fsize={LOG_LIMIT}", *argv]


def run(argv: Sequence[str], by: owner.Owner | None = None) -> tuple[int, str]:
    """Exit status and output; 127 = it could not be run. `by` None: as ourselves."""
    # A file, not a pipe: a daemon that keeps its end of a pipe would hold us. In memory, so that a
    # file system that is full keeps nobody from going back.
    with os.fdopen(os.memfd_create("relctl-nginx"), "w+b") as said:
        try:
            code = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
                restore_signals=False,
                timeout=PATIENCE,
                check=False,
                **credentials(by),
            ).returncode
        except (OSError, subprocess.SubprocessError) as error:
            return 127, f"cannot run {argv[0]}: {error}"
        said.seek(0)
        return code, said.read().decode(errors="replace")


def credentials(gate: owner.Owner | None) -> dict[str, Any]:
    """The arguments of `subprocess` that make a child the gate's user."""
    if gate is None or gate.name is None:
        return {}
    return {"user": gate.uid, "group": gate.gid, "extra_groups": gate.groups}


def complaints(text: str) -> str:
    """The lines of nginx that say why, in one."""
    lines = [one.strip() for one in text.splitlines()]
    bad = [one.partition("] ")[2] or one for one in lines if _is_bad(one)]
    return "; ".join(dict.fromkeys(bad or [one for one in lines if one]))[:600]


def log_size(settings: GateSettings) -> int:
    """Bytes of the error log."""
    try:
        return os.lstat(settings.error_log).st_size
    except OSError:
        return 0


def logged(settings: GateSettings, mark: int) -> str:
    """What the gate complained of in its error log behind the first `mark` bytes; "" = nothing."""
    try:
        said = owner.text(settings.error_log, owner.of(settings.user).uid, mark)
    except (OSError, GateError):
        return ""
    bad = [one for one in said.splitlines() if _is_bad(one)]
    return complaints("\n".join(bad)) if bad else ""


def _is_bad(one: str) -> bool:
    return "[emerg]" in one or "[alert]" in one


def _arguments(settings: GateSettings, config: Path) -> list[str]:
    return ["-p", str(settings.place), "-e", str(settings.error_log), "-c", str(config)]
