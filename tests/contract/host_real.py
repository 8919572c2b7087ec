"""The stage of the real machine: real processes, a real gate, lanes on tmpfs."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from reld import config_file
from reld.clock import boottime
from reld.core import events as ev
from reld.core.machine import first_state
from reld.core.model import State
from reld.daemon import Places, gate_settings
from reld.engine import Engine
from reld.host.checkpoint import Checkpoints
from reld.host.instances import Instances
from reld.host.machine import Machine
from reld.host.probing import Probing
from reld.host.releases import Releases
from reld.host.roster import Roster
from reld.host.sensor import Sensor
from reld.host.snapshots import Snapshots
from reld.host.sockets import Sockets
from reld.host.traffic import Traffic
from reld.host.vitals import Vitals
from reld.host.words import FileWords
from reld.leases import Leases
from reld.nginx import lanes
from reld.nginx.gate import Gate
from reld.processes.environment import MARKER
from reld.processes.identity import boot_id
from reld.processes.launch import DIRECT
from reld.saver import StateSaver
from reld.store.database import Store
from tests.contract.gate_support import end
from tests.contract.host_stage import Between, Stage
from tests.ports import Ports
from tests.rig import KNOBS, TMPFS, runs

CONFIG = """
[app]
command = ["/usr/bin/python3", "main.py", "--port", "{{port}}"]
directory = "{home}/releases/{{release}}"
{user}
[ports]
range = "{first}-{last}"
[readiness]
path = "/ready"
interval = "50ms"
[liveness]
path = "/live"
interval = "300ms"
[[smoke]]
name = "login"
path = "/login"
[hooks]
before_start = ["/usr/bin/test", "!", "-e", "broken"]
[gate]
listen = "127.0.0.1:{listen}"
status = "127.0.0.1:{status}"
"""

COUNTS = """
import os, runpy, signal
set_signal = signal.signal

def note(number, frame):
    os.write(signals, b"x")

