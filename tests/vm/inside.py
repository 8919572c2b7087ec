"""The project's own tests inside a box: as its root, beside a systemd that is PID 1, with Debian's Python."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from tests.vm.box import Box, CommandFailed

TREE = Path(__file__).parents[2]
PARTS = ("daemon", "ctl", "tests")
PLACE = "/srv/tree"
# pyproject's options for an older pytest and pytest-asyncio, which know some of them not.
_OPTIONS = """\
[pytest]
addopts = --import-mode=importlib --strict-markers -ra -p no:cacheprovider
pythonpath = daemon ctl .
asyncio_mode = auto
filterwarnings =
    error
timeout = 60
"""


def run_pytest(box: Box, *arguments: str, seconds: float = 300) -> str:
    """What `pytest ARGUMENTS` of this tree said in a box from `roots.tester`.

    Raises CommandFailed with it when a test failed, or when there was none.
    """
    box.write(f"{PLACE}.tar", packed(PARTS))
    box.sh(f"rm -rf {PLACE} && mkdir {PLACE} && tar -C {PLACE} -xf {PLACE}.tar")
    box.write(f"{PLACE}/pytest.ini", _OPTIONS)
    line = f"cd {PLACE} && PYTHONDONTWRITEBYTECODE=1 exec python3 -m pytest -q "
    # Some tests leave a process behind that has no ear for SIGTERM: nobody waits for it.
    running = box.start(
        "--property=KillSignal=SIGKILL", "/bin/bash", "-c", line + " ".join(arguments)
    )
    said = "".join(running.communicate(timeout=seconds))
    if running.returncode != 0:
        raise CommandFailed(f"pytest {' '.join(arguments)}: {running.returncode}\n{said}")
    return said


def packed(names: Iterable[str]) -> bytes:
    """A tar of these parts of the tree, without what Python made of them."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in names:
            tar.add(TREE / name, name, filter=_source)
    return made.getvalue()


def _source(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in member.name else member
