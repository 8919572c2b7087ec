"""A real reld with a real gate and real releases, in a directory of its own, driven through relctl.

    with Rig() as rig:
        rig.release("v1")
        rig.relctl("switch", "v1")
        rig.kill_reld(); rig.start_reld()

Everything that was started is ended by pid at the end; what reld left running is found by the marker
in its environment and is part of `leftovers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.load.load import Load, Mix, Summary
from tests.ports import Ports

ROOT = Path(__file__).resolve().parent.parent
KNOBS = ROOT / "tests" / "apps" / "knobs.py"
TMPFS = Path("/dev/shm")


def fast(**settings: Any) -> str:
    """A `[rollout]` table that takes a second or two; `settings` replace what it says."""
    values: dict[str, Any] = {
        "steps": [5, 50, 100],
        "step_time": "300ms",
        "step_requests": 0,
        "bake": "500ms",
        "drain": "300ms",
        "drain_max": "5s",
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in (values | settings).items()]
    return "\n".join(["[rollout]", *lines, ""])


FAST = fast()
HELD = fast(steps=[5, 95, 100], step_time="60s", bake="60s", step_max="10m")
"""Goes on only when somebody says so: relctl promote."""


@dataclass(frozen=True)
class Answer:
    """How a relctl command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The last object on stdout."""
        return json.loads(self.out.strip().splitlines()[-1])

    @property
    def text(self) -> str:
        return self.out + self.err


class Rig:
    """One app, one gate, one reld."""

    def __init__(
        self,
        *,
        app: str = "",
        readiness: str = 'path = "/ready"\ndeadline = "10s"\n',
        rest: str = FAST,
        gate: str = "",
        command: str = '["/usr/bin/python3", "knobs.py", "--port", "{port}"]',
        instances: int = 1,
        tables: str = "",
        user: str = "nobody",
        hook: str = "",
        variables: dict[str, str] | None = None,
        runtime: Path | None = None,
    ) -> None:
        """`hook`: Python that reld runs before anything else. `variables`: of its environment."""
        self.home = Path(tempfile.mkdtemp(prefix="relctl-rig-"))
        self.home.chmod(0o755)
        on_tmpfs = TMPFS if TMPFS.is_dir() else None
        self.runtime = runtime or Path(tempfile.mkdtemp(prefix="relctl-run-", dir=on_tmpfs))
        self.runtime.mkdir(exist_ok=True)
        self.runtime.chmod(0o755)
        self.releases = self.home / "releases"
        self.releases.mkdir()
        self.state = self.home / "state"
        self._ports = Ports()
        block = self._ports.first
        self.listen, self.status_port = block, block + 1
        account = f'user = "{user}"\n' if os.geteuid() == 0 else ""
        self.config = self.home / "web.toml"
        self.config.write_text(
            f"[app]\ncommand = {command}\n"
            f'directory = "{self.releases}/{{release}}"\n{account}instances = {instances}\n{app}\n'
            f'[ports]\nrange = "{block + 2}-{block + 41}"\n'
            f"[readiness]\n{readiness}\n"
            f'[gate]\nlisten = "127.0.0.1:{self.listen}"\n'
            f'status = "127.0.0.1:{self.status_port}"\n{gate}\n{rest}\n{tables}'
        )
        self.reld: subprocess.Popen[bytes] | None = None
        self._variables = variables or {}
        if hook:
            (self.home / "hook").mkdir()
            (self.home / "hook" / "sitecustomize.py").write_text(hook)

    @property
    def socket(self) -> Path:
        return self.runtime / "control.sock"

    def __enter__(self) -> Self:
        self.start_reld()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        log = self.reld_log()
        if error is not None:
            sys.stderr.write(log[-6000:])
        self.close()
        assert error is not None or "Traceback" not in log, log

    def release(self, name: str, **knobs: Any) -> Path:
        """Put a release of the app with knobs in place."""
        directory = self.releases / name
        directory.mkdir()
        shutil.copy(KNOBS, directory / "knobs.py")
        (directory / "knobs.json").write_text(json.dumps(knobs))
        return directory

    @property
    def command(self) -> list[str]:
        """What starts reld."""
        directories = ["--state-dir", str(self.state), "--runtime-dir", str(self.runtime)]
        return [sys.executable, "-m", "reld", str(self.config), *directories]

    def _environment(self) -> dict[str, str]:
        given = environment() | self._variables
        return given | {"PYTHONPATH": f"{self.home / 'hook'}:{given['PYTHONPATH']}"}

    def start_reld(self, failpoint: str = "") -> None:
        """Returns once it answers. `failpoint`: see `reld.failpoints`."""
        self.begin_reld(failpoint)
        wait_for(self._answers, 30, "reld does not answer")

    def begin_reld(self, failpoint: str = "") -> None:
        """Returns at once: it may be that it never answers, because of a failpoint."""
        with (self.home / "reld.log").open("ab") as log:
            self.reld = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment() | ({"RELD_FAILPOINT": failpoint} if failpoint else {}),
                start_new_session=True,
            )

    def _answers(self) -> bool:
        assert self.reld is not None
        if self.reld.poll() is not None:
            raise AssertionError(f"reld ended: {self.reld_log()}")
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(self.socket))
        except OSError:
            return False
        return True

    def kill_reld(self, number: int = signal.SIGKILL) -> None:
        assert self.reld is not None
        self.reld.send_signal(number)
        self.reld.wait(20)

    def reld_log(self) -> str:
        path = self.home / "reld.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def relctl(self, *words: str, timeout: float = 60) -> Answer:
        done = self.relctl_begun(*words)
        out, err = done.communicate(timeout=timeout)
        return Answer(done.returncode, out, err)

    def relctl_begun(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "relctl", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment() | {"RELCTL_SOCKET": str(self.socket)},
        )

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request straight to reld's socket, for what relctl would be too slow or too careful."""
        connection = _OnSocket(str(self.socket))
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        code, told = self.ask("GET", "/v1/status")
        assert code == 200, told
        return dict(told)

    def receipt(self, number: int) -> dict[str, Any]:
        code, told = self.ask("GET", f"/v1/rollouts/{number}")
        assert code == 200, told
        return dict(told)

    def live_v1(self, *others: str, **knobs: Any) -> None:
        """v1 with these knobs is live; the others are there, without any."""
        self.release("v1", **knobs)
        for name in others:
            self.release(name)
        answer = self.relctl("switch", "v1")
        assert answer.code == 0, answer.text

    def edit(self, old: str, new: str) -> None:
        """Change the config file; reld reads it at the next rollout."""
        text = self.config.read_text()
        assert old in text, text
        self.config.write_text(text.replace(old, new))

    def wait_status(
        self, condition: Callable[[dict[str, Any]], Any], within: float = 30
    ) -> dict[str, Any]:
        """The first status for which it is true."""
        seen: dict[str, Any] = {}

        def holds() -> bool:
            seen.clear()
            seen.update(self.status())
            return bool(condition(seen))

        wait_for(holds, within, lambda: f"never so: {json.dumps(seen)}\n{self.reld_log()[-3000:]}")
        return seen

    def wait_phase(self, phase: str, within: float = 30) -> dict[str, Any]:
        return self.wait_status(lambda s: s["rollout"] and s["rollout"]["phase"] == phase, within)

    def wait_share(self, percent: int, within: float = 30) -> dict[str, Any]:
        return self.wait_status(
            lambda s: s["rollout"] and s["rollout"]["percent"] == percent, within
        )

    def wait_idle(self, within: float = 30) -> dict[str, Any]:
        return self.wait_status(lambda s: s["rollout"] is None, within)

    def get(self, path: str = "/") -> tuple[int, bytes]:
        """One request straight to the gate."""
        connection = http.client.HTTPConnection("127.0.0.1", self.listen, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def pids(self, color: str | None = None) -> list[int]:
        """Pids of the instances of one slot, or of both."""
        slots = self.status()["slots"]
        chosen = [slots[color]] if color else list(slots.values())
        return [i["pid"] for s in chosen for i in s["instances"] if i["pid"]]

    def leftovers(self) -> list[int]:
        """Processes that run releases of this rig."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if os.readlink(entry / "cwd").startswith(str(self.releases)):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    @property
    def request_log(self) -> Path:
        return self.runtime / "gate/requests.log"

    def logged(self) -> list[str]:
        """Every line that the gate has written, also into logs that `rotate_log` put away."""
        paths = [*sorted(self.runtime.glob("kept-*.log")), self.request_log]
        return "".join(path.read_text() for path in paths).splitlines()

    def rotate_log(self) -> None:
        """As reld does it, only that nobody has to wait for 16 MB."""
        kept = len(list(self.runtime.glob("kept-*.log")))
        os.link(self.request_log, self.runtime / f"kept-{kept}.log")
        os.rename(self.request_log, self.request_log.with_name("requests.log.old"))
        self.reopen_log()

    def reopen_log(self) -> None:
        """The gate opens its log anew. Returns when it is there."""
        gate = self.gate_pid()
        assert gate is not None
        os.kill(gate, signal.SIGUSR1)
        wait_for(self.request_log.exists, 5, "the gate does not open its log")

    def gate_pid(self) -> int | None:
        try:
            return int((self.runtime / "gate/gate.pid").read_text())
        except (OSError, ValueError):
            return None

    def _masters(self) -> list[int]:
        """The gate, also when its pid file was removed."""
        found = [self.gate_pid()]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    title = (entry / "cmdline").read_bytes()
                    if title.startswith(b"nginx: master") and f"{self.state}/".encode() in title:
                        found.append(int(entry.name))
        return sorted({pid for pid in found if pid is not None})

    def close(self) -> None:
        if self.reld is not None and self.reld.poll() is None:
            self.reld.terminate()
            try:
                self.reld.wait(20)
            except subprocess.TimeoutExpired:
                self.reld.kill()
                self.reld.wait()
        for gate in self._masters():
            for number in (signal.SIGCONT, signal.SIGTERM):
                try:
                    os.kill(gate, number)
                except ProcessLookupError:
                    break
            wait_for(lambda pid=gate: not runs(pid), 10, "the gate does not end")
        for pid in self.leftovers():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._ports.close()
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.runtime, ignore_errors=True)


def wait_for(condition: Callable[[], bool], within: float, words: str | Callable[[], str]) -> None:
    """Ask often until it is so; an AssertionError with the words when it never is."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(words if isinstance(words, str) else words())
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """A zombie, which its new parent has not looked after yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Told:
    """What reld tells from now on, read in a thread: `with Told(rig) as told: …; told.when("…")`."""

    def __init__(self, rig: Rig) -> None:
        self.events: list[dict[str, Any]] = []
        self._connection = _OnSocket(str(rig.socket))
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._connection.request("GET", "/v1/events")
        self._socket = self._connection.sock
        self._socket.settimeout(None)
        self._answer = self._connection.getresponse()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._connection.close()

    def _read(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            while line := self._answer.readline():
                self.events.append(json.loads(line))

    @property
    def texts(self) -> list[str]:
        """In order; live lines are left out."""
        return [e["text"] for e in self.events if e.get("text") and e["event"] != "progress"]

    def when(self, words: str) -> float:
        """Wall clock, seconds, of the first event whose text has these words."""
        for event in self.events:
            if words in event.get("text", ""):
                return dt.datetime.fromisoformat(event["time"]).timestamp()
        raise AssertionError(f"nothing with {words!r} was told: {self.texts}")


class _OnSocket(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self._path)


class LoadInThread:
    """The clients of `tests.load`, in a thread of their own: the test itself may wait for things.

    with LoadInThread(port, tls_port, mix) as load: load.wait_for(50); …; load.stop()
    """

    def __init__(self, port: int, tls_port: int | None, mix: Mix, kind: type[Load] = Load) -> None:
        self._load = kind("127.0.0.1", port, tls_port=tls_port, mix=mix)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._load.__aenter__())
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def wait_for(self, requests: int) -> None:
        """Until that many more requests were answered."""
        self._do(self._load.wait_for(requests))

    def stop(self) -> Summary:
        return self._do(self._load.stop())

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)


def environment() -> dict[str, str]:
    path = f"{ROOT / 'daemon'}:{ROOT / 'ctl'}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RELCTL_", "PYTHON"))}
    return kept | {"PYTHONPATH": path}