signals = os.open("signals", os.O_WRONLY | os.O_APPEND)
set_signal(signal.SIGTERM, note)
signal.signal = lambda n, how: None if n == signal.SIGTERM else set_signal(n, how)
runpy.run_path("knobs.py", run_name="__main__")
"""
"""A release that notes each SIGTERM and goes on."""


class Real(Stage):
    """Put together as reld does it, in directories of its own."""

    MOST = 30.0

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="relctl-host-"))
        on_tmpfs = TMPFS if TMPFS.is_dir() else None
        self.runtime = Path(tempfile.mkdtemp(prefix="relctl-host-", dir=on_tmpfs))
        for path in (self.home, self.runtime):
            path.chmod(0o755)
        for name in ("releases", "state", "state/logs"):
            (self.home / name).mkdir()
        self._ports = Ports()
        self.runner = asyncio.Runner()
        self.tasks: set[asyncio.Task[None]] = set()
        self.visitor: socket.socket | None = None
        try:
            self.runner.run(self._open())
        except BaseException:
            self.runner.close()
            self._remove()
            raise

    async def _open(self) -> None:
        first = self._ports.first
        path = self.home / "web.toml"
        path.write_text(
            CONFIG.format(
                home=self.home,
                user='user = "nobody"' if os.geteuid() == 0 else "",
                first=first + 2,
                last=first + 41,
                listen=first,
                status=first + 1,
            )
        )
        path.chmod(0o644)
        config = config_file.load(path, uid=os.geteuid(), neighbours=())
        places = Places(self.home / "state", self.runtime)
        self.listen, self.status = first, first + 1
        self.store = await Store.open(places.database)
        self.gate = Gate(gate_settings(config, places))
        snapshots = Snapshots(self.store, config)

        def state() -> State:
            return self.engine.state

        roster, words = Roster(state), FileWords(places.logs)
        leases = Leases(places.state, config.name)
        sockets = Sockets(self.runtime, self.gate)
        instances = Instances(roster, snapshots, places.logs, DIRECT, words, leases, sockets)
        probing = Probing(roster, snapshots, DIRECT, words, sockets)
        sensor = Sensor(state, self.gate, Checkpoints(self.runtime), Vitals(state, roster))
        releases = Releases(state, snapshots, instances, probing, DIRECT)
        machine = Machine(instances, probing, releases, Traffic(state, self.gate), sensor)
        saver = StateSaver(
            self.store, places.logs, {}, sensor.rows_of, sensor.counts_of, sensor.turned_away
        )
        self.between = Between(machine)
        self.boot = boot_id()
        nothing = first_state(config.name, self.boot, None)
        self.engine = Engine(nothing, self.between, saver, boottime)
        self.running = asyncio.create_task(self.engine.run())

    def until(self, condition: Callable[[], Any], words: str = "") -> None:
        self.runner.run(self._until(condition, words))

    async def _until(self, condition: Callable[[], Any], words: str) -> None:
        limit = time.monotonic() + self.MOST
        while not condition():
            if self.running.done():
                self.running.result()
            assert time.monotonic() < limit, f"never so: {words}: {self.state}"
            await asyncio.sleep(0.01)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.runner.get_loop().create_task(coroutine)
        self.tasks.add(task)
        return task

    def install(self, release: str, faults: frozenset[str]) -> None:
        if "missing" in faults:
            return
        directory = self.home / "releases" / release
        directory.mkdir()
        shutil.copy(KNOBS, directory / "knobs.py")
        stubborn = "stubborn" in faults
        (directory / "main.py").write_text(COUNTS if stubborn else KNOBS.read_text())
        (directory / "signals").touch()
        (directory / "signals").chmod(0o666)
        knobs = {
            "never_ready": "never_ready" in faults,
            "ignore_sigterm": "stubborn" in faults or "family" in faults,
            "children": 2 if "family" in faults else 0,
            "login_fails": "fails_smoke" in faults,
        }
        (directory / "knobs.json").write_text(json.dumps(knobs))
        if "fails_hook" in faults:
            (directory / "broken").touch()

    def crash(self, number: int) -> None:
        pid = self._pid(number)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def sicken(self, number: int) -> None:
        self._turn(number, never_ready=True, unlive_after=0.0)

    def mend(self, number: int) -> None:
        self._turn(number, never_ready=False, unlive_after=None)

    def _turn(self, number: int, **knobs: Any) -> None:
        def turned() -> bool:
            address = self.instance(number).address
            return _ask(address, "/knobs", json.dumps(knobs)) is not None

        self.until(turned, "the app does not listen")

    def refuse_reloads(self) -> None:
        self.gate.settings.staged.mkdir()  # where a file has to be written first

    def visit(self) -> None:
        self.visitor = socket.create_connection(("127.0.0.1", self.listen), 10)
        self.visitor.sendall(b"GET /sse HTTP/1.1\r\nHost: a\r\n\r\n")
        seen = b""
        while b"data:" not in seen:
            more = self.visitor.recv(4096)
            assert more, seen
            seen += more

    def leave(self) -> None:
        assert self.visitor is not None
        self.visitor.close()
        self.visitor = None

    def close(self) -> None:
        try:
            self.runner.run(self._close())
        finally:
            self.runner.close()
            self._remove()

    async def _close(self) -> None:
        tasks = [self.running, *self.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.visitor is not None:
            self.visitor.close()
        # A thread may be starting the gate at this moment; nobody can cancel that.
        await asyncio.get_running_loop().shutdown_default_executor()
        await end(self.gate.settings)
        await self.store.close()

    def _remove(self) -> None:
        ours = [r.event.identity.pid for r in self._spawned()]
        for pid in {*ours, *self._marked("")}:
            with contextlib.suppress(ProcessLookupError):
                if runs(pid):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._ports.close()
        shutil.rmtree(self.home)
        shutil.rmtree(self.runtime)

    def _spawned(self) -> list[Any]:
        return self.between.reports(ev.Spawned) if hasattr(self, "between") else []

    def now(self) -> float:
        return boottime()

    def alive(self, number: int) -> bool:
        pid = self._pid(number)
        return (pid is not None and runs(pid)) or bool(self._marked(f".{number}."))

    def _pid(self, number: int) -> int | None:
        found = [r.event.identity.pid for r in self._spawned() if r.event.number == number]
        return found[-1] if found else None

    def _marked(self, number: str) -> list[int]:
        """Processes that carry the marker of an instance of ours."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "environ").read_bytes().split(b"\0")
                    here = os.readlink(entry / "cwd").startswith(f"{self.home}/")
                    marks = [w for w in words if w.startswith(MARKER.encode() + b"=")]
                    if here and any(number.encode() in mark for mark in marks):
                        found.append(int(entry.name))
        return found

    def answers(self, number: int) -> bool:
        answer = _ask(self.instance(number).address, "/ready")
        return answer is not None and answer[0] == 200

    def signals(self, number: int) -> int:
        slot = next(s for s in self.state.slots if self.instance(number) in s.instances)
        return len((self.home / "releases" / slot.release / "signals").read_bytes())

    def served(self) -> int:
        answer = _ask(f"127.0.0.1:{self.status}", "/")
        assert answer is not None
        return int(answer[2].split()[2])

    def who(self, requests: int = 1) -> set[str]:
        answers = [_ask(f"127.0.0.1:{self.listen}", "/") for _ in range(requests)]
        return {"" if a is None else a[1] for a in answers}

    def share(self, rollout: int) -> int | None:
        return lanes.share(self.runtime, rollout)

    def shielded(self, rollout: int) -> bool:
        return not (lanes.directory(self.runtime, rollout) / "noshield").exists()

    def mirrors(self, rollout: int) -> bool:
        return lanes.shadow_is_on(self.runtime, rollout)


def _ask(address: str, path: str, body: str | None = None) -> tuple[int, str, bytes] | None:
    """Status, release and body of the answer; None: nobody answers."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET" if body is None else "POST", path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("X-Release", ""), answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


# savers
