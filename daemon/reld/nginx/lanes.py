"""Lanes: the candidate's share of the traffic, moved by one rename on tmpfs.

    RUNTIME/lanes/ROLLOUT/005/{00,01,02,03,04}   a directory per share, one empty file per lane
    RUNTIME/lanes/ROLLOUT/current -> 005         what nginx tests; nothing there = all to live
    RUNTIME/lanes/ROLLOUT/back -> 000            prepared, so that going back needs no new inode
    RUNTIME/lanes/ROLLOUT/noshield               the shield is off while this file is there
    RUNTIME/lanes/ROLLOUT/shadow                 some of live's GETs are mirrored while it is there

Standard library only and no state: it works without a daemon, a database or a disk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

LANES = 100


def directory(runtime: Path, rollout: int) -> Path:
    return runtime / "lanes" / str(rollout)


def prepare(runtime: Path, rollout: int, shares: Iterable[int] = ()) -> None:
    """Makes a rollout's directory with what going back and promoting in full need, at share 0.

    `shares`: further ones that are known already, so that moving to them costs a rename only.
    A share that is there stays. Raises OSError.
    """
    home = directory(runtime, rollout)
    for path in (home.parent, home):
        path.mkdir(parents=True, exist_ok=True)
        # nginx's workers are another user, and the umask is not ours to know.
        path.chmod(0o755)
    for share in {0, LANES, *shares}:
        _share_directory(home, share)
    _prepare_back(home)
    if not os.path.lexists(home / "current"):
        move_now(runtime, rollout, 0)


def mend(runtime: Path, rollout: int) -> None:
    """Lanes that somebody removed or made unreadable for nginx's workers. Raises OSError."""
    home = directory(runtime, rollout)
    if not home.is_dir():
        prepare(runtime, rollout)
    for path in (home.parent, home, *home.glob("[0-9][0-9][0-9]")):
        if path.stat().st_mode & 0o055 != 0o055:
            path.chmod(0o755)


def move_now(runtime: Path, rollout: int, share: int) -> None:
    """The next request obeys.

    Raises OSError when the rename is not possible, ValueError for a share outside 0…100.
    """
    home = directory(runtime, rollout)
    if not 0 <= share <= LANES:
        raise ValueError(f"a share is 0 to {LANES} lanes: {share}")
    if share == 0:
        if not home.is_dir():
            return  # nothing there is everything to live
        with contextlib.suppress(FileNotFoundError):
            os.rename(home / "back", home / "current")
            _prepare_back(home)
            shadow_off(runtime, rollout)
            return
    shadow_off(runtime, rollout)
    _share_directory(home, share)
    waiting = home / f"next-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        waiting.unlink()
    waiting.symlink_to(f"{share:03d}")
    os.rename(waiting, home / "current")


def share(runtime: Path, rollout: int) -> int | None:
    """What is there now; None when this rollout has no lanes (everything goes to live)."""
    try:
        return int(os.readlink(directory(runtime, rollout) / "current"))
    except (OSError, ValueError):
        return None


def rollouts(runtime: Path) -> tuple[int, ...]:
    """The rollouts that have lanes, oldest first."""
    try:
        names = os.listdir(runtime / "lanes")
    except FileNotFoundError:
        return ()
    return tuple(sorted(int(name) for name in names if name.isdecimal()))


def remove(runtime: Path, rollout: int) -> None:
    """Only when no worker is left of a generation that named them. Not there: fine."""
    shutil.rmtree(directory(runtime, rollout), ignore_errors=True)


def shield_off(runtime: Path, rollout: int) -> None:
    (directory(runtime, rollout) / "noshield").touch(mode=0o644)


def shield_on(runtime: Path, rollout: int) -> None:
    (directory(runtime, rollout) / "noshield").unlink(missing_ok=True)


def shadow_on(runtime: Path, rollout: int) -> None:
    """Never beside lanes: `move_now` ends it. Raises OSError."""
    (directory(runtime, rollout) / "shadow").touch(mode=0o644)


def shadow_off(runtime: Path, rollout: int) -> None:
    (directory(runtime, rollout) / "shadow").unlink(missing_ok=True)


def shadow_is_on(runtime: Path, rollout: int) -> bool:
    return (directory(runtime, rollout) / "shadow").exists()


def _share_directory(home: Path, share: int) -> None:
    wanted = home / f"{share:03d}"
    if wanted.is_dir():
        return
    # Complete before it has its name: a reader never meets half a share.
    made = home / f"making-{os.getpid()}-{share:03d}"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(mode=0o755)
    made.chmod(0o755)
    for lane in range(share):
        os.close(os.open(made / f"{lane:02d}", os.O_CREAT | os.O_WRONLY, 0o644))
    os.rename(made, wanted)


def _prepare_back(home: Path) -> None:
    # Best effort: without it going back makes the link when it needs it.
    with contextlib.suppress(OSError):
        (home / "back").symlink_to("000")
