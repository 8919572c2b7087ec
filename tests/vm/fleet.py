"""Three VMs with an app behind one HAProxy, and a controller beside them: as packaging/doc/fleet.md has it.

HAProxy runs on the controller, and is spoken to over its sshd as any machine of the inventory.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
import time
from typing import Self

from tests.vm import machine, roots
from tests.vm.ansible import PERSON, Ansible, Played
from tests.vm.conftest import Installed
from tests.vm.lan import Lan

NAMES = ("vm1", "vm2", "vm3")
INVENTORY = """\
[vms]
vm1
vm2
vm3

[balancers]
controller
"""
_QUICK = machine.CONFIG.replace("[20, 50, 100]", "[50, 100]").replace('bake = "2s"', 'bake = "1s"')
_COLUMN = re.compile(r"  +")


class Fleet:
    """v1 is live on all three; `ansible` is where a person types."""

    def __init__(self, installed: Installed) -> None:
        self.lan = Lan()
        self._releases = itertools.count(2)
        try:
            self._make(installed)
        except BaseException:
            self.close()
            raise

    def _make(self, installed: Installed) -> None:
        self.controller = self.lan.add(
            "controller", [roots.build(roots.controller(installed.suite))]
        )
        self.ansible = Ansible(self.controller)
        self.ansible.write("inventory.ini", INVENTORY)
        self.vms = {name: self.lan.add(name, installed.layers) for name in NAMES}
        for name, vm in self.vms.items():
            vm.sh(f"useradd --create-home --shell /bin/bash --groups relctl {PERSON}")
            vm.write("/etc/relctl/web.toml", _QUICK)
            vm.sh("systemctl enable --quiet --now reld@web && relctl switch v1 2>&1")
            self.ansible.manage(vm, name)
        config = (machine.EXAMPLES / "haproxy.cfg").read_text()
        for number, vm in enumerate(self.vms.values(), 1):
            config = config.replace(f"192.0.2.1{number}", vm.network.address)
        self.controller.write("/etc/haproxy/haproxy.cfg", config)
        self.controller.put(machine.HERE / "load.py", "/srv/load.py")
        self.controller.sh(f"usermod --append --groups haproxy {PERSON}")
        self.controller.sh("haproxy -c -f /etc/haproxy/haproxy.cfg && systemctl restart haproxy")
        self.ansible.manage(self.controller, "controller")
        machine.until("the balancer to find them well", lambda: set(self.states()) == {"UP"})

    def new_release(self, *, missing: str = "", bad: str = "") -> str:
        """Put in place on all VMs; its name. On one of them it may be missing, or answer with 500."""
        name = f"r{next(self._releases)}"
        place = f"/srv/web/releases/{name}"
        for vm in self.vms:
            if vm != missing:
                self.vms[vm].sh(f"cp -r /srv/web/releases/v1 {place}")
            if vm == bad:
                self.vms[vm].sh(f"touch {place}/broken")
        return name

    def live(self) -> list[str]:
        return [str(machine.status(vm)["release"]) for vm in self.vms.values()]

    def rollouts(self) -> list[int]:
        """How many each VM has had."""
        count = "relctl history --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)[\"rollouts\"]))'"
        return [int(vm.sh(count)) for vm in self.vms.values()]

    def states(self) -> list[str]:
        """What HAProxy makes of them, in their order."""
        return [self.said(name)["status"] for name in NAMES]

    def said(self, server: str) -> dict[str, str]:
        """HAProxy's line about a server, or about BACKEND."""
        rows = csv.DictReader(self.balancer("show stat").removeprefix("# ").splitlines())
        (row,) = (row for row in rows if (row["pxname"], row["svname"]) == ("web", server))
        return dict(row)

    def balancer(self, command: str) -> str:
        """Said to its admin socket."""
        code = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); "
            "s.connect('/run/haproxy/admin.sock'); s.sendall(sys.argv[1].encode() + b'\\n'); "
            "print(s.makefile().read())"
        )
        ended = self.controller.run("/usr/bin/python3", "-c", code, command)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def play(self, name: str, *arguments: str) -> Played:
        began = time.monotonic()
        played = self.ansible.play(f"relctl.relctl.{name}", *arguments)
        # For whoever reads pytest's output: packaging/doc/growing.md has such figures.
        print(f"{time.monotonic() - began:5.1f} s  {name} {' '.join(arguments)}")
        print("\n".join("  ".join([vm, *row]) for vm, row in table(played).items()))
        return played

    def under_load(self) -> machine.Load:
        """Clients that keep their connections to HAProxy."""
        return machine.Load(self.controller)

    @property
    def tried_again(self) -> int:
        """Requests that HAProxy gave to another VM because the first could not be connected to."""
        row = self.said("BACKEND")
        return int(row["wretr"]) + int(row["wredis"])

    def close(self) -> None:
        self.lan.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def table(played: Played) -> dict[str, list[str]]:
    """The one table of a play: VM → release, outcome, lost, time. Raises AssertionError for another number."""
    lines = re.findall(r'^ +"((?:VM|vm\d|lb) .*?)",?$', played.said, re.MULTILINE)
    heads = [line for line in lines if line.startswith("VM ")]
    assert len(heads) == 1, played
    assert _COLUMN.split(heads[0]) == ["VM", "RELEASE", "OUTCOME", "LOST", "TIME"]
    rows = (_COLUMN.split(line) for line in lines if line != heads[0])
    return {name: rest for name, *rest in rows}


def reasons(played: Played) -> dict[str, str]:
    """What the play failed with: host → sentence."""
    fatal = re.compile(r"^fatal: \[(\S+)\]: FAILED! => (\{.*\})$", re.MULTILINE)
    return {host: str(json.loads(said)["msg"]) for host, said in fatal.findall(played.said)}
