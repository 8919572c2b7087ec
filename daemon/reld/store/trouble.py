"""What an SQLite error means for a person, and whether it is the file's fault."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from reld.errors import StoreError

_FULL = {sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DENIED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_AROUND = {
    *(_FULL | _BUSY | _DENIED),
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_MISUSE,
}
"""Errors of the disk, the machine or the caller: the file itself may be whole."""


class Damaged(StoreError):
    """What is in the file is not what was written. The message completes the file's name."""


class Newer(StoreError):
    """A newer reld wrote it."""


def kind(error: sqlite3.Error) -> int | None:
    """The low byte is the kind of error, the rest its detail (https://sqlite.org/rescode.html)."""
    extended = getattr(error, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    return kind(error) in _DAMAGED


def is_damage_on_opening(error: sqlite3.Error, path: Path) -> bool:
    """A table that is gone or text that is none, too: our own statements are right."""
    if kind(error) == sqlite3.SQLITE_READONLY:
        return _says_read_only(path)
    return kind(error) not in _AROUND


def _says_read_only(path: Path) -> bool:
    """Bytes 18 and 19 are 1 or 2; SQLite takes more for a format that it may only read."""
    try:
        with path.open("rb") as file:
            return max(file.read(20)[18:], default=0) > 2
    except OSError:
        return False


def explain(error: sqlite3.Error, path: Path, doing: str) -> StoreError:
    """The StoreError for `error`; `doing` completes "cannot …", for instance "save the state"."""
    code = kind(error)
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
        hint = "relctl mend; the app goes on serving meanwhile"
    elif code in _DENIED:
        why = f"{path} cannot be opened for writing ({error})"
        hint = f"look at the owner and mode: ls -l {path.parent}"
    else:
        why, hint = f"{path}: {error}", "see reld's log"
    return StoreError(f"cannot {doing}: {why}", hint)


def explain_os(error: OSError, path: Path, doing: str) -> StoreError:
    """The same for a file of our own."""
    where = error.filename or path
    why = f"{where}: {error.strerror or error}"
    return StoreError(f"cannot {doing}: {why}", f"look at {path.parent}: df -h, ls -ld, dmesg")
