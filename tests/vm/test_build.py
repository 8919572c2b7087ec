"""The package is built on Debian 13 too (`make deb` has built it here), and its lintian has nothing against it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm import roots
from tests.vm.box import Box
from tests.vm.inside import packed

pytestmark = pytest.mark.timeout(900)

SOURCES = (
    "LICENSE", "Makefile", "README.md", "ctl", "daemon", "packaging", "pyproject.toml", "systemd",
)  # fmt: skip


def test_debian_13_builds_the_package_and_its_lintian_is_content_with_both(deb: Path):
    with Box([roots.build(roots.builder("trixie"))]) as box:
        box.boot()
        box.write("/srv/src.tar", packed(SOURCES))
        said = box.sh(
            "mkdir /src && tar -C /src -xf /srv/src.tar && make -C /src deb 2>&1", timeout=600
        )
        assert f"dist/{deb.name}" in said
        box.put(deb, f"/srv/{deb.name}")
        here = box.run("lintian", "--fail-on=error,warning", f"/srv/{deb.name}")
        assert here.returncode == 0, here.stdout
        names = f"diff <(dpkg -c /srv/{deb.name} | awk '{{print $6}}' | sort) "
        names += f"<(dpkg -c /src/dist/{deb.name} | awk '{{print $6}}' | sort)"
        assert box.run("/bin/bash", "-c", names).stdout == ""
