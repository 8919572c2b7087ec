"""Root file systems of bare Debians and Ubuntus, built once and kept: `python -m tests.vm.roots bookworm`.

A root has what a fresh server has (systemd, sshd, no Python packages, no nginx), and in apt's own cache
the files of what relctl depends on: a box has no way out, and `apt install ./relctl.deb` in it is still
the real thing. One squashfs file per recipe, mounted read-only under an overlay: nothing to unpack.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.vm import mirrors
from tests.vm.mirrors import NoRoot

# Which machines the tests boot; the first one is there for what is the same on all.
SUITES = tuple(os.environ.get("RELCTL_VM_SUITES", "").split()) or ("bookworm", "trixie")

_SERVER = (
    "apt", "systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server",
    "openssh-client", "iproute2", "procps", "ca-certificates", "sudo",
)  # fmt: skip
# What the tests of man pages and completions need beside it.
_SHELLS = ("bash-completion", "zsh", "fish", "man-db")
# As a user's apt would fetch them, with what these recommend.
_FETCHED = (
    "nginx", "python3", "python3-aiohttp", "python3-click", "python3-prometheus-client",
    "python3-psutil", "python3-systemd",
)  # fmt: skip
_ONLY_WHERE_IT_IS = ("python3-watchfiles",)
# For tests that have to run on the machine itself: as its root, beside its systemd.
_TESTER = (
    *_FETCHED, "python3-hypothesis", "python3-pytest", "python3-pytest-asyncio",
    "python3-pytest-timeout",
)  # fmt: skip
_BUILDER = (
    "systemd", "systemd-sysv", "dbus", "build-essential", "debhelper", "dh-python", "lintian",
    "pybuild-plugin-pyproject",
    "python3-all", "python3-aiohttp", "python3-click", "python3-hatchling",
    "python3-prometheus-client", "python3-psutil", "python3-systemd",
)  # fmt: skip
# Where a team types: its ansible, its haproxy, and what playbooks and typed pages need there.
_CONTROLLER = ("ansible-core", "haproxy", "curl", "python3")
# What the how-tos of packaging/doc install from Debian, beside what relctl needs: tests/stacks.
_STACKS = {
    "django": ("python3-venv", "postgresql"),
    "fastapi": ("python3-venv", "sqlite3"),
    "ruby": ("puma", "ruby-rails", "ruby-sprockets-rails", "ruby-pg", "bundler", "postgresql"),
    "go": ("golang-go",),
    "java": ("default-jdk-headless", "libpostgresql-jdbc-java", "postgresql"),
    "node": ("nodejs", "npm", "postgresql"),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """`fetched` lies in apt's cache, `maybe` too where the suite has it."""

    name: str
    suite: str
    installed: tuple[str, ...]
    fetched: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """Another recipe is another file; old ones can be removed at any time."""
        mark = hashlib.sha256(repr((_HOOK, self)).encode()).hexdigest()[:12]
        return cache() / f"{self.name}-{mark}.squashfs"


# Half as much time as zstd's default level takes, and a tenth larger.
_COMPRESSED = ("-comp", "zstd", "-Xcompression-level", "3")


def cache() -> Path:
    """Outside the tree: `make clean` keeps the roots. RELCTL_VM_CACHE names another place."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("RELCTL_VM_CACHE") or Path(base) / "relctl-vm")


def server(suite: str) -> Recipe:
    return Recipe(suite, suite, (*_SERVER, *_SHELLS), _FETCHED, _ONLY_WHERE_IT_IS)


def builder(suite: str) -> Recipe:
    """A Debian that builds the package and looks at it with its own lintian."""
    return Recipe(f"{suite}-builder", suite, _BUILDER)


def tester(suite: str) -> Recipe:
    """A server with everything that relctl needs and, instead of relctl, a pytest."""
    return Recipe(f"{suite}-tester", suite, (*_SERVER, *_TESTER))


def controller(suite: str) -> Recipe:
    """A server that relctl is not on: Debian's own ansible-core, and an HAProxy."""
    return Recipe(f"{suite}-controller", suite, (*_SERVER, *_CONTROLLER))


