"""Who keeps instances and the gate running: systemd where it can, reld itself elsewhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from reld.errors import RelctlError
from reld.host.words import FileWords, JournalWords, Words
from reld.processes.launch import DIRECT
from reld.processes.spec import Launcher
from reld.processes.units import Units

CHOICES = ("auto", "systemd", "direct")


@dataclass(frozen=True, slots=True)
class Keeping:
    """`gate_unit`: what systemd calls the gate; None: reld starts it itself. `units`: to be swept."""

    launcher: Launcher
    words: Words
    gate_unit: str | None = None
    units: Units | None = None


def keeping(choice: str, app: str, state: Path, runtime: Path) -> Keeping:
    """`choice` is one of CHOICES.

    Raises:
        RelctlError: systemd is asked for and cannot do it.
    """
    why_not = _why_not(app, state, runtime)
    if choice == "systemd" and why_not:
        raise RelctlError(f"cannot use systemd: {why_not}", "leave --launcher away")
    if choice == "direct" or why_not:
        return Keeping(DIRECT, FileWords(state / "logs"))
    units = Units(app, runtime / "launch")
    return Keeping(units, JournalWords(app), f"relctl-gate@{app}.service", units)


def _why_not(app: str, state: Path, runtime: Path) -> str:
    # As sd_booted(3) tells it.
    if not Path("/run/systemd/system").is_dir():
        return "this machine was not booted with it"
    if os.geteuid() != 0:
        return "reld is not root"
    if (state, runtime) != (Path(f"/var/lib/relctl/{app}"), Path(f"/run/relctl/{app}")):
        return f"the gate's unit knows no other directories than /var/lib/relctl/{app} and /run/relctl/{app}"
    return ""
