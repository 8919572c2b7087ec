"""Machines for the tests: a bare Debian, and one where the package and a site with an app are set up."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import machine, roots
from tests.vm.box import Box


@dataclass(frozen=True)
class Installed:
    """What `apt install` wrote over a bare root, and what it said."""

    suite: str
    layers: list[Path]
    said: str
    seconds: float


@pytest.fixture(scope="session")
def deb() -> Path:
    """What `make deb` built last; RELCTL_VM_DEB names another one."""
    if named := os.environ.get("RELCTL_VM_DEB"):
        return Path(named)
    built = (Path(__file__).parents[2] / "dist").glob("relctl_*_all.deb")
    return max(built, key=lambda one: one.stat().st_mtime)


@pytest.fixture(scope="session", params=roots.SUITES)
def installed(request: pytest.FixtureRequest, deb: Path) -> Iterator[Installed]:
    root = roots.build(roots.server(request.param))
    with Box([root]) as box:
        box.boot()
        machine.add_package(box, deb)
        began = time.monotonic()
        said = machine.apt(box, f"install /srv/{deb.name}")
        seconds = time.monotonic() - began
        machine.add_site(box)
        box.power_off()
        yield Installed(request.param, [box.upper, root], said, seconds)


@pytest.fixture
def box(installed: Installed) -> Iterator[Box]:
    """Booted; relctl is installed, nothing of it runs."""
    with Box(installed.layers) as one:
        one.boot()
        yield one


@pytest.fixture
def serving(box: Box) -> Box:
    """The app `web` is live with v1, two instances, behind the site on port 80."""
    box.sh("systemctl enable --quiet --now reld@web && relctl switch v1 2>&1")
    return box


@pytest.fixture(scope="module", params=roots.SUITES)
def tester(request: pytest.FixtureRequest) -> Iterator[Box]:
    """Booted; all that relctl needs, and a pytest for `machine.run_pytest`: the tree runs there."""
    with Box([roots.build(roots.tester(request.param))]) as one:
        one.boot()
        yield one


@pytest.fixture(scope="session")
def newer(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package with a higher version."""
    place = tmp_path_factory.mktemp("newer")
    subprocess.run(["dpkg-deb", "-R", deb, place / "tree"], check=True)
    version = machine.version(deb) + "+newer"
    control = place / "tree/DEBIAN/control"
    text = control.read_text().replace(f"Version: {machine.version(deb)}", f"Version: {version}")
    control.write_text(text)
    init = place / "tree/usr/lib/python3/dist-packages/reld/__init__.py"
    init.write_text(init.read_text().replace(machine.version(deb), version))
    made = place / f"relctl_{version}_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", place / "tree", made],
        check=True,
        capture_output=True,
    )
    return made
