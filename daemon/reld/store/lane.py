"""One SQLite connection with a thread of its own: the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from reld import durable
from reld.errors import StoreError
from reld.store.trouble import Damaged, explain, explain_os

_T = TypeVar("_T")
_BUSY_MS = 2000
_WAL_LIMIT = 4 * 1024 * 1024  # bytes that the log may keep on disk once it was written back


class Lane:
    """Runs work on its connection, one piece after another, in its own thread.

    It may have no connection: until one was opened, and while the file cannot be used.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    async def open(
        self, prepare: Callable[[sqlite3.Connection], None], *, immutable: bool = False
    ) -> None:
        """Connects and runs `prepare`; nothing stays open when that fails.

        `immutable`: read what is in the main file without asking for a lock or a log.

        Raises:
            StoreError: the file cannot be opened, or what `prepare` raises.
        """

        def connect() -> None:
            try:
                prepare(self.connect("mode=ro&immutable=1" if immutable else "mode=rw"))
            except BaseException:
                self.disconnect()
                raise

        await self.do(connect, "open the state")

    async def run(self, work: Callable[[sqlite3.Connection], _T], doing: str) -> _T:
        """What `work` gives. `doing` completes the sentence "cannot …".

        Raises:
            StoreError: the disk or the file is in trouble, or the store is closed.
        """

        def call() -> _T:
            if self._connection is None:
                why = "the store is closed" if self._closed else f"{self._path} cannot be opened"
                raise StoreError(f"cannot {doing}: {why}", "relctl status")
            return work(self._connection)

        return await self.do(call, doing)

    async def close(self) -> None:
        """Waits for the work that is queued, then closes. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        try:
            await self.do(self.disconnect, "close the state")
        finally:
            self._executor.shutdown(wait=False)

    async def do(self, call: Callable[[], _T], doing: str) -> _T:
        """Runs `call` in the thread. Raises StoreError, see `run`."""
        try:
            future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        except RuntimeError as error:  # the executor was shut down
            raise StoreError(f"cannot {doing}: the store is closed") from error
        try:
            return await future
        except sqlite3.Error as error:
            raise explain(error, self._path, doing) from error
        except OSError as error:
            raise explain_os(error, self._path, doing) from error
        except (ValueError, OverflowError) as error:  # text or a number that SQLite cannot hold
            raise StoreError(f"cannot {doing}: {error}") from error

    # in the thread only

    @property
    def connection(self) -> sqlite3.Connection | None:
        return self._connection

    def connect(self, mode: str = "mode=rw") -> sqlite3.Connection:
        """Never makes the file. Raises sqlite3.Error."""
        self.disconnect()
        self._connection = connect(self._path, mode)
        return self._connection

    def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """`mode`: see https://sqlite.org/uri.html. Raises sqlite3.Error."""
    # Transactions are begun by hand: the module's implicit ones begin too late.
    return sqlite3.connect(
        f"file:{quote(str(path))}?{mode}",
        uri=True,
        timeout=_BUSY_MS / 1000,
        isolation_level=None,
        check_same_thread=False,
    )


def transaction(connection: sqlite3.Connection, write: Callable[[], object]) -> None:
    """All of it or nothing; on the disk when it returns."""
    if connection.in_transaction:  # the one before could not even be rolled back
        connection.execute("ROLLBACK")
    try:
        connection.execute("BEGIN IMMEDIATE")
        write()
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have ended the transaction already; the first error is the one to tell.
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def for_writing(connection: sqlite3.Connection) -> None:
    """Settings of the one writer. FULL: a commit that returned survives a power cut."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(
            f"cannot open the state: this file system allows only the journal mode {mode}",
            "put the state directory on a local disk",
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
    # Snapshots hold the content of env files: what is deleted is overwritten.
    connection.execute("PRAGMA secure_delete = ON")


def for_reading(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")


def check(connection: sqlite3.Connection) -> None:
    """Raises Damaged; milliseconds for a database of this size."""
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise Damaged(f"is damaged ({finding})")


def create_private(path: Path) -> None:
    """Makes sure that the file exists with mode 0600 before SQLite opens it.

    SQLite gives its -wal and -shm files the mode of the database. It must happen before the first
    connection: closing any descriptor of the file drops every lock that the process holds on it
    (https://sqlite.org/howtocorrupt.html, 2.2).

    Raises:
        OSError: the directory is missing, or the file is not ours to write.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    durable.sync_directory(path.parent)
