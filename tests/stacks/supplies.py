"""What a box without a way out is given instead: layers under its root, made once and kept.

A how-to's own command finds it there by itself: `pip install -r requirements.txt` asks /etc/pip.conf.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.vm import roots

APPS = Path(__file__).parent / "apps"
_PYTHON = {"bookworm": "3.11", "trixie": "3.13", "noble": "3.12"}
_LIBC = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
_PIP_CONF = """\
[global]
no-index = true
find-links = /srv/wheels
disable-pip-version-check = true
[install]
no-compile = true
"""


def wheels(app: str, suite: str) -> Path:
    """A layer with the wheels that the app's requirements.txt locks, for the suite's Python."""
    locked = APPS / app / "requirements.txt"

    def make(place: Path) -> None:
        machine = platform.machine()
        subprocess.run(
            [
                sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download",
                "--require-hashes", "--only-binary=:all:", f"--requirement={locked}",
                f"--dest={place / 'srv/wheels'}", f"--python-version={_PYTHON[suite]}",
                *(f"--platform={libc}_{machine}" for libc in _LIBC),
            ],
            check=True,
        )  # fmt: skip
        (place / "etc").mkdir()
        (place / "etc/pip.conf").write_text(_PIP_CONF)

    return kept(f"wheels-{app}-{suite}", locked.read_bytes() + _PIP_CONF.encode(), make)


def kept(name: str, recipe: bytes, make: Callable[[Path], None]) -> Path:
    """The directory that `make` fills, from the cache where this recipe made it before."""
    mark = hashlib.sha256(recipe).hexdigest()[:12]
    layer = roots.cache() / f"{name}-{mark}"
    layer.parent.mkdir(parents=True, exist_ok=True)
    with (layer.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not layer.exists():
            staged = layer.with_suffix(".making")
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir(mode=0o755)
            make(staged)
            staged.rename(layer)
        os.utime(layer)
        _forget_others(name, layer)
    return layer


def _forget_others(name: str, layer: Path) -> None:
    """Of older recipes, a week after they were last wanted."""
    for other in layer.parent.glob(f"{name}-*"):
        if other != layer and other.stat().st_mtime < time.time() - 7 * 86400:
            with contextlib.suppress(OSError):
                shutil.rmtree(other)
