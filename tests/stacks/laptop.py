"""Where the app is written: a directory on the host, and an `ssh vm` that leads into the box."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.vm.box import Box
from tests.vm.ssh import PLAIN

PATIENCE = 300.0  # seconds for all that a block of a how-to types
_SSH = """\
#!/bin/sh
# vm is the box; everything else of an ssh command line is as it is.
shift
exec {real} {command} "$@"
"""


class Failed(AssertionError):
    """What was typed ended with another exit status than the how-to promises."""


class Laptop:
    """The tree of the app, and a shell in it."""

    def __init__(self, place: Path, app: Path, box: Box, user: str) -> None:
        self.tree = place / "app"
        shutil.copytree(app, self.tree, ignore=shutil.ignore_patterns("__pycache__"))
        programs = place / "bin"
        programs.mkdir()
        box.ssh("true", user=user)  # from here on its key is known there
        alone = ("-o", "ControlPath=none", "-T")
        _, *words = box._ssh.command("", user=user, key=PLAIN, options=alone)
        (programs / "ssh").write_text(
            _SSH.format(real=shutil.which("ssh"), command=shlex.join(words))
        )
        (programs / "ssh").chmod(0o755)
        self._path = f"{programs}:/usr/bin:/bin"

    def type(
        self, script: str, *, ends: int = 0, meanwhile: Callable[[], None] | None = None
    ) -> str:
        """What was said on both streams. `meanwhile` is done while it runs.

        Raises Failed when it ends with another status than `ends`.
        """
        with subprocess.Popen(
            ["/bin/bash", "-ec", script],
            cwd=self.tree, env={**os.environ, "PATH": self._path, "TERM": "dumb"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        ) as shell:  # fmt: skip
            try:
                if meanwhile is not None:
                    meanwhile()
                said, _ = shell.communicate(timeout=PATIENCE)
            except BaseException as error:
                os.killpg(shell.pid, signal.SIGKILL)  # with its ssh and tar
                said = shell.communicate()[0]
                raise Failed(f"{script}\n{error!r}; until then:\n{said}") from error
        if shell.returncode != ends:
            raise Failed(f"{script}\nended with {shell.returncode}, not {ends}:\n{said}")
        return said

    def write(self, name: str, text: str) -> None:
        file = self.tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def append(self, name: str, text: str) -> None:
        with (self.tree / name).open("a") as file:
            file.write("\n" + text)

    def patch(self, change: str) -> None:
        subprocess.run(
            ["patch", "--strip=1", "--no-backup-if-mismatch"],
            cwd=self.tree, input=change, text=True, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def edit(self, name: str, old: str, new: str) -> None:
        """One change of a test's own."""
        text = (self.tree / name).read_text()
        assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times"
        (self.tree / name).write_text(text.replace(old, new))
