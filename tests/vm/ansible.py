"""Debian's own ansible-playbook in a box, with the collection of this tree, over real sshds.

ansible = Ansible(controller)                   a user there, its key, the collection, an empty ~/fleet
ansible.manage(vm1, "vm1", user="deploy")       its key opens that account; the machine's host key is known
ansible.write("inventory.ini", "[vms]\\nvm1\\n")  into ~/fleet, where all is run
played = ansible.play("relctl.relctl.release", "-e", "release=v2")
played.code, played.said, played.recap["vm1"]["changed"]
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.vm import machine
from tests.vm.box import Box
from tests.vm.ssh import HOST_KEY, authorized

COLLECTION = Path(__file__).parents[2] / "packaging/ansible"
# Where ansible looks for what a distribution has installed.
_PLACE = "/usr/share/ansible/collections/ansible_collections/relctl/relctl"
PERSON = "deploy"
_FLEET = f"/home/{PERSON}/fleet"
# All else is ansible's default: host keys are checked, too.
_CONFIG = """\
[defaults]
inventory = inventory.ini
display_skipped_hosts = false
[ssh_connection]
ssh_args = -o ControlMaster=auto -o ControlPersist=60s -o ServerAliveInterval=5 -o ServerAliveCountMax=2
"""
_RECAP = re.compile(r"^(\S+)\s+: ((?:\w+=\d+\s*)+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Played:
    """`said` is stdout, `wrong` stderr; `recap` the counts of the end: host → ok, changed, failed, …"""

    code: int
    said: str
    wrong: str

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        _, _, recap = self.said.rpartition("\nPLAY RECAP ")
        return {
            host: {word: int(n) for word, n in re.findall(r"(\w+)=(\d+)", counts)}
            for host, counts in _RECAP.findall(recap)
        }

    def __str__(self) -> str:
        return f"it ended with {self.code}\n{self.said}{self.wrong}"


class Running:
    """A play that is under way: `unit` is the controller's name for it."""

    def __init__(self, controller: Box, started: subprocess.Popen[str], unit: str) -> None:
        self._controller = controller
        self._started = started
        self._unit = unit

    def kill(self) -> None:
        """`kill -9` of ansible-playbook itself; its children find out by themselves."""
        shown = f"systemctl show --property=MainPID --value {self._unit}"
        pid = machine.until("the play's pid", lambda: int(self._controller.sh(shown)))
        self._controller.sh(f"kill -KILL {pid}")

    @property
    def goes_on(self) -> bool:
        return self._started.poll() is None

    def wait(self, seconds: float = 120) -> Played:
        said, wrong = self._started.communicate(timeout=seconds)
        return Played(self._started.returncode, said, wrong)


class Ansible:
    """The controller: a box of roots.controller, booted."""

    def __init__(self, controller: Box) -> None:
        self.box = controller
        self._plays = 0
        controller.sh(f"useradd --create-home --shell /bin/bash {PERSON}")
        self._as(f"ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519 && mkdir {_FLEET}")
        self.key = self._as("cat ~/.ssh/id_ed25519.pub").strip()
        self.write("ansible.cfg", _CONFIG)
        self.install()

    def install(self) -> None:
        """The collection as it is in the tree now; what was there is gone."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(COLLECTION, arcname=".", filter=_plain)
        self.box.write("/srv/collection.tar", packed.getvalue())
        self.box.sh(
            f"rm -rf {_PLACE}; mkdir -p {_PLACE} && tar -xf /srv/collection.tar -C {_PLACE}"
        )

    def pack(self) -> None:
        """The collection as a file in ~/fleet, as a user gets it, and no longer in place."""
        self.box.sh(f"ansible-galaxy collection build --output-path {_FLEET} {_PLACE}")
        self.box.sh(f"rm -r {_PLACE} && chown -R {PERSON}: {_FLEET}")

    def manage(self, box: Box, name: str, user: str = PERSON) -> None:
        """The user must exist there; `name` is what the inventory calls it (a Lan knows its names)."""
        box.sh(authorized(user, self.key))
        known = f"{name} {box.sh(f'cat {HOST_KEY}').strip()}"
        self._as(f"echo {shlex.quote(known)} >> ~/.ssh/known_hosts")

    def write(self, name: str, text: str) -> None:
        """A file below ~/fleet."""
        self.box.write(f"{_FLEET}/{name}", text)
        self.box.sh(f"chown -R {PERSON}: {_FLEET}")

    def play(self, *arguments: str, seconds: float = 300) -> Played:
        """`ansible-playbook ARGUMENTS`, by the person, in ~/fleet."""
        return self.run("ansible-playbook", *arguments, seconds=seconds)

    def run(self, *command: str, seconds: float = 300) -> Played:
        """Any program of ansible's; it may fail."""
        return self.start(*command).wait(seconds)

    def start(self, *command: str) -> Running:
        """The same without waiting for its end. A later `run` is another one."""
        self._plays += 1
        unit = f"play{self._plays}.service"
        # As from a shell: whom a killed one has started, lives on.
        options = (f"--unit={unit}", f"--uid={PERSON}", "--property=KillMode=process")
        directory = f"--working-directory={_FLEET}"
        started = self.box.start(*options, directory, "--setenv=LC_ALL=C.UTF-8", *command)
        return Running(self.box, started, unit)

    def _as(self, line: str) -> str:
        return self.box.sh(line, user=PERSON)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Root's, and without what Python left beside it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return None if "__pycache__" in entry.name else entry
