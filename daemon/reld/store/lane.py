"""One SQLite connection with a thread of its own: the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from reld.errors import StoreError
from reld.store.trouble import damaged, explain

_T = TypeVar("_T")
_BUSY_MS = 2000
_WAL_LIMIT = 4 * 1024 * 1024  # bytes that the log may keep on disk once it was written back


class Lane:
    """Runs work on its connection, one piece after another, in its own thread."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    async def open(self, prepare: Callable[[sqlite3.Connection], None]) -> None:
        """Connects and runs `prepare`; nothing stays open when that fails.

        Raises:
            StoreError: the file cannot be opened, or what `prepare` raises.
        """

        def connect() -> None:
            # Transactions are begun by hand: the module's implicit ones begin too late.
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False
            )
            try:
                prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection

        try:
            await self._submit(connect, "open the state")
        except BaseException:
            self._executor.shutdown(wait=False)
            raise

    async def run(self, work: Callable[[sqlite3.Connection], _T], doing: str) -> _T:
        """What `work` gives. `doing` completes the sentence "cannot …".

        Raises:
            StoreError: the disk or the file is in trouble, or the store is closed.
        """

        def call() -> _T:
            if self._connection is None:
                raise StoreError(f"cannot {doing}: the store is closed")
            return work(self._connection)

        return await self._submit(call, doing)

    async def close(self) -> None:
        """Waits for the work that is queued, then closes. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True

        def disconnect() -> None:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

        try:
            await self._submit(disconnect, "close the state")
        finally:
            self._executor.shutdown(wait=False)

    async def _submit(self, call: Callable[[], _T], doing: str) -> _T:
        try:
            future = asyncio.get_running_loop().run_in_executor(self._executor, call)
        except RuntimeError as error:  # the executor was shut down
            raise StoreError(f"cannot {doing}: the store is closed") from error
        try:
            return await future
        except sqlite3.Error as error:
            raise explain(error, self._path, doing) from error
        except (ValueError, OverflowError) as error:  # text or a number that SQLite cannot hold
            raise StoreError(f"cannot {doing}: {error}") from error


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


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreError when the file is damaged; milliseconds for a database of this size."""
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != "ok":
        raise damaged(path, finding)


def create_private(path: Path) -> None:
    """Makes sure that the file exists with mode 0600 before SQLite opens it.

    SQLite gives its -wal and -shm files the mode of the database. It must happen before the first
    connection: closing any descriptor of the file drops every lock that the process holds on it
    (https://sqlite.org/howtocorrupt.html, 2.2).

    Raises:
        StoreError: the directory is missing, or the file is not ours to write.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StoreError(
            f"cannot open the state: {path}: {error.strerror}",
            f"look at the owner and mode: ls -ld {path.parent}",
        ) from error
