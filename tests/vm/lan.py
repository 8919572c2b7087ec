"""Several boxes on one wire: a bridge in a namespace of its own, where their clients on the host are, too."""

from __future__ import annotations

import itertools
import os
import secrets
import subprocess
from pathlib import Path
from typing import Self

from tests.vm import leftovers
from tests.vm.box import Box
from tests.vm.network import OUTSIDE, WIRE, Network, ip, remove_namespace

_BRIDGE = "bridge0"
_PREFIX = OUTSIDE.rpartition(".")[0]
_FIRST = 2  # OUTSIDE has 1
# Boxes of one root have the root's host keys: machines that are told apart need their own.
_OWN_HOST_KEY = (
    "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key && "
    "systemctl restart ssh"
)


class Lan:
    """Its boxes know each other's names; they end with it."""

    def __init__(self) -> None:
        self.name = f"relctl-{secrets.token_hex(4)}"
        self.boxes: dict[str, Box] = {}
        self._numbers = itertools.count(_FIRST)
        self._claim = leftovers.claim(self.name)
        # Called as a box's outside is: what is left of a box is undone by its name, and so is this.
        self._namespace = Network(self.name).outside
        try:
            ip(f"netns add {self._namespace}")
            ip(
                f"link add {_BRIDGE} type bridge",
                f"addr add {OUTSIDE}/24 dev {_BRIDGE}",
                "link set lo up",
                f"link set {_BRIDGE} up",
                of=self._namespace,
            )
        except BaseException:
            self.close()
            raise

    def add(self, name: str, layers: list[Path]) -> Box:
        """Booted, with that host name, an address and an SSH host key of its own."""
        box = Box(layers, wired=self._wired)
        self.boxes[name] = box
        (box.root / "etc/hostname").write_text(f"{name}\n")
        (box.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{box.network.address} {name}\n")
        box.boot()
        box.sh(_OWN_HOST_KEY)
        for other, known in self.boxes.items():
            if known is not box:
                box.sh(f"echo {known.network.address} {other} >> /etc/hosts")
                known.sh(f"echo {box.network.address} {name} >> /etc/hosts")
        return box

    def _wired(self, box: str) -> Network:
        return _Wired(box, self._namespace, next(self._numbers))

    def close(self) -> None:
        for box in self.boxes.values():
            box.close()
        leftovers.remove(self.name)
        os.close(self._claim)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Wired(Network):
    """A box's end of the wire, and the bridge's port for it."""

    def __init__(self, name: str, lan: str, number: int) -> None:
        super().__init__(name)
        self.outside = lan
        self.address = f"{_PREFIX}.{number}"
        self._port = f"port{number}"
        # The same after a reboot: the others remember it.
        self._mac = f"02:00:0a:4d:00:{number:02x}"

    def make(self) -> None:
        self.remove()
        ip(f"netns add {self.inside}")
        ip(
            f"link add {self._port} type veth peer name {WIRE} netns {self.inside}",
            f"link set {self._port} master {_BRIDGE}",
            f"link set {self._port} up",
            of=self.outside,
        )
        ip(
            f"link set {WIRE} address {self._mac}",
            f"addr add {self.address}/24 dev {WIRE}",
            "link set lo up",
            f"link set {WIRE} up",
            of=self.inside,
        )

    def cut(self) -> None:
        ip(f"link set {self._port} down", of=self.outside)

    def mend(self) -> None:
        ip(f"link set {self._port} up", of=self.outside)

    def remove(self) -> None:
        # The kernel removes a namespace's devices some time later: the port's name must be free now.
        subprocess.run(
            ["ip", "-n", self.outside, "link", "del", self._port], capture_output=True, check=False
        )
        remove_namespace(self.inside)
