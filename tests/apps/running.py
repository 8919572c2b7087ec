"""Runs knobs.py, gunicorn or uvicorn as a child, for tests that need an app and no reld."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.site.site import free_ports, wait_until

HERE = Path(__file__).parent
KNOBS_PY = HERE / "knobs.py"


class App:
    """A running app: `port`, `process`, `get`, `post`."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.process = process

    def get(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        """The JSON answer; raises OSError (also for statuses from 400 on)."""
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, data=body, timeout=5) as answer:
            return json.loads(answer.read())

    def turn(self, **knobs: Any) -> None:
        """Changes knobs while it runs (knobs.py only)."""
        self.get("/knobs", json.dumps(knobs).encode())

    def answers(self) -> bool:
        """Raises RuntimeError when the process ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the app ended with {self.process.returncode}")
        try:
            self.get("/live")
        except OSError:
            return False
        return True


@contextlib.contextmanager
def knobs_app(release: str = "v1", port: int | None = None, **knobs: Any) -> Iterator[App]:
    """knobs.py with these knobs, once it answers; killed at the end."""
    port = port or free_ports(1)[0]
    with started([sys.executable, str(KNOBS_PY), "--port", str(port)], port, release, knobs) as app:
        yield app


@contextlib.contextmanager
def gunicorn_app(release: str = "v1", port: int | None = None, workers: int = 1) -> Iterator[App]:
    """gunicorn with threads, so that it keeps connections alive as in production."""
    port = port or free_ports(1)[0]
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "8"]
    command += ["--workers", str(workers), "--log-level", "warning", "--no-control-socket"]
    with started([*command, "wsgi:application"], port, release, {}) as app:
        yield app


@contextlib.contextmanager
def uvicorn_app(release: str = "v1", port: int | None = None) -> Iterator[App]:
    port = port or free_ports(1)[0]
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--log-level", "warning", "--no-access-log"]
    with started([*command, "asgi:application"], port, release, {}) as app:
        yield app


@contextlib.contextmanager
def started(command: list[str], port: int, release: str, knobs: dict[str, Any]) -> Iterator[App]:
    environment = {
        **os.environ,
        "PORT": str(port),
        "RELCTL_RELEASE": release,
        "RELCTL_SLOT": "blue",
        "KNOBS": json.dumps(knobs),
    }
    process = subprocess.Popen(
        command, env=environment, cwd=HERE, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    app = App(port, process)
    try:
        wait_until(app.answers, f"the app {release} answers")
        yield app
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
