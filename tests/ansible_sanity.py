"""`ansible-test sanity` of the collection: `python -m tests.ansible_sanity build/ansible 2.14.18 2.19.4`.

Each ansible-core gets a virtual environment of its own below the directory, and ansible-test makes one
more for each of its linters there. Nothing is left anywhere else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.rig import ROOT

SOURCE = ROOT / "packaging" / "ansible"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
GET_PIP = """\
# In place of the script that ansible-test would download: Python's own pip fetches the one that is wanted.
import ensurepip, os, subprocess, sys
given = dict(os.environ)  # ensurepip switches pip's configuration off
ensurepip.bootstrap()
words = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", "-q", *words], env=given))
"""
PIPS = ("21_3_1", "24_2")  # the versions that ansible-test of 2.14 and of 2.19 asks for
NOISE = ("Running sanity test", "Installing requirements", "WARNING: ", "Using cached pip")


def main(words: list[str]) -> int:
    place = Path(words[0]).resolve()
    home = _home(place)
    copy = _copy(place)
    return max(_sane(place, home, copy, version) for version in words[1:])


def _home(place: Path) -> Path:
    """Where ansible-test keeps its environments; pip is configured there as for who calls."""
    home = place / "home"
    (home / ".config").mkdir(parents=True, exist_ok=True)
    for name in (".pip", ".config/pip"):
        if (Path.home() / name).is_dir() and not (home / name).exists():
            (home / name).symlink_to(Path.home() / name)
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in PIPS:
        (cache / f"get_pip_{version}.py").write_text(GET_PIP)
    return home


def _copy(place: Path) -> Path:
    """Below ansible_collections, and outside the repository's git: that ignores build."""
    copy = place / "ansible_collections" / "relctl" / "relctl"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.tar.gz"))
    return copy


def _sane(place: Path, home: Path, copy: Path, version: str) -> int:
    core = place / f"core-{version}-{PYTHON}"
    if not (core / "bin" / "ansible-test").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", core], check=True)
        pip = [core / "bin" / "pip", "--disable-pip-version-check", "-q", "install"]
        subprocess.run([*pip, f"ansible-core=={version}"], check=True)
    asked = ["sanity", "--local", "--python", PYTHON, "--color", "no"]
    done = subprocess.run(
        [core / "bin" / "ansible-test", *asked],
        cwd=copy,
        env={
            **os.environ,
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{core / 'bin'}:{os.environ['PATH']}",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith(NOISE)]
    ran = done.stdout.count("Running sanity test")
    if done.returncode:
        print("\n".join(lines))
    print(f"ansible-core {version}: {'FAILED' if done.returncode else 'fine'}, {ran} tests")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
