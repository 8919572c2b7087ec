"""Archives, honest and evil, and the process that unpacks them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reld.host.unpacking import WORKER


def entry(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.DIRTYPE)


def link(name: str, to: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.SYMTYPE, linkname=to)


def hard(name: str, to: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.LNKTYPE, linkname=to)


def archive(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


RELEASE = (
    folder("./"),
    folder("./bin"),
    entry("./bin/serve", b"#!/bin/sh\n", mode=0o755, mtime=1_000_000_000),
    entry("a/b/data", b"d" * 5000, mode=0o600),
    link("a/up", "../bin/serve"),
    link("current", "./a/b"),
    hard("bin/same", "./bin/serve"),
)


@dataclass
class Site:
    """A directory of releases with its worker, started as this process's user."""

    home: Path

    def __post_init__(self) -> None:
        self.releases.mkdir()
        (self.home / "outside").write_text("as it was")

    @property
    def releases(self) -> Path:
        return self.home / "releases"

    @property
    def shared(self) -> Path:
        return self.home / "shared"

    def begun(self, name: str, **order: Any) -> subprocess.Popen[bytes]:
        whole = {
            "job": "unpack", "parent": str(self.releases), "name": name, "inside": "", "release": name,
            "shared_at": str(self.shared), "shared": [], "build": [], "most": 64 << 20,
        } | order  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(WORKER), json.dumps(whole)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def unpack(self, name: str, sent: bytes, **order: Any) -> tuple[dict[str, Any], str]:
        """What reld is told, and what the person sees."""
        worker = self.begun(name, **order)
        out, err = worker.communicate(sent, timeout=60)
        assert worker.returncode in (0, 1), err
        told = json.loads(out)
        assert ("done" in told) == (worker.returncode == 0)
        return told, err.decode()

    def sweep(self) -> None:
        assert "done" in self.unpack("", b"", job="sweep")[0]

    def clean(self, *but: str) -> None:
        """Nothing else is left, and nothing outside was touched."""
        assert sorted(os.listdir(self.releases)) == sorted(but)
        assert (self.home / "outside").read_text() == "as it was"
