"""Which directory a release was started from: the same path may lead to another one later."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from dataclasses import dataclass

_FS_IOC_GETVERSION = 0x80087601  # <linux/fs.h>, where a long has 8 bytes
_LONG = struct.calcsize("l")


@dataclass(frozen=True, slots=True)
class Origin:
    """`generation`: a file system gives an inode's number away again, but counts (ext4, xfs, btrfs); None:
    this one does not tell. `boot`: the device's number is good for one boot only.
    """

    device: int
    inode: int
    generation: int | None
    boot: str


def origin_of(directory: str, boot: str) -> Origin | None:
    """None: it is not there. Blocks."""
    try:
        found = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(found)
        generation = None
        if struct.calcsize("q") == _LONG:
            with contextlib.suppress(OSError):
                raw = fcntl.ioctl(found, _FS_IOC_GETVERSION, bytes(_LONG))
                generation = struct.unpack("i", raw[:4])[0]
        return Origin(status.st_dev, status.st_ino, generation, boot)
    finally:
        os.close(found)


def replaced(then: Origin | None, now: Origin | None) -> bool:
    """Whether it is surely another directory now; of a release of an older reld nobody knows."""
    if then is None or now is None:
        return False
    if then.boot == now.boot and then.device != now.device:
        return True
    known = then.generation is not None and now.generation is not None
    return then.inode != now.inode or (known and then.generation != now.generation)
