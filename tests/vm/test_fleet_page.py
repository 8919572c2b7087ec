"""packaging/doc/fleet.md, typed as it stands on a laptop: from four bare machines to a rollback, under load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stacks.howto import DOCS, HowTo
from tests.vm import machine, roots
from tests.vm.ansible import PERSON, Ansible
from tests.vm.box import Box
from tests.vm.lan import Lan

pytestmark = pytest.mark.timeout(600)

VMS = ("vm1", "vm2", "vm3")


class Laptop:
    """Where a person types, in a directory with the files that were made before."""

    def __init__(self, lan: Lan, suite: str, deb: Path) -> None:
        self.ansible = Ansible(lan.add("laptop", [roots.build(roots.controller(suite))]))
        self.ansible.pack()
        self.ansible.box.put(deb, f"/home/{PERSON}/fleet/relctl_0.1.0_all.deb")
        _rights(self.ansible.box)
        self.vms = {name: lan.add(name, [roots.build(roots.server(suite))]) for name in VMS}
        self.balancer = lan.add("lb1", [roots.build(roots.controller(suite))])
        for name, box in {**self.vms, "lb1": self.balancer}.items():
            box.sh(f"useradd --create-home --shell /bin/bash {PERSON}")
            _rights(box)
            self.ansible.manage(box, name)
        self.balancer.put(machine.HERE / "load.py", "/srv/load.py")

    def follow(self, told: HowTo, title: str) -> str:
        """All blocks of a section, in order; what they said on both streams."""
        said = []
        for block in told.section(title):
            if block.typed:
                where = f"{told.path.name}:{block.line}"
                self.ansible.write("typed", f"exec 2>&1\n{block.text}")
                ended = self.ansible.run("/bin/bash", "-e", "typed")
                assert ended.code == 0, f"{where}: {block.text}\n{ended}"
                said.append(ended.said)
            else:
                self.ansible.write(block.place, block.text)
        print(f"{title}\n{''.join(said)}")  # for whoever reads pytest's output
        return "".join(said)

    def live(self) -> list[str]:
        return [str(machine.status(vm)["release"]) for vm in self.vms.values()]


def _rights(box: Box) -> None:
    box.write("/etc/sudoers.d/person", f"{PERSON} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    box.write("/etc/apt/apt.conf.d/90box", 'APT::Get::Assume-Yes "true";\nAcquire::Retries "0";\n')


@pytest.fixture(scope="module", params=roots.SUITES)
def laptop(request: pytest.FixtureRequest, deb: Path) -> Iterator[Laptop]:
    with Lan() as lan:
        yield Laptop(lan, request.param, deb)


def test_from_bare_machines_to_releases_over_all_of_them(laptop: Laptop):
    told = HowTo(DOCS / "fleet.md")
    assert laptop.follow(told, "Ansible, once").count('"ping": "pong"') == 4
    again = laptop.follow(told, "The VMs, once").rpartition("PLAY RECAP")[2]
    assert again.count("changed=0 ") == 3, again
    assert laptop.live() == ["v1"] * 3
    laptop.follow(told, "HAProxy in front")
    with machine.Load(laptop.balancer) as load:
        assert laptop.follow(told, "A release").count(" v2       done ") == 3
    assert load.failed == []
    assert set(load.answers) == {"v1", "v2"}
    with machine.Load(laptop.balancer) as load:
        bad = laptop.follow(told, "A bad one")
    assert "it ended with 2" in bad
    assert "v3 failed" in bad
    assert bad.count("not begun") == 2
    assert set(load.failed) <= {"502"}
    with machine.Load(laptop.balancer) as load:
        laptop.follow(told, "And if it is found out later")
    assert load.failed == []
    assert laptop.live() == ["v1"] * 3
    with machine.Load(laptop.balancer) as load:
        laptop.follow(told, "Out of the balancer meanwhile")
    assert load.failed == []
    assert laptop.live() == ["v2"] * 3
    assert told.untold == []


def test_the_page_about_growing_types_nothing():
    assert HowTo(DOCS / "growing.md").untold == []
