"""The store: SQLite with one writer and one reader, each in a thread of its own, and a copy beside it.

WAL lets the reader look while the writer waits for the disk; synchronous=FULL makes `save` mean
saved. The state and the receipts that belong to it are written in one transaction: after a crash
the file holds the last saved state or the one before, never a mixture. What becomes of a database
that is damaged or out of reach is in `keeper`.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from reld.core.model import State
from reld.errors import StoreError
from reld.store import codec, lane
from reld.store.content import Content
from reld.store.keeper import Keeper
from reld.store.lane import Lane
from reld.store.rows import (
    AUDIT_COLUMNS,
    ROLLOUT_COLUMNS,
    AuditRow,
    RolloutRow,
    WatchRow,
    as_json,
)
from reld.store.salvage import Mended

log = logging.getLogger("reld.store")

_T = TypeVar("_T")
_AUDIT_ROWS = 50_000
"""Rows of each outcome: who is refused again and again fills no disk, nor removes what was done."""
_THINNED_EVERY = 256  # rows
_AUDITED = ("accepted", "refused", "error")
_WATCHES = 50
"""Rollouts whose counts are kept for `relctl replay`."""
_HISTORY = (
    'SELECT id, kind, "from", "to", actor, outcome, reason, started, ended,'
    " CASE WHEN json_valid(receipt) THEN json_extract(receipt, '$.turned_away') END FROM rollouts"
)
_PRUNE_WATCHES = (
    "DELETE FROM watches WHERE rollout NOT IN"
    " (SELECT rollout FROM watches ORDER BY rollout DESC LIMIT ?)"
)
HISTORY_KEYS = (
    *("id", "kind", "from", "to", "actor", "outcome", "reason", "started", "ended"),
    "turned_away",
)


class Store:
    """Every method may raise StoreError: what cannot be done, why, and what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = Lane(path, "store-write")
        self._reader = Lane(path, "store-read")
        self._keeper = Keeper(path, self._writer)
        self._read_from = -1
        self._reads_read_only = False

    @classmethod
    async def open(cls, path: Path) -> Store:
        """Opens the file, or makes it (mode 0600), and brings its tables to this version.

        A file that is damaged is replaced, one that is out of reach is waited for: see `damage` and
        `keeper`. Raises StoreError only where a newer reld wrote it, or nothing at all is known and
        nothing can be made.
        """
        store = cls(path)
        try:
            await store._write(store._keeper.open, "open the state")
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def damage(self) -> str:
        """What happened to the database and what to do, for people; empty = nothing."""
        return self._keeper.told

    async def mend(self) -> Mended:
        """A person has seen the damage: history comes back as far as it can be read."""
        return await self._write(self._keeper.mend, "mend the state")

    async def told_more(self, text: str) -> None:
        """Adds a sentence to `damage`, until it is mended."""
        await self._write(lambda: self._keeper.told_more(text), "note the damage")

    async def newest_rollout(self) -> int:
        """The highest number that is known, also of a database that was put aside; 0: none."""
        return await self._write(self._keeper.newest_rollout, "read the history")

    async def load_state(self) -> State | None:
        """The state that was saved last; None: none was ever saved."""
        text = self._keeper.content.state
        return None if text is None else codec.loads(State, text)

    async def save(
        self,
        state: State,
        receipts: Sequence[RolloutRow] = (),
        watches: Sequence[WatchRow] = (),
    ) -> None:
        """Saves all or nothing; when it returns they are on the disk, the state twice.

        Of the watches only those of the newest 50 rollouts are kept.
        """

        def work() -> None:
            # Encoded here, in the writer's thread: both values are frozen.
            text = codec.dumps(state)
            rows = [row.columns() for row in receipts]
            counted = [(watch.rollout, zlib.compress(watch.rows)) for watch in watches]

            def write(connection: sqlite3.Connection) -> None:
                marks = ",".join("?" * 11)
                into = f"INSERT OR REPLACE INTO rollouts ({ROLLOUT_COLUMNS}, sum) VALUES ({marks})"  # noqa: S608
                connection.executemany(into, rows)
                if counted:
                    connection.executemany("INSERT OR REPLACE INTO watches VALUES (?,?)", counted)
                    connection.execute(_PRUNE_WATCHES, (_WATCHES,))

            self._keeper.save(lambda known: replace(known, state=text), write)

        await self._write(work, "save the state")

    async def prove(self) -> None:
        """Saves what is saved already: does the disk take it?"""
        await self._write(
            lambda: self._keeper.save(lambda known: known, _nothing_else), "save the state"
        )

    async def put_snapshot(self, number: int, release: str, data: Mapping[str, Any]) -> None:
        """Keeps what a release was started with; an older one of this number is replaced."""
        text = as_json(data, "save the snapshot")

        def more(known: Content) -> Content:
            return replace(known, snapshots={**known.snapshots, number: (release, text)})

        await self._write(lambda: self._keeper.save(more, _nothing_else), "save the snapshot")

    async def snapshot(self, number: int) -> dict[str, Any] | None:
        found = self._keeper.content.snapshots.get(number)
        return None if found is None else dict(json.loads(found[1]))

    async def drop_snapshots(self, keep: Collection[int]) -> None:
        """Removes every snapshot but those in `keep`."""

        def less(known: Content) -> Content:
            kept = {n: snapshot for n, snapshot in known.snapshots.items() if n in keep}
            return replace(known, snapshots=kept)

        await self._write(lambda: self._keeper.save(less, _nothing_else), "drop snapshots")

    async def rollouts(self, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` rollouts, newest first, with the keys of GET /v1/rollouts."""

        def work(connection: sqlite3.Connection) -> list[dict[str, Any]]:
            rows = connection.execute(f"{_HISTORY} ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
            return [dict(zip(HISTORY_KEYS, row, strict=True)) for row in rows]

        return await self._reader.run(work, "read the history")

    async def rollout(self, number: int) -> dict[str, Any] | None:
        """The receipt of a rollout; None: there is none."""

        def work(connection: sqlite3.Connection) -> Any:
            statement = "SELECT receipt FROM rollouts WHERE id = ?"
            found = connection.execute(statement, (number,)).fetchone()
            return None if found is None else json.loads(found[0])

        found = await self._reader.run(work, "read the receipt")
        return None if found is None else dict(found)

    async def outcomes(self) -> dict[tuple[str, str], int]:
        """How many rollouts ended, by kind and outcome."""

        def work(connection: sqlite3.Connection) -> dict[tuple[str, str], int]:
            statement = "SELECT kind, outcome, count(*) FROM rollouts GROUP BY kind, outcome"
            return {(str(k), str(o)): n for k, o, n in connection.execute(statement)}

        return await self._reader.run(work, "count the rollouts")

    async def watch(self, rollout: int) -> bytes | None:
        """The JSON lines that were counted during a rollout; None: they are not kept."""

        def work(connection: sqlite3.Connection) -> bytes | None:
            statement = "SELECT rows FROM watches WHERE rollout = ?"
            found = connection.execute(statement, (rollout,)).fetchone()
            return None if found is None else _expanded(found[0], rollout)

        return await self._reader.run(work, "read the counts")

    async def audit(self, *rows: AuditRow) -> None:
        """Appends to the audit; of each outcome about the newest 50,000 rows are kept."""

        def work(connection: sqlite3.Connection) -> None:
            def write() -> None:
                marks = ",".join("?" * len(AUDIT_COLUMNS.split(",")))
                into = f"INSERT INTO audit ({AUDIT_COLUMNS}) VALUES ({marks})"  # noqa: S608
                for row in rows:
                    done = connection.execute(into, row.columns())
                    if (done.lastrowid or 0) % _THINNED_EVERY == 0:
                        _thin(connection)

            lane.transaction(connection, write)

        await self._writer.run(work, "write the audit")

    async def audits(self, limit: int) -> list[AuditRow]:
        """The newest `limit` rows of the audit, newest first."""

        def work(connection: sqlite3.Connection) -> list[AuditRow]:
            statement = f"SELECT {AUDIT_COLUMNS} FROM audit ORDER BY id DESC LIMIT ?"  # noqa: S608
            return [AuditRow(*row) for row in connection.execute(statement, (limit,)).fetchall()]

        return await self._reader.run(work, "read the audit")

    async def close(self) -> None:
        """Waits for what is queued, then closes both connections."""
        try:
            await self._reader.close()
        finally:
            await self._writer.close()

    async def _write(self, call: Callable[[], _T], doing: str) -> _T:
        if self._reads_read_only and not _read_only(self.path):
            # SQLite would share the reader's index, which may not be written, with the writer.
            await self._reader.do(self._reader.disconnect, doing)
            self._read_from = -1
        try:
            return await self._writer.do(call, doing)
        finally:
            if self._read_from != self._keeper.opened:  # also when only the copy was not written
                await self._open_reader()

    async def _open_reader(self) -> None:
        """Reads come from the database that is written; while there is none, from what is there."""
        self._read_from = self._keeper.opened
        self._reads_read_only = _read_only(self.path)
        for immutable in (False, True):
            try:
                await self._reader.open(lane.for_reading, immutable=immutable)
            except StoreError as error:
                log.warning("%s", error.message)
            else:
                return


def _read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _nothing_else(_: sqlite3.Connection) -> None:
    pass


def _expanded(packed: bytes, rollout: int) -> bytes:
    try:
        return zlib.decompress(packed)
    except (zlib.error, TypeError) as error:
        raise StoreError(f"cannot read the counts of rollout {rollout}: {error}") from error


def _thin(connection: sqlite3.Connection) -> None:
    last = "SELECT id FROM audit WHERE outcome = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
    for outcome in _AUDITED:
        connection.execute(
            f"DELETE FROM audit WHERE outcome = ? AND id <= ({last})",  # noqa: S608
            (outcome, outcome, _AUDIT_ROWS),
        )
