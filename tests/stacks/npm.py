"""A layer that is an npm registry of what one lock file names: `npm ci` in a box asks it by itself.

(npm's own cache would be less, but npm 9 of Debian 12 fails on one that another npm has filled.)
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.stacks.supplies import APPS, kept

_WHERE = "http://127.0.0.1:4873"
_NPMRC = f"registry={_WHERE}/\naudit=false\nfund=false\nupdate-notifier=false\n"
_UNIT = "etc/systemd/system/registry.service"
_SERVICE = f"""\
[Service]
User=nobody
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /srv/npm {_WHERE[-4:]}
StandardError=null
"""


@dataclass(frozen=True, slots=True)
class _Package:
    name: str
    version: str
    integrity: str  # "sha512-" and base64

    @property
    def file(self) -> str:
        """Below the registry's root."""
        return f"{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"

    def within(self, cache: Path) -> Path:
        """npm's cache keeps what it has fetched under its checksum."""
        mark = base64.b64decode(self.integrity.removeprefix("sha512-")).hex()
        return cache / "_cacache/content-v2/sha512" / mark[:2] / mark[2:4] / mark[4:]


def packages(app: str) -> Path:
    """A layer with what the app's package-lock.json locks, but for development. Needs npm once."""
    tree = APPS / app
    locked = (tree / "package-lock.json").read_bytes()

    def make(place: Path) -> None:
        fetched = place / "fetched"
        fetched.mkdir()
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(tree / name, fetched)
        subprocess.run(
            [
                "npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund",
                "--loglevel=error", f"--cache={fetched / 'cache'}",
            ],
            cwd=fetched, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        for package in _wanted(locked):
            _publish(package, fetched / "cache", place / "srv/npm")
        shutil.rmtree(fetched)
        unit = place / _UNIT
        wants = unit.parent / "multi-user.target.wants"
        wants.mkdir(parents=True)
        unit.write_text(_SERVICE)
        (wants / unit.name).symlink_to(f"/{_UNIT}")
        (place / "etc/npmrc").write_text(_NPMRC)

    return kept(f"npm-{app}", locked + (_NPMRC + _SERVICE).encode(), make)


def _wanted(locked: bytes) -> Iterator[_Package]:
    for where, what in json.loads(locked)["packages"].items():
        if where and not what.get("dev"):
            name = where.rpartition("node_modules/")[2]
            yield _Package(name, what["version"], what["integrity"])


def _publish(package: _Package, cache: Path, registry: Path) -> None:
    """Its archive, and its version in what the registry says of the name."""
    archive = registry / package.file
    archive.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(package.within(cache), archive)
    page = registry / package.name / "index.html"
    said = json.loads(page.read_text()) if page.exists() else {"name": package.name, "versions": {}}
    said["dist-tags"] = {"latest": package.version}
    said["versions"][package.version] = {
        "name": package.name,
        "version": package.version,
        "dist": {"tarball": f"{_WHERE}/{package.file}", "integrity": package.integrity},
    }
    page.write_text(json.dumps(said))
