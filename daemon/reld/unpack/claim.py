"""The file in a release that is not complete: whose it is, and what must be undone when nobody goes on.

    {"unpack": "v2", "inode": 71, "moved": [{"path": "/srv/web/shared/storage", "inode": 70, "link": "storage"}]}

Without `unpack` and `inode` it is somebody's who copies releases by other means, and is let alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass

from reld.unpack import trees

INCOMPLETE = ".relctl-incomplete"
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Moved:
    """What a release brought along and all share from then on.

    `path`: where to. `inode`: so that nothing else is ever taken back. `link`: what leads there, below
    each release.
    """

    path: str
    inode: int
    link: str


@dataclass(frozen=True, slots=True)
class Claim:
    """`name`: of the release's directory, when it is not hidden. `inode`: that directory's."""

    name: str
    inode: int
    moved: tuple[Moved, ...] = ()

    def write(self, top: str) -> None:
        """Returns when it is on the disk. Raises OSError."""
        said = {
            "unpack": self.name,
            "inode": self.inode,
            "moved": [asdict(one) for one in self.moved],
        }
        path = os.path.join(top, INCOMPLETE)
        fresh = os.path.join(top, trees.hidden(INCOMPLETE))
        target = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with open(target, "w", encoding="ascii") as file:
            json.dump(said, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        trees.sync_directory(top)


def read(top: str) -> Claim | None:
    """None: unpack made no such directory, or it is complete, or a copy. Never waits."""
    try:
        found = os.open(
            os.path.join(top, INCOMPLETE),
            os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
        )
        try:
            if not stat.S_ISREG(os.fstat(found).st_mode):
                return None
            said = json.loads(os.read(found, _LARGEST))
        finally:
            os.close(found)
        moved = tuple(Moved(str(m["path"]), m["inode"], str(m["link"])) for m in said["moved"])
        claim = Claim(said["unpack"], said["inode"], moved)
        return claim if claim.inode == os.lstat(top).st_ino else None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None


def left(parent: str, name: str) -> Claim | None:
    """Of a release that unpack is building under its name, or was when it was killed."""
    claim = read(os.path.join(parent, name))
    return claim if claim is not None and claim.name == name else None


def at_work(top: str) -> bool:
    """Whether its builder lives: it holds a lock, and so does what it started."""
    try:
        found = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(found, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(found)
    return False


def take_back(claim: Claim, parent: str, top: str) -> None:
    """What was moved goes into `top`, to be removed with it; unless another release uses it by now.

    Raises nothing: it is called when something else has failed already.
    """
    for one in reversed(claim.moved):
        with suppress(OSError, ValueError):
            if os.lstat(one.path).st_ino != one.inode or _used(one, parent, top):
                continue
            try:
                os.rename(one.path, os.path.join(top, trees.hidden("moved")))
            except OSError:  # on another file system
                trees.remove(one.path)


def _used(moved: Moved, parent: str, top: str) -> bool:
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        with suppress(OSError, ValueError):
            if path != top and os.readlink(os.path.join(path, moved.link)) == moved.path:
                return True
    return False


def sweep(parent: str) -> None:
    """Removes what was interrupted in `parent`; whoever still works there holds a lock."""
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if not trees.is_hidden(name) and left(parent, name) is None:
            continue
        with suppress(OSError):
            found = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                discard(parent, name)
            finally:
                os.close(found)


def discard(parent: str, name: str) -> None:
    """Removes one that is not complete; the caller holds its lock. Raises OSError."""
    path = os.path.join(parent, name)
    claim = read(path)
    if not trees.is_hidden(name):
        if claim is None or claim.name != name:
            return  # it was completed in the meantime
        aside = os.path.join(parent, trees.hidden(name))
        take_back(claim, parent, path)
        os.rename(path, aside)
        trees.sync_directory(parent)
        path = aside
    elif claim is not None:
        take_back(claim, parent, path)
    trees.remove(path)
