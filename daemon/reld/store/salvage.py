"""What a database that was put aside still gives. Nothing is ever written to it."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reld.errors import StoreError
from reld.store import content as contents
from reld.store import lane
from reld.store.content import Content
from reld.store.rows import AUDIT_COLUMNS, ROLLOUT_COLUMNS, rollout_sum

log = logging.getLogger("reld.store")

_Row = tuple[Any, ...]
_OLD_AUDIT = (
    "id, time, uid, '', loginuid, '', pid, command, target, '{}', '', outcome, '', note, NULL"
)
"""The columns of AUDIT_COLUMNS as schema 1 to 3 had them."""


@dataclass(frozen=True, slots=True)
class Mended:
    """What came back, and from where."""

    rollouts: int = 0
    audit: int = 0
    backups: tuple[str, ...] = ()


def content(path: Path) -> Content | None:
    """The state in it, where its sum fits; None: there is none that can be trusted."""
    for connection in _opened(path):
        with contextlib.suppress(sqlite3.Error, StoreError):
            found = contents.read(connection)
            if found.state is not None:
                return found
    return None


def newest_rollout(paths: Iterable[Path]) -> int:
    """The highest number of a rollout in them; 0: none."""
    numbers = [0]
    for path in paths:
        numbers += [row[0] for row in _rollouts(path)]
    return max(numbers)


def history(connection: sqlite3.Connection, backups: Sequence[Path]) -> Mended:
    """Copies receipts, counts and audit into the database. Raises sqlite3.Error."""
    rollouts: dict[int, _Row] = {}
    watches: dict[int, _Row] = {}
    audit: dict[_Row, None] = {}
    for backup in backups:
        rollouts |= {row[0]: row for row in _rollouts(backup)}
        watches |= {row[0]: row for row in _rows(backup, "rollout, rows", "watches")}
        audit |= dict.fromkeys(_audit(backup))

    def write() -> int:
        before = connection.total_changes
        marks = ",".join("?" * 11)
        into = f"INSERT OR IGNORE INTO rollouts ({ROLLOUT_COLUMNS}, sum) VALUES ({marks})"  # noqa: S608
        connection.executemany(into, [(*row, rollout_sum(row)) for row in rollouts.values()])
        came = connection.total_changes - before
        connection.executemany("INSERT OR IGNORE INTO watches VALUES (?,?)", watches.values())
        return came

    def audits() -> int:
        # They are older than what is there, and their numbers say the order.
        there = connection.execute(f"SELECT {AUDIT_COLUMNS} FROM audit ORDER BY id").fetchall()  # noqa: S608
        known = set(there)
        old = [row for row in audit if row not in known]
        if old:
            connection.execute("DELETE FROM audit")
            marks = ",".join("?" * len(AUDIT_COLUMNS.split(",")))
            into = f"INSERT OR IGNORE INTO audit ({AUDIT_COLUMNS}) VALUES ({marks})"  # noqa: S608
            connection.executemany(into, [*old, *there])
        return len(old)

    came: list[int] = []
    lane.transaction(connection, lambda: came.extend((write(), audits())))
    return Mended(came[0], came[1], tuple(str(backup) for backup in backups))


def _rollouts(path: Path) -> Iterator[_Row]:
    """Those that are what was written."""
    columns = f"{ROLLOUT_COLUMNS}, sum"
    for *row, said in _rows(path, columns, "rollouts") or (
        (*row, "")
        for row in _rows(path, ROLLOUT_COLUMNS, "rollouts")  # schema 1 and 2: no sums
    ):
        if (said == rollout_sum(row) or not said) and _is_receipt(row):
            yield tuple(row)


def _audit(path: Path) -> Iterator[_Row]:
    for _, *row in _rows(path, f"id, {AUDIT_COLUMNS}", "audit") or _rows(path, _OLD_AUDIT, "audit"):
        yield tuple(row)


def _is_receipt(row: Sequence[Any]) -> bool:
    try:
        return isinstance(row[0], int) and isinstance(json.loads(row[-1]), dict)
    except (TypeError, ValueError, RecursionError):
        return False


def _rows(path: Path, columns: str, table: str) -> list[_Row]:
    """Both ways to a damaged page: what lies before it and what lies behind it."""
    found: dict[Any, _Row] = {}
    for connection in _opened(path):
        for order in ("ASC", "DESC"):
            try:
                for row in connection.execute(
                    f"SELECT {columns} FROM {table} ORDER BY rowid {order}"  # noqa: S608
                ):
                    found.setdefault(row[0], row)
            except sqlite3.Error as error:
                log.warning("%s of %s: %s", table, path, error)
            else:
                break
        if found:
            break
    return [found[key] for key in sorted(found, key=lambda key: (isinstance(key, str), key))]


def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """With what its log adds; then, where that cannot be had, without."""
    if not path.is_file() or path.is_symlink():
        return
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        try:
            connection = lane.connect(path, mode)
        except sqlite3.Error as error:
            log.warning("%s: %s", path, error)
            continue
        with contextlib.closing(connection):
            yield connection
