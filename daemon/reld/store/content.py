"""What must never be lost: the state, and the snapshots that a crash restart needs.

It is kept twice, in the database and in the copy beside it. Each has the number of the save and a sum
over everything, so that an older one, a torn one and a flipped bit are all seen: SQLite itself takes a
log whose end is damaged for a log that ends earlier, and checks no content at all.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reld.core.model import State
from reld.errors import StoreError
from reld.store import codec, schema
from reld.store.rows import ROLLOUT_COLUMNS, rollout_sum
from reld.store.trouble import Damaged

_SUMMED = 3
"""The schema from which on there are sums."""


@dataclass(frozen=True, slots=True)
class Content:
    """`sequence`: how many saves there were. `snapshots`: by number, release and JSON text."""

    sequence: int = 0
    state: str | None = None
    snapshots: Mapping[int, tuple[str, str]] = field(default_factory=dict)

    def sum(self) -> str:
        parts = [str(self.sequence), "-" if self.state is None else f"+{self.state}"]
        for number, (release, text) in sorted(self.snapshots.items()):
            parts += [str(number), release, text]
        return total(parts)


def total(parts: Iterable[str]) -> str:
    """A sum that any damage changes; it is no proof against malice."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def read(connection: sqlite3.Connection) -> Content:
    """What the database holds, of any schema that this reld knows.

    Raises:
        Damaged: the sum does not fit, or a value cannot be what was written.
        sqlite3.Error: the file or the disk is in trouble.
    """
    version = schema.version(connection)
    if version == 0:
        return Content()
    try:
        found = _read(connection, summed=version >= _SUMMED)
    except (ValueError, TypeError, OverflowError) as error:
        raise Damaged(f"is damaged ({error})") from error
    if version < _SUMMED:
        _must_decode(found)
    return found


def _read(connection: sqlite3.Connection, *, summed: bool) -> Content:
    row = connection.execute("SELECT json FROM state").fetchone()
    snapshots = connection.execute('SELECT id, "release", json FROM snapshots').fetchall()
    sequence, said = 0, ""
    if summed:
        sequence, said = connection.execute("SELECT sequence, sum FROM meta").fetchone()
    found = Content(
        int(sequence),
        None if row is None else _text(row[0]),
        {int(number): (_text(release), _text(text)) for number, release, text in snapshots},
    )
    if summed and said != found.sum():
        raise Damaged("is damaged (the state in it is not what was written)")
    return found


def check_history(connection: sqlite3.Connection) -> None:
    """Raises Damaged for a rollout that is not what was written."""
    for *columns, said in connection.execute(f"SELECT {ROLLOUT_COLUMNS}, sum FROM rollouts"):  # noqa: S608
        if said and said != rollout_sum(columns):
            raise Damaged(f"is damaged (rollout {columns[0]} is not what was written)")


def write(connection: sqlite3.Connection, before: Content, after: Content) -> None:
    """Brings the tables from one content to another, inside the caller's transaction."""
    if after.state is not None and after.state != before.state:
        connection.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (after.state,))
    gone = [(number,) for number in before.snapshots if number not in after.snapshots]
    connection.executemany("DELETE FROM snapshots WHERE id = ?", gone)
    new = [
        (number, *snapshot)
        for number, snapshot in after.snapshots.items()
        if before.snapshots.get(number) != snapshot
    ]
    connection.executemany("INSERT OR REPLACE INTO snapshots VALUES (?,?,?)", new)
    connection.execute("UPDATE meta SET sequence = ?, sum = ?", (after.sequence, after.sum()))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text where text was written")
    return value


def _must_decode(found: Content) -> None:
    """Older schemas have no sums: the strict codec has to do."""
    if found.state is None:
        return
    try:
        codec.loads(State, found.state)
    except StoreError as error:
        raise Damaged(f"is damaged ({error.message})") from error
