"""Databases in the making: complete, and on the disk, before they get their name."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import replace
from pathlib import Path

from reld import durable
from reld.store import aside, content, lane, schema
from reld.store.content import Content

log = logging.getLogger("reld.store")


def make(path: Path, start: Content) -> None:
    """A database that holds this. Raises sqlite3.Error, OSError: then there is none."""
    made = _place_for(path)
    connection = lane.connect(made, "mode=rw")
    try:

        def write() -> None:
            schema.migrate(connection)
            content.write(connection, Content(), start)

        lane.transaction(connection, write)
    finally:
        connection.close()
    _name(made, path)


def back_up(connection: sqlite3.Connection, path: Path, was: int) -> None:
    """Before a migration: the database as the older reld can read it.

    The way back to that reld: put it in the place of state.db and remove state.json.
    """
    backup = aside.free_name(path, f"schema-{was}")
    made = _place_for(backup)
    connection.execute("VACUUM INTO ?", (str(made),))
    _name(made, backup)
    log.warning("the state is of schema %d: it is kept as %s, then migrated", was, backup)


def migrate(connection: sqlite3.Connection, was: int) -> None:
    """From schema `was` (0: an empty file), inside the caller's transaction."""
    if was == schema.VERSION:
        return
    found = content.read(connection)
    schema.migrate(connection)
    content.write(connection, found, replace(found, sequence=found.sequence + min(was, 1)))


def _place_for(path: Path) -> Path:
    made = path.with_name(f"{path.name}.new")
    for side in ("", *aside.SIDES):
        durable.remove(made.with_name(made.name + side))
    lane.create_private(made)
    return made


def _name(made: Path, path: Path) -> None:
    durable.sync(made)
    durable.put(made, path)
