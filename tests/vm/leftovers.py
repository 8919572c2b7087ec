"""What a box leaves on the host, undone by its name alone: at its end, or after its run was killed.

Every box has a directory in PLACES, and its run holds a lock on the file beside it. The kernel drops the
lock with the run, however that ends: whose lock can be taken is nobody's any more. No pid is trusted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.vm.network import Network

PLACES = Path("/run/relctl-vm")
_CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd"))


def claim(name: str) -> int:
    """Makes the box's directory; the descriptor is the claim, and to be closed after `remove`."""
    with _one_at_a_time():
        (PLACES / name).mkdir()
        held = os.open(_lock(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return held


def sweep() -> list[str]:
    """Removes the boxes of runs that are dead; their names."""
    with _one_at_a_time():
        return [name for name in sorted(_names()) if _dead(name)]


def _dead(name: str) -> bool:
    held = os.open(_lock(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        remove(name)
        return True
    finally:
        os.close(held)


def remove(name: str) -> None:
    """Nothing is left: no process, mount, namespace, cgroup or file."""
    for hierarchy in hierarchies():
        _remove_cgroup(hierarchy / name)
    for place in _mounted_below(PLACES / name):
        _unmount(place)
    Network(name).remove()
    with contextlib.suppress(OSError):
        os.rmdir(f"/run/systemd/nspawn/propagate/{name}")
    shutil.rmtree(PLACES / name, ignore_errors=True)
    _lock(name).unlink(missing_ok=True)


def hierarchies() -> Iterator[Path]:
    """Of cgroup v2 and, on a hybrid host, of systemd's own v1 hierarchy."""
    found = [h for h in _CGROUPS if (h / "cgroup.procs").exists()]
    yield from found or [Path("/sys/fs/cgroup")]


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """A box that is being made must not look like one that was left."""
    PLACES.mkdir(mode=0o700, exist_ok=True)
    with (PLACES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lock(name: str) -> Path:
    return PLACES / f"{name}.lock"


def _names() -> set[str]:
    places = {place.name for place in PLACES.iterdir() if place.is_dir()}
    return places | {place.stem for place in PLACES.glob("*.lock")}


def _mounted_below(place: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split(" ")[4] for line in lines]
    return [point for point in reversed(points) if point.startswith(f"{place}/")]


def _remove_cgroup(group: Path) -> None:
    for _ in range(100):
        if not group.exists():
            return
        with contextlib.suppress(OSError):
            (group / "cgroup.kill").write_text("1")
        # The deepest first; a v1 hierarchy has no cgroup.kill, its processes are the v2 one's.
        for inner in sorted((p for p in group.rglob("*") if p.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                inner.rmdir()
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.05)


def _unmount(place: str) -> None:
    for _ in range(100):
        if subprocess.run(["umount", place], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.05)
    subprocess.run(["umount", "--lazy", place], check=False)
