"""`relctl rollback --offline`: the rename that reld itself would do, for the hour when it cannot.

The gate reads lanes/ROLLOUT/current/LANE for each request, so a symlink to the directory of share 0,
renamed over `current`, sends the very next request to the live slot. No daemon, no database, no reload.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from relctl.errors import FAILED, NOT_PERMITTED, CtlError


@dataclass(frozen=True, slots=True)
class Moved:
    """What the rename did: `before` is the share that the candidate had, in percent."""

    rollout: int
    before: str


def take_back(runtime: str) -> Moved:
    """Lets no lane of the newest rollout lead to its candidate any more.

    Args:
        runtime: reld's runtime directory of the app.

    Raises:
        CtlError: there are no lanes, or they belong to somebody else.
    """
    lanes = os.path.join(runtime, "lanes")
    try:
        newest = _newest(lanes)
        return _move(os.path.join(lanes, str(newest)), newest)
    except FileNotFoundError:
        raise CtlError(
            f"cannot go back offline: there is no rollout in {lanes}, so all traffic is on the "
            "live slot already",
            FAILED,
            "no-lanes",
            "sudo systemctl start reld@APP, then relctl rollback",
        ) from None
    except PermissionError:
        raise CtlError(
            f"cannot go back offline: {lanes} belongs to root or to reld's user",
            NOT_PERMITTED,
            "not-permitted",
            "sudo relctl rollback --offline",
        ) from None
    except OSError as error:
        raise CtlError(
            f"cannot go back offline: {error.filename or lanes}: {error.strerror}",
            FAILED,
            "rename-failed",
            f"ls -l {lanes}",
        ) from None


def _newest(lanes: str) -> int:
    rollouts = [int(name) for name in os.listdir(lanes) if name.isdecimal()]
    if not rollouts:
        raise FileNotFoundError
    return max(rollouts)


def _move(directory: str, rollout: int) -> Moved:
    """`back` is a symlink to share 0 that reld prepared: renaming it needs no new inode."""
    current = os.path.join(directory, "current")
    before = os.path.basename(os.readlink(current)) if os.path.islink(current) else "0"
    back = os.path.join(directory, "back")
    if not os.path.islink(back):
        zero = os.path.join(directory, "000")
        if not os.path.isdir(zero):
            os.mkdir(zero)
            os.chmod(zero, 0o755)  # noqa: S103  nginx's workers are another user
        os.symlink("000", back)
    os.rename(back, current)
    with suppress(FileNotFoundError):  # before any lane: the requests that were copied to it
        os.unlink(os.path.join(directory, "shadow"))
    return Moved(rollout, str(int(before)))