def stack(name: str, suite: str) -> Recipe:
    """A server where all that the how-to NAME.md installs is there already, but for relctl."""
    return Recipe(
        f"{suite}-{name}", suite, (*_SERVER, *_FETCHED, *_STACKS[name]), _FETCHED, _ONLY_WHERE_IT_IS
    )


# (mmdebstrap's apt takes no recommended packages, a server's does.)
_HOOK = """
set -e
rm -f "$1"/etc/ssh/ssh_host_*
[ ! -x "$1/usr/bin/ssh-keygen" ] || chroot "$1" ssh-keygen -A
echo vm > "$1/etc/hostname"
echo "127.0.0.1 localhost vm" > "$1/etc/hosts"
: > "$1/etc/machine-id"
for package in $MAYBE; do
    ! chroot "$1" apt-cache show "$package" >/dev/null 2>&1 || FETCHED="$FETCHED $package"
done
[ -z "$FETCHED" ] || chroot "$1" apt-get -qq -y -o APT::Install-Recommends=true \\
    --download-only install $FETCHED
"""


def build(recipe: Recipe) -> Path:
    """The root's file, built where it is missing (a minute or two, and the network).

    Raises NoRoot, with what to do next.
    """
    recipe.file.parent.mkdir(parents=True, exist_ok=True)
    with _alone(recipe):
        if not recipe.file.exists():
            began = time.monotonic()
            try:
                _build(recipe)
            except subprocess.CalledProcessError as error:
                raise NoRoot(
                    recipe.suite, f"{error.cmd[0]} ended with {error.returncode}"
                ) from error
            print(f"{recipe.file.name}: built in {time.monotonic() - began:.0f} s", flush=True)
        os.utime(recipe.file)
        _forget_others(recipe)
    return recipe.file


def _build(recipe: Recipe) -> None:
    with tempfile.TemporaryDirectory(prefix="relctl-root.") as place:
        root, image = Path(place) / "root", Path(place) / "image"
        subprocess.run(
            [
                "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase",
                f"--include={','.join(recipe.installed)}", *_apt_options(),
                "--dpkgopt=path-exclude=/usr/share/locale/*",
                "--dpkgopt=force-unsafe-io",
                "--skip=cleanup/apt",
                f"--customize-hook={_HOOK}",
                *mirrors.arguments(recipe.suite, root),
            ],
            check=True,
            env={
                **os.environ,
                "FETCHED": " ".join(recipe.fetched),
                "MAYBE": " ".join(recipe.maybe),
            },
        )  # fmt: skip
        subprocess.run(
            ["mksquashfs", root, image, *_COMPRESSED, "-quiet", "-no-progress", "-noappend"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        # Within one file system, so that a half root is never taken for a whole one.
        staged = recipe.file.with_suffix(f".{os.getpid()}")
        subprocess.run(["cp", image, staged], check=True)
        staged.rename(recipe.file)


@contextlib.contextmanager
def _alone(recipe: Recipe) -> Iterator[None]:
    """Two runs that miss the same root build it once."""
    with (recipe.file.parent / f"{recipe.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forget_others(recipe: Recipe) -> None:
    """Roots of older recipes, a week after they were last wanted. A mounted one stays until its end."""
    for other in recipe.file.parent.glob(f"{recipe.name}-*.squashfs"):
        mark = other.stem.removeprefix(f"{recipe.name}-")
        if "-" not in mark and other.stat().st_mtime < time.time() - 7 * 86400:
            other.unlink(missing_ok=True)


def _apt_options() -> list[str]:
    """What this machine's own apt was told about proxies and about clocks."""
    wanted = ("Check-Valid-Until", "Check-Date", "http::Proxy", "https::Proxy")
    dump = subprocess.run(
        ["apt-config", "dump", "--format", '%f "%v"%n', "Acquire"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    said = [line for line in dump.splitlines() if line.split(" ")[0].endswith(wanted)]
    return [f"--aptopt={line}" for line in said]


KINDS = {
    "": server,
    "builder": builder,
    "tester": tester,
    "controller": controller,
    **{name: partial(stack, name) for name in _STACKS},
}


def main() -> None:
    try:
        for name in sys.argv[1:] or SUITES:
            suite, _, kind = name.partition("-")
            build(KINDS[kind](suite))
    except NoRoot as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
