"""The tables, and the way from an older version of them to this one."""

from __future__ import annotations

import sqlite3

from reld.errors import StoreError

# One entry per schema version, applied in order. Never edit an entry that was released: append.
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (schema INTEGER NOT NULL)",
        "INSERT INTO meta VALUES (0)",
        "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), json TEXT NOT NULL)",
        """CREATE TABLE snapshots (
            id INTEGER PRIMARY KEY, "release" TEXT NOT NULL, json TEXT NOT NULL)""",
        """CREATE TABLE rollouts (
            id INTEGER PRIMARY KEY, kind TEXT NOT NULL, "from" TEXT, "to" TEXT,
            actor TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, outcome TEXT,
            reason TEXT NOT NULL, receipt TEXT NOT NULL)""",
        """CREATE TABLE audit (
            id INTEGER PRIMARY KEY, time TEXT NOT NULL, uid INTEGER NOT NULL, loginuid INTEGER,
            pid INTEGER NOT NULL, command TEXT NOT NULL, target TEXT NOT NULL,
            outcome TEXT NOT NULL, note TEXT NOT NULL)""",
    ),
    ("CREATE TABLE watches (rollout INTEGER PRIMARY KEY, rows BLOB NOT NULL)",),
)
VERSION = len(_STEPS)


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the tables to VERSION, inside the transaction that the caller began.

    Raises:
        StoreError: the file was written by a newer reld, or is not reld's.
        sqlite3.Error: the disk, or the file, is in trouble.
    """
    found = _version(connection)
    if found > VERSION:
        raise StoreError(
            f"cannot use the state: a newer reld wrote it (schema {found}, this reld knows"
            f" {VERSION})",
            "install that version again; the app goes on serving meanwhile",
        )
    for step in _STEPS[found:]:
        for statement in step:
            connection.execute(statement)
    if found < VERSION:
        connection.execute("UPDATE meta SET schema = ?", (VERSION,))


def _version(connection: sqlite3.Connection) -> int:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return 0
    row = None
    if "meta" in tables:
        row = connection.execute("SELECT schema FROM meta").fetchone()
    if row is None or not isinstance(row[0], int):
        raise StoreError(
            "cannot use the state: the file is a database, but not one of reld's",
            "give reld another --state-dir, or move the file aside",
        )
    return row[0]
