"""ssh from the host to a box's own sshd: real keys, real logins, and nobody else can reach it."""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.vm.network import Network

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
PLAIN = "plain"

# ssh is here, the wire's end is in another namespace: a child connects there and hands the socket over.
_CONNECT = (
    "import socket as s; c = s.create_connection(('%h', %p)); "
    "s.send_fds(s.socket(fileno=1), [b'.'], [c.fileno()])"
)
_CONFIG = """\
Host box
  HostName {address}
  HostKeyAlias box
  UserKnownHostsFile {place}/known_hosts
  IdentitiesOnly yes
  IdentityAgent none
  PasswordAuthentication no
  BatchMode yes
  LogLevel ERROR
  ProxyUseFdpass yes
  ProxyCommand nsenter --net=/run/netns/{outside} /usr/bin/python3 -ISc "{connect}" 2>/dev/null
  ControlPersist 60
"""


class Ssh:
    """The clients of one box. `run` shares one connection per user and key, `start` makes one for itself."""

    def __init__(self, place: Path, network: Network) -> None:
        self._place = place / "ssh"
        self._place.mkdir(mode=0o700)
        self._config = self._place / "config"
        self._config.write_text(
            _CONFIG.format(
                place=self._place,
                address=network.address,
                outside=network.outside,
                connect=_CONNECT,
            )
        )

    def public(self, key: str) -> str:
        """The line for authorized_keys; the pair is made when it is first asked for."""
        private = self._place / f"key-{key}"
        if not private.exists():
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", private],
                check=True,
            )
        return private.with_suffix(".pub").read_text().strip()

    def trust(self, host_key: str) -> None:
        (self._place / "known_hosts").write_text(f"box {host_key.strip()}\n")

    def command(self, line: str, *, user: str, key: str, options: tuple[str, ...]) -> list[str]:
        return [
            "ssh", "-F", str(self._config), "-l", user, "-i", str(self._place / f"key-{key}"),
            *options, "box", *([line] if line else []),
        ]  # fmt: skip

    def run(
        self, line: str, *, user: str, key: str, sent: str | bytes, tty: bool, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        shared = ("-o", "ControlMaster=auto", "-o", f"ControlPath={self._place}/mux-{user}-{key}")
        ended = subprocess.run(
            self.command(line, user=user, key=key, options=(*shared, "-tt" if tty else "-T")),
            input=sent.encode() if isinstance(sent, str) else sent,
            capture_output=True, timeout=timeout, check=False,
        )  # fmt: skip
        out, wrong = (part.decode(errors="replace") for part in (ended.stdout, ended.stderr))
        return subprocess.CompletedProcess(ended.args, ended.returncode, out, wrong)

    def start(self, line: str, *, user: str, key: str, tty: bool) -> subprocess.Popen[str]:
        alone = ("-o", "ControlPath=none", "-tt" if tty else "-T")
        return subprocess.Popen(
            self.command(line, user=user, key=key, options=alone),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace",
        )  # fmt: skip

    @contextlib.contextmanager
    def forward(self, there: str, *, user: str, key: str, seconds: float = 20) -> Iterator[Path]:
        """`ssh -L`: a Unix socket here that is `there` (a path, or HOST:PORT) in the box."""
        here = self._place / f"forward-{user}-{key}-{time.monotonic_ns()}"
        options = ("-N", "-o", "ControlPath=none", "-o", "ExitOnForwardFailure=yes")
        options = (*options, "-L", f"{here}:{there}")
        running = subprocess.Popen(
            self.command("", user=user, key=key, options=options),
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            _until_open(here, running.poll, seconds)
            yield here
        finally:
            running.terminate()
            running.communicate(timeout=20)
            here.unlink(missing_ok=True)

    def hang_up(self) -> None:
        """Ends the connections that `run` keeps: what a user's groups are is decided at login."""
        for mux in self._place.glob("mux-*"):
            subprocess.run(
                ["ssh", "-F", self._config, "-o", f"ControlPath={mux}", "-O", "exit", "box"],
                capture_output=True, check=False, timeout=20,
            )  # fmt: skip
            mux.unlink(missing_ok=True)


def authorized(user: str, line: str) -> str:
    """The shell line that adds a line to a user's authorized_keys, as root in the box."""
    return (
        f"home=$(getent passwd {user} | cut -d: -f6) && "
        f"install -d -m 700 -o {user} -g $(id -g {user}) $home/.ssh && cd $home/.ssh && "
        f"echo {shlex.quote(line)} >> authorized_keys && "
        f"chown {user}: authorized_keys && chmod 600 authorized_keys"
    )


def _until_open(place: Path, ended: Callable[[], int | None], seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and ended() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asked:
            asked.connect(str(place))
            return
        time.sleep(0.02)
    raise AssertionError(f"{place.name} was not open within {seconds:g} s")
