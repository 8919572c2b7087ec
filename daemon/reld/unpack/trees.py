"""Whole directory trees: brought to the disk, and removed."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

_TOGETHER = 8
"""fsyncs at once: the file system's journal takes them together."""
_HIDDEN = re.compile(r"\..+\.~[0-9a-f]{8}")


def hidden(name: str) -> str:
    """What a release is called while it comes or goes: no release can be called so."""
    return f".{name}.~{secrets.token_hex(4)}"


def is_hidden(name: str) -> bool:
    return _HIDDEN.fullmatch(name) is not None


def sync(top: str) -> None:
    """Returns once every file and directory of it is on the disk. Raises OSError."""
    with ThreadPoolExecutor(_TOGETHER) as threads:
        for _ in threads.map(_sync_one, _everything(top), chunksize=1):
            pass


def sync_directory(path: str) -> None:
    """Raises OSError."""
    _sync_one(path)


def _everything(top: str) -> Iterator[str]:
    for here, _, names in os.walk(top):
        for name in names:
            path = os.path.join(here, name)
            with suppress(FileNotFoundError):
                if stat.S_ISREG(os.lstat(path).st_mode):
                    yield path
        yield here


def _sync_one(path: str) -> None:
    try:
        found = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return  # a build removed it, or does not want it to be read
    try:
        os.fsync(found)
    finally:
        os.close(found)


def remove(top: str) -> None:
    """Removes it as far as possible; what builds made read-only, too."""
    for here, names, _ in os.walk(top):
        for path in (here, *(os.path.join(here, name) for name in names)):
            with suppress(OSError):
                if stat.S_ISDIR(os.lstat(path).st_mode):
                    os.chmod(path, 0o700)
    shutil.rmtree(top, ignore_errors=True)


def sweep(parent: str) -> None:
    """Removes what was interrupted in `parent`; whoever still works there holds a lock."""
    for name in os.listdir(parent):
        if not is_hidden(name):
            continue
        path = os.path.join(parent, name)
        with suppress(OSError):
            found = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(path)
            finally:
                os.close(found)
