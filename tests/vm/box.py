"""A Debian with systemd as PID 1, booted in a second, without KVM: systemd-nspawn over a read-only root.

Works as root on a machine whose own PID 1 is anything. A box has its own processes, mounts, cgroups and
network (a wire to its ssh clients, no way out); all it writes goes into a tmpfs, which survives a reboot
of the box and vanishes with it. Nothing of the host is changed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.vm import leftovers
from tests.vm.leftovers import hierarchies
from tests.vm.network import Network
from tests.vm.ssh import HOST_KEY, PLAIN, Ssh, authorized

BOOT = 60.0  # seconds; two or three are usual
_REBOOT = 133  # nspawn's exit status when the box asked for a reboot
_UNIT = ("systemd-run", "--quiet", "--pipe", "--wait", "--collect")
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
# nspawn gives a box a boot id of its own, by a mount. A unit with a /proc of its own (ProtectProc=) loses
# that under Debian 12's systemd: it would see the host's id, and no reboot ever.
_LOSES_MOUNTS_IN_PROC = "VERSION_CODENAME=bookworm"
_BOOT_ID_COPIED = f"C /run/box/boot_id - - - - {_BOOT_ID}\n"
_BOOT_ID_SEEN = f"[Service]\nBindReadOnlyPaths=/run/box/boot_id:{_BOOT_ID}\n"
_numbers = itertools.count()


class CommandFailed(AssertionError):
    """A command in a box ended with another status than 0."""


class Box:
    """One machine. `layers` are directories or squashfs files, the uppermost first.

    `wired` makes its network of its name; without it, it has a wire of its own (several: lan.Lan).
    """

    def __init__(
        self, layers: list[Path], size: str = "2G", wired: Callable[[str], Network] = Network
    ) -> None:
        if next(_numbers) == 0:
            leftovers.sweep()
        self.name = f"relctl-{secrets.token_hex(4)}"
        self.place = leftovers.PLACES / self.name
        self.root = self.place / "root"
        self.network = wired(self.name)
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._users: set[tuple[str, str]] = set()
        self._started: list[subprocess.Popen[str]] = []
        self.boots = 0
        self._claim = leftovers.claim(self.name)
        try:
            self._make(layers, size)
        except BaseException:
            self.close()
            raise

    def _make(self, layers: list[Path], size: str) -> None:
        self._ssh = Ssh(self.place, self.network)
        written = self.place / "written"
        written.mkdir()
        self._mount("-t", "tmpfs", "-o", f"size={size},mode=755", "box", str(written))
        lower = [str(self._lower(number, layer)) for number, layer in enumerate(layers)]
        self.upper = written / "upper"
        for made in (self.upper, written / "work", self.root):
            made.mkdir()
        options = f"lowerdir={':'.join(lower)},upperdir={self.upper},workdir={written / 'work'}"
        self._mount("-t", "overlay", "-o", options, "box", str(self.root))
        (self.place / "drop-ins").mkdir()
        if _LOSES_MOUNTS_IN_PROC in (self.root / "usr/lib/os-release").read_text():
            (self.root / "etc/tmpfiles.d/box.conf").write_text(_BOOT_ID_COPIED)
            (self.place / "drop-ins/box.conf").write_text(_BOOT_ID_SEEN)
        # Boxes that share a cgroup would share nspawn's `payload` in it.
        for hierarchy in hierarchies():
            (hierarchy / self.name).mkdir()

    def _lower(self, number: int, layer: Path) -> Path:
        if layer.is_dir():
            return layer
        place = self.place / f"lower{number}"
        place.mkdir()
        self._mount("-t", "squashfs", "-o", "loop,ro", str(layer), str(place))
        return place

    def _mount(self, *arguments: str) -> None:
        subprocess.run(["mount", *arguments], check=True)

    def boot(self) -> float:
        """Returns the seconds until systemd says that everything is up (or that something failed)."""
        began = time.monotonic()
        self.boots += 1
        self.network.make()
        console = (self.place / "console.log").open("ab")
        groups = " ".join(str(h / self.name / "cgroup.procs") for h in hierarchies())
        with console:
            self._nspawn = subprocess.Popen(
                [
                    "/bin/sh", "-c", f'for g in {groups}; do echo $$ > $g; done; exec "$@"', "sh",
                    "systemd-nspawn", "--quiet", f"--directory={self.root}",
                    f"--machine={self.name}", "--boot", "--register=no", "--keep-unit",
                    f"--network-namespace-path=/run/netns/{self.network.inside}",
                    "--resolv-conf=off", "--timezone=off",
                    "--link-journal=no", "--console=pipe",
                    f"--bind-ro={self.place}/drop-ins:/run/systemd/system/reld@.service.d",
                    # Any machine has it; reld takes a killed gate's sockets over with it.
                    "--system-call-filter=pidfd_getfd",
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )  # fmt: skip
        self._until_up(began)
        return time.monotonic() - began

    def _until_up(self, began: float) -> None:
        while time.monotonic() < began + BOOT:
            assert self._nspawn is not None
            if self._nspawn.poll() is not None:
                break
            said = self._enter("systemctl", "is-system-running", "--wait")
            if said is not None and said.stdout.strip() in ("running", "degraded"):
                return
            time.sleep(0.05)
        tail = (self.place / "console.log").read_text(errors="replace")[-2000:]
        raise AssertionError(f"{self.name} did not boot within {BOOT:g} s:\n{tail}")

    def reboot(self) -> float:
        """Asks the box's own systemd; seconds until it is up again."""
        began = time.monotonic()
        self.sh("systemctl reboot --no-block")
        self._end(reboot=True)
        self.boot()
        return time.monotonic() - began

    def power_off(self) -> None:
        """In order, as at the end of a day; what was written stays until `close`."""
        if self.init is not None:
            os.kill(self.init, signal.SIGRTMIN + 4)
            self._end(reboot=False)

    def pull_the_plug(self) -> None:
        """Every process is gone at once, nothing is told."""
        if self.init is not None:
            os.kill(self.init, signal.SIGKILL)
            self._end(reboot=False)

    def _end(self, *, reboot: bool) -> None:
        if self._nspawn is None:
            return
        self._ssh.hang_up()
        try:
            status = self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            status = self._nspawn.wait()
        self._nspawn = None
        assert status == _REBOOT or not reboot, f"instead of a reboot, nspawn ended with {status}"

    @property
    def init(self) -> int | None:
        """The pid that the host knows the box's PID 1 by."""
        if self._nspawn is None:
            return None
        pid = self._nspawn.pid
        try:
            return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        except (OSError, IndexError):
            return None

    def run(
        self, *command: str, user: str = "", timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """A command as a transient unit of the box's systemd: a clean environment, no terminal."""
        by = [f"--uid={user}"] if user else []
        ended = self._enter(*_UNIT, *by, "--", *_literally(command), timeout=timeout)
        assert ended is not None, f"{self.name} is down"
        return ended

    def sh(self, line: str, *, user: str = "", timeout: float = 120) -> str:
        """stdout of a shell line. Raises CommandFailed with all that it said."""
        ended = self.run("/bin/bash", "-c", line, user=user, timeout=timeout)
        if ended.returncode != 0:
            raise CommandFailed(f"{line}: {ended.returncode}\n{ended.stdout}{ended.stderr}")
        return ended.stdout

    def start(self, *command: str) -> subprocess.Popen[str]:
        """The same without waiting for its end; `command` may begin with options of systemd-run."""
        assert self.init is not None
        started = subprocess.Popen(
            [*_entering(self.init), *_UNIT, *_literally(command)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._started.append(started)
        return started

    def _enter(
        self, *command: str, timeout: float = 120
    ) -> subprocess.CompletedProcess[str] | None:
        if self.init is None:
            return None
        return subprocess.run(
            [*_entering(self.init), *command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=timeout, check=False,
        )  # fmt: skip

    def put(self, source: Path, target: str, mode: int = 0o644) -> None:
        self.write(target, source.read_bytes(), mode)

    def write(self, target: str, content: str | bytes, mode: int = 0o644) -> None:
        """Written inside: seen from the host, an absolute symlink in the box leads out of it."""
        assert self.init is not None, f"{self.name} is down"
        subprocess.run(
            [*_entering(self.init), "/bin/sh", "-c",
             'mkdir -p "${0%/*}" && cat > "$0" && chmod "$1" "$0"', target, f"{mode:o}"],
            input=content.encode() if isinstance(content, str) else content,
            check=True,
        )  # fmt: skip

    def ssh(
        self,
        line: str = "",
        *,
        user: str = "root",
        key: str = PLAIN,
        sent: str | bytes = "",
        tty: bool = False,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """`ssh box LINE` from outside, by a user's login; 255 is ssh's own way to say that it failed."""
        self._let_in(user, key)
        return self._ssh.run(line, user=user, key=key, sent=sent, tty=tty, timeout=timeout)

    def ssh_start(
        self, line: str = "", *, user: str = "root", key: str = PLAIN, tty: bool = False
    ) -> subprocess.Popen[str]:
        """The same over a connection of its own, without waiting: killed, it is a connection lost."""
        self._let_in(user, key)
        started = self._ssh.start(line, user=user, key=key, tty=tty)
        self._started.append(started)
        return started

    def forward(
        self, there: str, *, user: str = "root", key: str = PLAIN
    ) -> contextlib.AbstractContextManager[Path]:
        """`ssh -L`: the path of a Unix socket here that is `there` (a path, or HOST:PORT) in the box."""
        self._let_in(user, key)
        return self._ssh.forward(there, user=user, key=key)

    def authorize(self, user: str, key: str, options: str) -> None:
        """A key of that name opens the user's account, with what sshd(8) has before a key: restrict, …"""
        if not self._users:
            self._ssh.trust(self.sh(f"cat {HOST_KEY}"))
        line = f"{options} {self._ssh.public(key)}".strip()
        self.sh(authorized(user, line))
        self._users.add((user, key))

    def hang_up(self) -> None:
        """The next ssh is a new login: with groups, limits and an sshd_config that changed meanwhile."""
        self._ssh.hang_up()

    def _let_in(self, user: str, key: str) -> None:
        if (user, key) not in self._users:
            self.authorize(user, key, "")

    def close(self) -> None:
        """Nothing is left: no process, mount, namespace, cgroup or file."""
        with contextlib.suppress(OSError):
            self.pull_the_plug()
        if self._nspawn is not None:
            self._nspawn.kill()
            self._nspawn.wait()
            self._nspawn = None
        for started in self._started:
            with started:  # reaped, its pipes closed
                started.kill()
        leftovers.remove(self.name)
        os.close(self._claim)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _literally(command: tuple[str, ...]) -> list[str]:
    """A unit's command line has variables of its own; whose `$` it is must be said."""
    return [word.replace("$", "$$") for word in command]


def _entering(init: int) -> list[str]:
    return ["nsenter", f"--target={init}", *("-m", "-u", "-i", "-p", "-n", "-C"), "--"]
