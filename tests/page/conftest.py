"""One reld with a release that serves visitors, one Chromium, and where the pictures go."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.load.load import Mix
from tests.page.chromium import Chromium
from tests.rig import LoadInThread, Rig, fast

VIEWER = "games"  # any account that is there and is not the app's
SETTINGS = fast(steps=[25, 60, 100], step_time="120s", step_max="10m", bake="60s", drain_max="1s")
ACCESS = f'[access]\nviewers = ["{VIEWER}"]\n'
VISITORS = Mix(keepalive=12, oneshot=4, http2=0, websockets=0, uploads=0, think=0.1)

Bridge = Callable[..., str]


@pytest.fixture(scope="module")
def pictures() -> Path:
    """`make test-page` names it."""
    given = os.environ.get("RELCTL_PICTURES")
    return Path(given or tempfile.mkdtemp(prefix="relctl-pictures-"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with Chromium() as started:
        yield started


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    """v1 is live, and visitors come all the time; rollouts go on when somebody says so."""
    with Rig(rest=SETTINGS, tables=ACCESS) as made:
        made.live_v1("v2")
        made.release("v3", error_rate=0.6)
        with LoadInThread(made.listen, None, VISITORS):
            yield made


@pytest.fixture(scope="module")
def bridge(rig: Rig) -> Iterator[Bridge]:
    """`ssh -L`, as root or as another user: gives the address of the page."""
    script = (Path(__file__).parent / "bridge.py").read_text()
    with contextlib.ExitStack() as stack:

        def opened(user: str | None = None) -> str:
            rig.socket.chmod(0o666)  # who may do what is in the config
            command = ["/usr/bin/python3", "-c", script, str(rig.socket)]
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, user=user, extra_groups=()
            )
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
            assert process.stdout is not None
            with process.stdout:
                return f"http://127.0.0.1:{process.stdout.readline().strip()}/"

        yield opened


@pytest.fixture(scope="module")
def address(bridge: Bridge) -> str:
    return bridge()
