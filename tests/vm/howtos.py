"""A how-to of packaging/doc that needs no laptop, followed on one machine: typed over ssh, as it stands."""

from __future__ import annotations

import time
from pathlib import Path

from tests.stacks.howto import Block, HowTo
from tests.vm.box import Box

PERSON = "deploy"
_PATIENCE = 120.0  # seconds for all that a block types


class Machine:
    """A server as somebody rents it: a person who may sudo, and the package's file in their home."""

    def __init__(self, box: Box, deb: Path) -> None:
        self.box = box
        self.took: dict[str, float] = {}
        box.sh(f"useradd --create-home --shell /bin/bash {PERSON}")
        box.write("/etc/apt/apt.conf.d/90yes", 'APT::Get::Assume-Yes "true";\n')
        box.write(
            "/etc/sudoers.d/person",
            f"{PERSON} ALL=(ALL) NOPASSWD: ALL\nDefaults env_keep += DEBIAN_FRONTEND\n", 0o440,
        )  # fmt: skip
        box.put(deb, f"/home/{PERSON}/{deb.name}")

    def follow(self, told: HowTo, title: str) -> str:
        """All blocks of a section, in order; what they said. Raises AssertionError."""
        began = time.monotonic()
        said = [self._do(told, block) for block in told.section(title)]
        self.took[f"{told.path.stem}: {title}"] = time.monotonic() - began
        print(f"{told.path.stem}: {title}\n{''.join(said)}")  # for whoever reads pytest's output
        return "".join(said)

    def _do(self, told: HowTo, block: Block) -> str:
        if block.typed:
            return self.type(block.text, f"{told.path.name}:{block.line}")
        before = self.box.sh(f"cat {block.place}") + "\n" if block.append else ""
        self.box.write(block.place, before + block.text)
        if not block.place.startswith("/etc/"):
            self.box.sh(f"chown -R {PERSON}: {Path(block.place).parent}")
        return ""

    def type(self, script: str, where: str = "") -> str:
        """What it said on both streams."""
        self.box.write("/tmp/typed", "export DEBIAN_FRONTEND=noninteractive\n" + script)
        ended = self.box.ssh("bash -e /tmp/typed </dev/null 2>&1", user=PERSON, timeout=_PATIENCE)
        self.box.hang_up()  # the groups that it gave count from the next login on
        assert ended.returncode == 0, (
            f"{where}: {script}\nended with {ended.returncode}: {ended.stdout}"
        )
        return ended.stdout
