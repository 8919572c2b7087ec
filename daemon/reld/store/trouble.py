"""What an SQLite error means for a person."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from reld.errors import StoreError

_FULL = {sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DENIED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}


def explain(error: sqlite3.Error, path: Path, doing: str) -> StoreError:
    """The StoreError for `error`; `doing` completes "cannot …", for instance "save the state"."""
    # The low byte is the kind of error, the rest its detail (https://sqlite.org/rescode.html).
    extended = getattr(error, "sqlite_errorcode", None)
    code = None if extended is None else extended & 0xFF
    if code in _FULL:
        why, hint = "the disk is full", f"free some space: df -h {path.parent}"
    elif code == sqlite3.SQLITE_IOERR:
        why = f"the disk answers with an error ({error})"
        hint = f"look at the disk of {path.parent}: df -h, dmesg"
    elif code in _BUSY:
        why = f"another process holds {path}"
        hint = f"is a second reld running for this app? fuser -v {path}"
    elif code in _DAMAGED:
        why = f"{path} is damaged ({error})"
        hint = "put a backup in its place, or move it aside; the app goes on serving meanwhile"
    elif code in _DENIED:
        why = f"{path} cannot be opened for writing ({error})"
        hint = f"look at the owner and mode: ls -l {path.parent}"
    else:
        why, hint = f"{path}: {error}", "see reld's log"
    return StoreError(f"cannot {doing}: {why}", hint)


def damaged(path: Path, finding: str) -> StoreError:
    """`PRAGMA quick_check` found something."""
    return StoreError(
        f"cannot open the state: {path} is damaged ({finding})",
        "put a backup in its place, or move it aside; the app goes on serving meanwhile",
    )
