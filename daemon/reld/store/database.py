"""The store: SQLite with one writer and one reader, each in a thread of its own.

WAL lets the reader look while the writer waits for the disk; synchronous=FULL makes `save` mean
saved. The state and the receipts that belong to it are written in one transaction: after a crash
the file holds the last saved state or the one before, never a mixture.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from reld.core.model import State
from reld.errors import StoreError
from reld.store import codec, lane, schema
from reld.store.lane import Lane
from reld.store.rows import AuditRow, RolloutRow, WatchRow

_AUDIT_ROWS = 100_000  # a caller who is refused again and again must not fill the disk
_WATCHES = 50
"""Rollouts whose counts are kept for `relctl replay`."""
_HISTORY = 'SELECT id, kind, "from", "to", actor, outcome, reason, started, ended FROM rollouts'
_PRUNE_WATCHES = (
    "DELETE FROM watches WHERE rollout NOT IN"
    " (SELECT rollout FROM watches ORDER BY rollout DESC LIMIT ?)"
)
_HISTORY_KEYS = ("id", "kind", "from", "to", "actor", "outcome", "reason", "started", "ended")


class Store:
    """Every method may raise StoreError: what cannot be done, why, and what to do."""

    def __init__(self, path: Path, writer: Lane, reader: Lane) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader

    @classmethod
    async def open(cls, path: Path) -> Store:
        """Opens the file, or makes it (mode 0600), and brings its tables to this version."""
        writer, reader = Lane(path, "store-write"), Lane(path, "store-read")

        def prepare(connection: sqlite3.Connection) -> None:
            lane.for_writing(connection)
            lane.check(connection, path)
            _transaction(connection, lambda: schema.migrate(connection))

        # The file must exist before SQLite would make it with the umask's mode.
        await asyncio.to_thread(lane.create_private, path)
        await writer.open(prepare)
        try:
            await reader.open(lane.for_reading)
        except BaseException:
            await writer.close()
            raise
        return cls(path, writer, reader)

    async def load_state(self) -> State | None:
        """The state that was saved last; None: none was ever saved."""

        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT json FROM state").fetchone()
            return None if row is None else str(row[0])

        text = await self._writer.run(work, "read the state")
        return None if text is None else codec.loads(State, text)

    async def save(
        self,
        state: State,
        receipts: Sequence[RolloutRow] = (),
        watches: Sequence[WatchRow] = (),
    ) -> None:
        """Saves all or nothing; when it returns they are on the disk.

        Of the watches only those of the newest 50 rollouts are kept.
        """

        def work(connection: sqlite3.Connection) -> None:
            # Encoded here, in the writer's thread: both values are frozen.
            text = codec.dumps(state)
            rows = [_rollout_columns(row) for row in receipts]
            counted = [(watch.rollout, zlib.compress(watch.rows)) for watch in watches]

            def write() -> None:
                connection.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (text,))
                connection.executemany(
                    "INSERT OR REPLACE INTO rollouts VALUES (?,?,?,?,?,?,?,?,?,?)", rows
                )
                if counted:
                    connection.executemany("INSERT OR REPLACE INTO watches VALUES (?,?)", counted)
                    connection.execute(_PRUNE_WATCHES, (_WATCHES,))

            _transaction(connection, write)

        await self._writer.run(work, "save the state")

    async def put_snapshot(self, number: int, release: str, data: Mapping[str, Any]) -> None:
        """Keeps what a release was started with; an older one of this number is replaced."""
        text = _json(data, "save the snapshot")

        def work(connection: sqlite3.Connection) -> None:
            statement = "INSERT OR REPLACE INTO snapshots VALUES (?,?,?)"
            _transaction(connection, lambda: connection.execute(statement, (number, release, text)))

        await self._writer.run(work, "save the snapshot")

    async def snapshot(self, number: int) -> dict[str, Any] | None:
        def work(connection: sqlite3.Connection) -> Any:
            found = connection.execute(
                "SELECT json FROM snapshots WHERE id = ?", (number,)
            ).fetchone()
            return None if found is None else json.loads(found[0])

        found = await self._reader.run(work, "read the snapshot")
        return None if found is None else dict(found)

    async def drop_snapshots(self, keep: Collection[int]) -> None:
        """Removes every snapshot but those in `keep`."""

        def work(connection: sqlite3.Connection) -> None:
            def write() -> None:
                known = [row[0] for row in connection.execute("SELECT id FROM snapshots")]
                gone = [(number,) for number in known if number not in keep]
                connection.executemany("DELETE FROM snapshots WHERE id = ?", gone)

            _transaction(connection, write)

        await self._writer.run(work, "drop snapshots")

    async def rollouts(self, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` rollouts, newest first, with the keys of GET /v1/rollouts."""

        def work(connection: sqlite3.Connection) -> list[dict[str, Any]]:
            rows = connection.execute(f"{_HISTORY} ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
            return [dict(zip(_HISTORY_KEYS, row, strict=True)) for row in rows]

        return await self._reader.run(work, "read the history")

    async def rollout(self, number: int) -> dict[str, Any] | None:
        """The receipt of a rollout; None: there is none."""

        def work(connection: sqlite3.Connection) -> Any:
            statement = "SELECT receipt FROM rollouts WHERE id = ?"
            found = connection.execute(statement, (number,)).fetchone()
            return None if found is None else json.loads(found[0])

        found = await self._reader.run(work, "read the receipt")
        return None if found is None else dict(found)

    async def watch(self, rollout: int) -> bytes | None:
        """The JSON lines that were counted during a rollout; None: they are not kept."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            statement = "SELECT rows FROM watches WHERE rollout = ?"
            found = connection.execute(statement, (rollout,)).fetchone()
            return None if found is None else _expanded(found[0], rollout)

        return await self._reader.run(work, "read the counts")

    async def audit(self, row: AuditRow) -> None:
        """Appends to the audit; only the newest 100,000 rows are kept."""
        values = (
            row.time,
            row.uid,
            row.login_uid,
            row.pid,
            row.command,
            row.target,
            row.outcome,
            row.note,
        )

        def work(connection: sqlite3.Connection) -> None:
            def write() -> None:
                done = connection.execute("INSERT INTO audit VALUES (NULL,?,?,?,?,?,?,?,?)", values)
                oldest = (done.lastrowid or 0) - _AUDIT_ROWS
                connection.execute("DELETE FROM audit WHERE id <= ?", (oldest,))

            _transaction(connection, write)

        await self._writer.run(work, "write the audit")

    async def audits(self, limit: int) -> list[AuditRow]:
        """The newest `limit` rows of the audit, newest first."""

        def work(connection: sqlite3.Connection) -> list[AuditRow]:
            rows = connection.execute(
                "SELECT time, uid, loginuid, pid, command, target, outcome, note"
                " FROM audit ORDER BY id DESC LIMIT ?",
                (limit,),
            ).fetchall()
            return [AuditRow(*row) for row in rows]

        return await self._reader.run(work, "read the audit")

    async def close(self) -> None:
        """Waits for what is queued, then closes both connections."""
        try:
            await self._reader.close()
        finally:
            await self._writer.close()


def _transaction(connection: sqlite3.Connection, write: Callable[[], object]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        write()
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have ended the transaction already; the first error is the one to tell.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _rollout_columns(row: RolloutRow) -> tuple[object, ...]:
    return (
        row.id,
        row.kind,
        row.from_,
        row.to,
        row.actor,
        row.started,
        row.ended,
        row.outcome,
        row.reason,
        _json(row.receipt, "save the receipt"),
    )


def _expanded(packed: bytes, rollout: int) -> bytes:
    try:
        return zlib.decompress(packed)
    except zlib.error as error:
        raise StoreError(f"cannot read the counts of rollout {rollout}: {error}") from error


def _json(data: Mapping[str, Any], doing: str) -> str:
    try:
        return json.dumps(data, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"cannot {doing}: {error}") from error
