"""A database that cannot be used is put aside, never deleted; a note says so until it is mended."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from reld import durable
from reld.errors import StoreError
from reld.store import codec

log = logging.getLogger("reld.store")

SIDES = ("-wal", "-shm", "-journal")
"""What SQLite puts beside a database."""
_KEPT = 5
"""Backups: the first one, which holds most of the history, and the newest."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What happened, for people, and where what was there is kept. `backups`: oldest first."""

    text: str
    backups: tuple[str, ...] = ()


def names(path: Path, kind: str) -> list[Path]:
    """What was put aside as this `kind`, oldest first."""
    found = path.parent.glob(f"{path.name}.{kind}-*")
    return sorted(p for p in found if not p.name.endswith((*SIDES, ".new")))


def free_name(path: Path, kind: str) -> Path:
    """A name that nothing has: state.db.damaged-20261123T110000Z."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    tries = (f"{path.name}.{kind}-{stamp}{more}" for more in ("", *(f"-{n}" for n in range(2, 99))))
    return next(
        path.with_name(name)
        for name in tries
        if not any(os.path.lexists(path.with_name(name + side)) for side in ("", *SIDES))
    )


def put_aside(path: Path, backup: Path) -> None:
    """Renames the database and what is beside it. Raises OSError.

    The database goes last: a log that is left without it would be taken for the log of the next one.
    """
    for side in (*SIDES, ""):
        there = path.with_name(path.name + side)
        if os.path.lexists(there):
            os.rename(there, backup.with_name(backup.name + side))
    durable.sync_directory(path.parent)
    for old in names(path, "damaged")[1 : 1 - _KEPT]:
        for side in (*SIDES, ""):
            _forget(old.with_name(old.name + side))


def _forget(path: Path) -> None:
    try:
        durable.remove(path)
    except OSError as error:  # a directory, or somebody's: people see it where it is
        log.warning("cannot remove %s: %s", path, error)


def write_note(path: Path, damage: Damage) -> None:
    """Raises OSError."""
    durable.replace(path, json.dumps(codec.encode(damage)).encode() + b"\n")


def read_note(path: Path) -> Damage | None:
    try:
        return codec.loads(Damage, path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, StoreError) as error:
        return Damage(f"the state was damaged before, and so is the note about it ({error})")
