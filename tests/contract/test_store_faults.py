"""The Nth write, fsync, rename or statement fails, N = 1, 2, 3 … until the run passes."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reld import durable
from reld.core.model import Good, State
from reld.errors import StoreError
from reld.store import aside, lane
from reld.store.database import Store
from reld.store.rows import AuditRow, RolloutRow
from reld.store.schema import _STEPS

AUDIT = AuditRow(
    "t", 0, "root", None, "", 1, "switch", "v2", '{"bake":0}', "why", "accepted", "", "", 7
)
STEPS = 4


@pytest.fixture
def room() -> Iterator[Path]:
    shm = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="relctl-faults-", dir=shm if shm.is_dir() else None))
    yield made
    shutil.rmtree(made)


def state(n: int) -> State:
    return State("web", "b", good=(Good("v" * 300 * n, n),), next_rollout=n)


def receipt(n: int) -> RolloutRow:
    return RolloutRow(n, "switch", "a", "b", "x", "s", None, None, "", {"id": n})


class Faults:
    """Lets the Nth operation fail: before it is done, after it was done, or half-way."""

    def __init__(self, number: int, how: str) -> None:
        self.left = number
        self.how = how
        self.met = ""

    def meet(self, what: str, do: Callable[[], Any], half: Callable[[], Any], error: Exception):
        self.left -= 1
        if self.left != 0:
            return do()
        self.met = what
        if self.how == "after":
            do()
        if self.how == "half":
            half()
        raise error


class FaultyOs:
    """`os`, as the modules that write files of our own see it."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in ("open", "write", "fsync", "rename", "unlink", "fchmod"):
            return real

        def call(*words: Any) -> Any:
            def half() -> None:
                if name == "write":
                    real(words[0], bytes(words[1])[: len(words[1]) // 2])

            error = OSError(errno.ENOSPC if name in ("open", "write") else errno.EIO, f"no {name}")
            if name == "open" and self._faults.how == "after":
                return real(*words)  # its descriptor would be lost, which no kernel does
            return self._faults.meet(name, lambda: real(*words), half, error)

        return call


class FaultyConnection(sqlite3.Connection):
    faults: Faults | None = None

    def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
        return self._meet(sql, partial(super().execute, sql, *rest))

    def executemany(self, sql: str, *rest: Any) -> sqlite3.Cursor:
        return self._meet(sql, partial(super().executemany, sql, *rest))

    def _meet(self, sql: str, do: Callable[[], Any]) -> Any:
        assert self.faults is not None
        error = sqlite3.OperationalError("disk I/O error")
        full = self.faults.how == "half"
        error.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR
        return self.faults.meet(sql.split(maxsplit=1)[0], do, lambda: None, error)


class FaultySqlite:
    def __init__(self, faults: Faults) -> None:
        self._factory = type("Connection", (FaultyConnection,), {"faults": faults})

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def connect(self, *words: Any, **more: Any) -> sqlite3.Connection:
        return sqlite3.connect(*words, factory=self._factory, **more)


def inject(patch: pytest.MonkeyPatch, number: int, how: str) -> Faults:
    faults = Faults(number, how)
    for module in (durable, aside, lane):
        patch.setattr(module, "os", FaultyOs(faults))
    patch.setattr(lane, "sqlite3", FaultySqlite(faults))
    return faults


class Run:
    """Saves and asks whether they were acknowledged; `killed`: the files as the fault left them."""

    def __init__(self, directory: Path, faults: Faults) -> None:
        self.directory = directory
        self.killed = directory.with_name(f"{directory.name}-killed")
        self.faults = faults
        self.tried = 0
        self.acknowledged = 0
        self.at_kill = (0, 0)

    async def go(self) -> None:
        try:
            store = await self.until_it_works(partial(Store.open, self.directory / "state.db"))
            for n in range(self.acknowledged + 1, self.acknowledged + STEPS):
                self.tried = n
                await self.until_it_works(partial(store.save, state(n), [receipt(n)]))
                self.acknowledged = n
                await self.until_it_works(partial(store.put_snapshot, n, f"v{n}", {"n": n}))
                await self.until_it_works(partial(store.audit, AUDIT))
            await self.until_it_works(partial(store.drop_snapshots, {self.tried}))
        finally:
            await store.close()

    async def until_it_works(self, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await call()
        except StoreError as raised:
            error = raised
        finally:
            if self.faults.met and not self.killed.exists():
                self.at_kill = (self.acknowledged, self.tried)
                shutil.copytree(self.directory, self.killed)
        assert error.message.startswith("cannot "), error
        assert error.hint, error
        return await call()


async def found(directory: Path) -> tuple[int, str]:
    """The number of the state that comes up, and what is told."""
    store = await Store.open(directory / "state.db")
    try:
        loaded = await store.load_state()
        assert loaded is None or loaded == state(loaded.next_rollout)
        return (0 if loaded is None else loaded.next_rollout), store.damage
    finally:
        await store.close()


async def all_of(room: Path, how: str, begin: Callable[[Path], Awaitable[int]]) -> dict[str, int]:
    """Runs with the Nth operation failing, until one run meets no fault; what was met how often."""
    met: dict[str, int] = {}
    for number in itertools.count(1):
        directory = room / f"{how}-{number}"
        directory.mkdir()
        known = await begin(directory)
        with pytest.MonkeyPatch.context() as patch:
            run = Run(directory, inject(patch, number, how))
            run.acknowledged = run.tried = known
            await run.go()
        assert (await found(directory))[0] == run.acknowledged == known + STEPS - 1
        if not run.faults.met:
            break
        met[run.faults.met] = met.get(run.faults.met, 0) + 1
        # The power was cut at that moment instead: what was acknowledged is there.
        acknowledged, tried = run.at_kill
        after, told = await found(run.killed)
        assert acknowledged <= after <= tried, (number, run.faults.met, told)
        shutil.rmtree(directory)
        shutil.rmtree(run.killed)
    return met


async def nothing(directory: Path) -> int:
    return 0


async def three_saves(directory: Path) -> int:
    store = await Store.open(directory / "state.db")
    for n in range(1, 4):
        await store.save(state(n), [receipt(n)])
    await store.close()
    return 3


async def damaged(directory: Path) -> int:
    await three_saves(directory)
    (directory / "state.db").write_bytes(b"not a database" * 500)
    return 3


async def removed(directory: Path) -> int:
    await three_saves(directory)
    (directory / "state.db").unlink()
    return 3


async def of_schema_1(directory: Path) -> int:
    from reld.store import codec

    old = sqlite3.connect(directory / "state.db")
    for statement in _STEPS[0]:
        old.execute(statement)
    old.execute("UPDATE meta SET schema = 1")
    old.execute("INSERT INTO state VALUES (1, ?)", (codec.dumps(state(3)),))
    old.commit()
    old.close()
    return 3


BEGINNINGS = (nothing, three_saves, damaged, removed, of_schema_1)


@pytest.mark.parametrize("how", ["before", "after", "half"])
@pytest.mark.parametrize("begin", BEGINNINGS, ids=lambda begin: begin.__name__)
async def test_the_nth_operation_fails_and_nothing_that_was_acknowledged_is_lost(
    room: Path, begin: Callable[[Path], Awaitable[int]], how: str
) -> None:
    met = await all_of(room, how, begin)
    print(f"{sum(met.values())} faults: {met}")
    assert sum(met.values()) > 60, met
    assert {"write", "fsync", "rename", "COMMIT"} <= met.keys(), met


@pytest.mark.parametrize("how", ["before", "after"])
async def test_mending_fails_at_the_nth_operation_and_can_be_done_again(
    room: Path, how: str
) -> None:
    for number in itertools.count(1):
        directory = room / f"{how}-{number}"
        directory.mkdir()
        await three_saves(directory)
        other = sqlite3.connect(directory / "state.db")
        other.execute("UPDATE state SET json = 'x'")
        other.commit()
        other.close()
        with pytest.MonkeyPatch.context() as patch:
            faults = inject(patch, 0, how)
            store = await Store.open(directory / "state.db")
            await store.audit(AUDIT)
            assert "is kept as" in store.damage
            faults.left = number
            try:
                await store.mend()
            except StoreError:
                assert store.damage
            faults.left = 0
            await store.mend()
        assert store.damage == ""
        assert len(await store.rollouts(9)) == 3
        assert await store.audits(9) == [AUDIT]
        await store.close()
        if not faults.met:
            break
    assert number > 10


# A limit on the size of files makes the kernel refuse writes inside SQLite: log, index and database.
_LIMITED = """
import asyncio, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from reld.core.model import Good, State
from reld.errors import StoreError
from reld.store.database import Store
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
async def run(path, size):
    acknowledged, refused = 0, 0
    limit(size)
    try:
        store = await Store.open(path)
    except StoreError:
        limit(resource.RLIM_INFINITY)
        return 0, 1
    for n in range(1, 30):
        try:
            await store.save(State("web", "b", good=(Good("v" * 900, n),), next_rollout=n))
            acknowledged = n
        except StoreError:
            refused += 1
    limit(resource.RLIM_INFINITY)
    await store.close()
    return acknowledged, refused
async def main():
    for number, size in enumerate(range(512, 140_000, 1500)):
        path = Path(sys.argv[1]) / str(number) / "state.db"
        path.parent.mkdir()
        acknowledged, refused = await run(path, size)
        store = await Store.open(path)
        state = await store.load_state()
        await store.save(State("web", "later"))
        await store.close()
        print(acknowledged, refused, state.next_rollout if state else 0, store.damage or "-")
asyncio.run(main())
"""


def test_every_limit_that_the_disk_sets_leaves_what_was_acknowledged(room: Path) -> None:
    source = str(Path(durable.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(room), source],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    rows = [line.split(" ", 3) for line in done.stdout.splitlines()]
    assert len(rows) == 93, done.stderr
    assert sum(int(refused) for _, refused, *_ in rows) > 100
    for acknowledged, _, found, damage in rows:
        # The state that was refused last may be there: nobody was told that it is not.
        assert int(acknowledged) <= int(found) <= 29
        assert damage == "-"


async def test_a_copy_that_hangs_holds_up_the_save_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await Store.open(tmp_path / "state.db")
    await store.save(state(1), [receipt(1)])
    leave = threading.Event()
    real = os.fsync

    class Frozen:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def fsync(self, handle: int) -> None:
            leave.wait(20)
            real(handle)

    monkeypatch.setattr(durable, "os", Frozen())
    save = asyncio.create_task(store.save(state(2), [receipt(2)]))
    done, _ = await asyncio.wait([save], timeout=0.2)
    assert not done
    assert len(await store.rollouts(9)) == 2  # in the database, not acknowledged
    leave.set()
    await save
    await store.close()
    assert (await found(tmp_path))[0] == 2


async def test_a_database_that_is_out_of_reach_is_waited_for_on_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_saves(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        real = os.open

        class ReadOnly:
            def __getattr__(self, name: str) -> Any:
                return getattr(os, name)

            def open(self, path: Any, flags: int, *rest: Any) -> int:
                if flags & (os.O_WRONLY | os.O_RDWR):
                    raise OSError(errno.EROFS, "Read-only file system", str(path))
                return real(path, flags, *rest)

        for module in (durable, lane):
            patch.setattr(module, "os", ReadOnly())
        store = await Store.open(tmp_path / "state.db")
        assert await store.load_state() == state(3)
        assert [row["id"] for row in await store.rollouts(9)] == [3, 2, 1]
        with pytest.raises(StoreError, match=r"cannot save the state: .*Read-only file system"):
            await store.save(state(4))
        with pytest.raises(StoreError, match="cannot mend the state"):
            await store.mend()
        assert store.damage == ""
    await store.save(state(4), [receipt(4)])
    assert [row["id"] for row in await store.rollouts(9)] == [4, 3, 2, 1]
    assert store.damage == ""
    await store.close()
    assert (await found(tmp_path))[0] == 4
