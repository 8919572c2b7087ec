"""Clients in a process of their own: a line on stdin is a question, the end of stdin ends them, and the
last line on stdout is all that they saw.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


class Apart:
    """`module` and its arguments are run for as long as the block lasts; it is never left behind."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._last: Any = None

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def asked(self) -> Any:
        """What it says now."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def last(self) -> Any:
        """Ends it; what it says after its last answer, also when it is asked again."""
        if self._last is None:
            out, _ = self.process.communicate(timeout=60)
            if self.process.returncode != 0:
                raise RuntimeError(f"the load process ended with {self.process.returncode}")
            self._last = json.loads(out.splitlines()[-1])
        return self._last
