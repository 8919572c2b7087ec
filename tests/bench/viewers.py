"""What those who watch cost reld: a `relctl watch` and a dashboard, while a rollout runs under load."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Iterator

from tests.bench.light import cpu
from tests.bench.verdicts import Line
from tests.load.visitors import Visitors
from tests.rig import Rig, fast

RATE = 200.0
SPAN = 8.0
ROUNDS = 4
WATCH = "/v1/events?every=0.25&last=24"
PAGE = "/v1/events?every=1&last=50"
STOPPED = 10
UNTIL_FULL = 25.0
"""Seconds after which their sockets take nothing more."""
MOST = 2.0  # per cent of a core, both together


def measure() -> tuple[Line, ...]:
    slow = fast(steps=[50, 100], step_time="1h", step_max="2h")
    with Rig(rest=slow) as rig:
        rig.live_v1("v2")
        with Visitors(rig.listen, rate=RATE) as visitors:
            assert rig.relctl("switch", "v2", "--no-wait").code == 0
            rig.wait_share(50)
            visitors.wait_for(int(RATE))
            alone, watched, stopped = [], [], []
            for _ in range(ROUNDS):
                alone.append(used(rig))
                with reading(rig, WATCH), reading(rig, PAGE):
                    watched.append(used(rig))
            with contextlib.ExitStack() as stack:
                for _ in range(STOPPED):
                    stack.enter_context(followed(rig, WATCH))
                time.sleep(UNTIL_FULL)
                stopped += [used(rig) for _ in range(2)]
            visitors.end()
    usual = statistics.mean(alone)
    both = statistics.mean(watched) - usual
    dead = (statistics.mean(stopped) - usual) / STOPPED
    return (
        Line(
            f"a watch at 4 Hz and a dashboard, rollout at {RATE:.0f} req/s "
            f"(without them {usual:.1f} %)",
            f"{both:+.2f} % of a core",
            f"≤ {MOST:.0f} %",
            met=both <= MOST,
        ),
        Line(
            f"… a watch that is stopped (one of {STOPPED})",
            f"{dead:+.2f} % of a core",
            "0.1 %",
            met=dead <= 0.1,
        ),
    )


def used(rig: Rig) -> float:
    """Per cent of a core, over some seconds."""
    assert rig.reld is not None
    before, began = cpu(rig.reld.pid), time.monotonic()
    time.sleep(SPAN)
    return 100 * (cpu(rig.reld.pid) - before) / (time.monotonic() - began)


@contextlib.contextmanager
def reading(rig: Rig, target: str) -> Iterator[None]:
    """Somebody who takes all that comes."""
    with followed(rig, target) as connection:

        def read() -> None:
            with contextlib.suppress(OSError):
                while connection.recv(1 << 16):
                    pass

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        yield
        connection.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@contextlib.contextmanager
def followed(rig: Rig, target: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(rig.socket))
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: reld\r\n\r\n".encode())
        yield connection
