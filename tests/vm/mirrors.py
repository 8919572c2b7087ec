"""Where roots come from: this machine's own mirror, and the keys that a Debian has not got."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

UBUNTU = ("noble",)
_ARCHIVE = "http://archive.ubuntu.com/ubuntu"
_KEYS = "usr/share/keyrings/ubuntu-archive-keyring.gpg"


class NoRoot(Exception):
    """A machine that was asked for cannot be made here: that is a failure, never a skip."""

    def __init__(self, suite: str, why: str) -> None:
        super().__init__(
            f"cannot make the root of {suite}: {why}\n"
            f"  next: a mirror that has {suite}, or the others alone: "
            'make test-vm SUITES="bookworm trixie"'
        )


def arguments(suite: str, root: Path) -> list[str]:
    """mmdebstrap's last arguments: SUITE, TARGET and, where its own defaults do not know, the sources.

    Raises NoRoot.
    """
    if suite not in UBUNTU:
        return [suite, str(root)]
    mirror = _ubuntu(suite)
    return [
        f"--keyring={_keys(root.parent)}",
        suite,
        str(root),
        *(
            f"deb {mirror} {suite}{pocket} main universe"
            for pocket in ("", "-updates", "-security")
        ),
    ]


def _ubuntu(suite: str) -> str:
    """A mirror of Ubuntu's: this machine's own, or the one that lies beside Debian's there."""
    own = [urlsplit(line.rstrip("/")) for line in _uris()]
    beside = [f"{one.scheme}://{one.netloc}/ubuntu" for one in own]
    tried = list(dict.fromkeys((*beside, _ARCHIVE)))
    for mirror in tried:
        if _answers(f"{mirror}/dists/{suite}/InRelease"):
            return mirror
    # The name alone: a mirror's address may have a password in it.
    hosts = (urlsplit(mirror).hostname or mirror for mirror in tried)
    raise NoRoot(suite, f"not on {', '.join(hosts)}")


def _uris() -> list[str]:
    said = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return sorted(set(said.stdout.split()))


def _answers(uri: str) -> bool:
    """Asked by apt's own downloader: it knows this machine's proxies."""
    with tempfile.TemporaryDirectory() as place:
        asked = subprocess.run(
            ["/usr/lib/apt/apt-helper", "download-file", uri, f"{place}/answer"],
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip
    return asked.returncode == 0


def _keys(place: Path) -> Path:
    """Ubuntu's keys: installed here, else out of Debian 13's package, which Debian's keys vouch for."""
    if (installed := Path("/") / _KEYS).exists():
        return installed
    subprocess.run(
        ["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", "--include=ubuntu-keyring",
         "trixie", place / "keys"],
        check=True,
    )  # fmt: skip
    return place / "keys" / _KEYS
