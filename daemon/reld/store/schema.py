"""The tables, and the way from an older version of them to this one."""

from __future__ import annotations

import sqlite3

from reld.store.trouble import Damaged, Newer

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
    (
        "ALTER TABLE meta ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE meta ADD COLUMN sum TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE rollouts ADD COLUMN sum TEXT NOT NULL DEFAULT ''",
    ),
    (
        *(
            f"ALTER TABLE audit ADD COLUMN {column} TEXT NOT NULL DEFAULT '{default}'"
            for column, default in (
                ("name", ""),
                ("login", ""),
                ("arguments", "{}"),
                ("code", ""),
                ("told", ""),
            )
        ),
        "ALTER TABLE audit ADD COLUMN rollout INTEGER",
        "UPDATE audit SET told = note, note = ''",
        "CREATE INDEX audit_by_outcome ON audit (outcome, id)",
    ),
)
VERSION = len(_STEPS)


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the tables to VERSION, inside the transaction that the caller began.

    Raises:
        Newer: the file was written by a newer reld.
        Damaged: it is not one of reld's.
        sqlite3.Error: the disk, or the file, is in trouble.
    """
    found = version(connection)
    if found > VERSION:
        raise newer(found)
    for step in _STEPS[found:]:
        for statement in step:
            connection.execute(statement)
    if found < VERSION:
        connection.execute("UPDATE meta SET schema = ?", (VERSION,))


def newer(found: int) -> Newer:
    return Newer(
        f"cannot use the state: a newer reld wrote it (schema {found}, this reld knows {VERSION})",
        "install that version again; the app goes on serving meanwhile",
    )


def version(connection: sqlite3.Connection) -> int:
    """The schema of the file; 0: it is empty. Raises Damaged where it is not one of reld's."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return 0
    row = None
    if "meta" in tables:
        row = connection.execute("SELECT schema FROM meta").fetchone()
    if row is None or not isinstance(row[0], int) or row[0] < 1:
        raise Damaged("is a database, but not one of reld's")
    return row[0]
