"""Whole directory trees: brought to the disk, and removed."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice

_TOGETHER = 8
"""fsyncs at once: the file system's journal takes them together."""
_FEW = 200
"""Files and directories that are brought to the disk one by one."""
_UNKNOWN = (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP)
"""What syncfs gives where a sandbox or a kernel has none."""
_HIDDEN = re.compile(r"\..+\.~[0-9a-f]{8}")


def hidden(name: str) -> str:
    """What a release is called while it comes or goes: no release can be called so."""
    return f".{name}.~{secrets.token_hex(4)}"


def is_hidden(name: str) -> bool:
    return _HIDDEN.fullmatch(name) is not None


@contextmanager
def opened(path: str) -> Iterator[int]:
    """For reading. Raises OSError."""
    found = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield found
    finally:
        os.close(found)


def sync(found: int, top: str) -> None:
    """Returns once every file and directory of it is on the disk. Raises OSError.

    `found`: it, opened before anything was written, so that no error is missed. Of many files the whole
    file system is told at once: 20,000 fsyncs are that many waits for its journal and for the disk's
    cache. Of a few each is: so nobody waits for what others write.
    """
    few = len(list(islice(_everything(top), _FEW + 1))) <= _FEW
    if not few and _sync_file_system(found):
        return
    with ThreadPoolExecutor(_TOGETHER) as threads:
        for _ in threads.map(_sync_one, _everything(top), chunksize=1):
            pass


def sync_directory(path: str) -> None:
    """Raises OSError."""
    _sync_one(path)


def _sync_file_system(found: int) -> bool:
    """syncfs(2), which `os` does not know. False: there is none. Raises OSError."""
    try:
        import ctypes  # a part of Python that not every build of it has

        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (ImportError, OSError, AttributeError):
        return False
    if call(found) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNKNOWN:
        return False
    raise OSError(number, os.strerror(number))


def _everything(top: str) -> Iterator[str]:
    if not os.path.isdir(top):
        yield top
    for here, _, names in os.walk(top):
        for name in names:
            path = os.path.join(here, name)
            with suppress(FileNotFoundError):
                if stat.S_ISREG(os.lstat(path).st_mode):
                    yield path
        yield here


def _sync_one(path: str) -> None:
    # A build removed it, or does not want it to be read.
    with suppress(FileNotFoundError, PermissionError), opened(path) as found:
        os.fsync(found)


def remove(top: str) -> None:
    """Removes it as far as possible; what builds made read-only, too. A link goes, not what it leads to."""
    if not _is_directory(top):
        with suppress(OSError):
            os.unlink(top)
        return
    with suppress(RecursionError):
        for here, names, _ in os.walk(top):
            for path in (here, *(os.path.join(here, name) for name in names)):
                with suppress(OSError):
                    if _is_directory(path):
                        os.chmod(path, 0o700)
        shutil.rmtree(top, ignore_errors=True)
    if os.path.lexists(top):  # deeper than Python goes down
        with suppress(OSError):
            for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
                subprocess.run([*command, "--", top], capture_output=True, check=False)


def _is_directory(path: str) -> bool:
    with suppress(OSError):
        return stat.S_ISDIR(os.lstat(path).st_mode)
    return False
