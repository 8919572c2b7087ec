"""One contract, two launchers: systemd's is tried wherever systemd is PID 1 (`make test-vm` sees to it)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reld.processes.launch import DIRECT
from reld.processes.spec import Launcher
from reld.processes.units import Units

BOOTED = Path("/run/systemd/system").is_dir() and os.geteuid() == 0


@pytest.fixture(params=["direct", "systemd"] if BOOTED else ["direct"])
def launcher(request: pytest.FixtureRequest, tmp_path: Path) -> Launcher:
    return Units("contract", tmp_path / "launch") if request.param == "systemd" else DIRECT
