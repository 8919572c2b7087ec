"""The store keeps what it was given, answers while it writes, and says what is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reld.core.model import Color, Slot, State
from reld.core.policy import SlotPolicy
from reld.errors import StoreError
from reld.store import database
from reld.store.database import Store
from reld.store.rows import AuditRow, RolloutRow, WatchRow
from reld.store.schema import _STEPS, VERSION
from reld.store.trouble import explain


def row(number: int, outcome: str | None = "done") -> RolloutRow:
    return RolloutRow.of(
        {
            "id": number,
            "kind": "switch",
            "from": "v1",
            "to": "v2",
            "actor": "alice",
            "started": "2026-11-23T11:00:00.000Z",
            "ended": None if outcome is None else "2026-11-23T11:05:00.000Z",
            "outcome": outcome,
            "reason": "",
            "evidence": {"n": 1},
        }
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "state.db")
    yield store
    await store.close()


async def test_a_new_store_has_no_state(store: Store) -> None:
    assert await store.load_state() is None


async def test_the_state_and_the_receipt_are_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    state = State("web", "b", blue=Slot(Color.BLUE, "v1", 1, SlotPolicy(), ()))
    store = await Store.open(path)
    await store.save(state, [row(1)])
    await store.close()
    store = await Store.open(path)
    assert await store.load_state() == state
    assert await store.rollout(1) == dict(row(1).receipt)
    await store.close()


async def test_a_receipt_that_is_saved_again_replaces_the_first(store: Store) -> None:
    await store.save(State("web", "b"), [row(1, None)])
    await store.save(State("web", "b"), [row(1, "rolled_back")])
    history = await store.rollouts(10)
    assert [entry["outcome"] for entry in history] == ["rolled_back"]


async def test_the_history_is_newest_first_and_limited(store: Store) -> None:
    await store.save(State("web", "b"), [row(1), row(2), row(3)])
    history = await store.rollouts(2)
    assert [entry["id"] for entry in history] == [3, 2]
    assert set(history[0]) == {
        *("id", "kind", "from", "to", "actor", "outcome", "reason", "started", "ended"),
        "turned_away",
    }


async def test_what_was_counted_is_read_as_it_was_saved_and_takes_little_room(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.db"
    lines = b"[1795431600,5,[100,0,0]]\n" * 100_000
    store = await Store.open(path)
    await store.save(State("web", "b"), [row(1)], [WatchRow(1, lines)])
    assert await store.watch(1) == lines
    await store.close()
    assert path.stat().st_size < len(lines) / 10


async def test_the_counts_of_the_newest_fifty_rollouts_are_kept(store: Store) -> None:
    for number in range(1, 53):
        await store.save(State("web", "b"), [row(number)], [WatchRow(number, b"[]\n")])
    assert await store.watch(2) is None
    assert await store.watch(3) == b"[]\n"
    assert len(await store.rollouts(100)) == 52


async def test_counts_that_cannot_be_unpacked_are_a_store_error(store: Store) -> None:
    def spoil(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO watches VALUES (7, x'00ff')")

    await store._writer.run(spoil, "spoil")
    with pytest.raises(StoreError, match="cannot read the counts of rollout 7"):
        await store.watch(7)


async def test_an_older_database_gets_the_new_table_and_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    text = (Path(__file__).parents[1] / "fakes/state_of_schema_1.json").read_text("utf-8")
    old = sqlite3.connect(path)
    for statement in _STEPS[0]:
        old.execute(statement)
    old.execute("UPDATE meta SET schema = 1")
    old.execute("INSERT INTO state VALUES (1, ?)", (text,))
    receipt = json.dumps(dict(row(1).receipt))
    old.execute(
        "INSERT INTO rollouts VALUES (1, 'switch', 'v1', 'v2', 'a', 't', 't', 'done', '', ?)",
        (receipt,),
    )
    old.commit()
    old.close()
    store = await Store.open(path)
    state = await store.load_state()
    assert state is not None
    assert state.rollout is not None
    assert (state.rollout.id, state.rollout.to) == (2, "v2")
    assert await store.rollout(1) == dict(row(1).receipt)
    assert await store.watch(1) is None
    await store.save(state, [row(2)], [WatchRow(2, b"[]\n")])
    assert await store.watch(2) == b"[]\n"
    await store.close()
    await (await Store.open(path)).close()  # and a second time there is nothing left to do
    (backup,) = tmp_path.glob("state.db.schema-1-*")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    kept = sqlite3.connect(backup)
    assert kept.execute("SELECT schema FROM meta").fetchone() == (1,)
    assert kept.execute("SELECT json FROM state").fetchone() == (text,)
    kept.close()


async def test_an_unknown_rollout_or_snapshot_is_none(store: Store) -> None:
    assert await store.watch(7) is None
    assert await store.rollout(7) is None
    assert await store.snapshot(7) is None


async def test_only_the_snapshots_to_keep_are_kept(store: Store) -> None:
    for number in (1, 2, 3):
        await store.put_snapshot(number, f"v{number}", {"env": {"SECRET": "ä\udc80"}})
    await store.drop_snapshots({2})
    assert await store.snapshot(1) is None
    assert await store.snapshot(2) == {"env": {"SECRET": "ä\udc80"}}
    assert await store.snapshot(3) is None


async def test_a_dropped_snapshot_leaves_no_secret_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await Store.open(path)
    await store.put_snapshot(1, "v1", {"env": "correct horse battery staple"})
    await store.drop_snapshots(set())
    await store.close()
    assert b"battery" not in path.read_bytes()


def audited(time: str, outcome: str = "accepted") -> AuditRow:
    return AuditRow(
        time, 0, "root", 1000, "alice", 1, "switch", "v2", "{}", "why", outcome, "", "", None
    )


async def test_the_audit_is_newest_first(store: Store) -> None:
    first, second, third = (audited(f"t{number}") for number in (1, 2, 3))
    await store.audit(first)
    await store.audit(second, third)
    assert await store.audits(5) == [third, second, first]


async def test_who_is_refused_again_and_again_removes_nothing_of_what_was_done(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_AUDIT_ROWS", 100)
    done = [audited(f"done {number}") for number in range(80)]
    await store.audit(*done)
    for _ in range(5):
        await store.audit(*(audited("no", outcome="refused") for _ in range(256)))
    kept = await store.audits(10_000)
    assert [row for row in kept if row.outcome == "accepted"] == done[::-1]
    assert 100 <= len(kept) - len(done) <= 100 + 256


async def test_the_files_are_for_their_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = await Store.open(tmp_path / "state.db")
        await store.save(State("web", "b"))
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
        await store.close()
    finally:
        os.umask(before)
    names = {"state.db", "state.db-wal", "state.db-shm", "state.json"}
    assert modes == dict.fromkeys(names, 0o600)


async def test_a_read_does_not_wait_for_a_write_that_hangs(store: Store) -> None:
    await store.save(State("web", "b"), [row(1)])
    entered, leave = threading.Event(), threading.Event()

    def hang(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        entered.set()
        leave.wait(10)
        connection.execute("ROLLBACK")

    write = asyncio.create_task(store._writer.run(hang, "hang"))
    await asyncio.to_thread(entered.wait, 5)
    assert len(await asyncio.wait_for(store.rollouts(5), 2)) == 1
    assert not write.done()
    leave.set()
    await write


async def test_a_file_that_another_process_holds_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = await Store.open(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another process holds") as caught:
        await store.save(State("web", "b"))
    assert "fuser" in caught.value.hint
    other.execute("ROLLBACK")
    other.close()
    await store.save(State("web", "b"))
    await store.close()


async def test_a_newer_schema_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await (await Store.open(path)).close()
    other = sqlite3.connect(path)
    other.execute("UPDATE meta SET schema = schema + 1")
    other.commit()
    other.close()
    (tmp_path / "state.json").unlink()  # a newer reld writes its own
    with pytest.raises(StoreError, match=f"schema {VERSION + 1}, this reld knows {VERSION}"):
        await Store.open(path)


async def test_a_missing_directory_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory"):
        await Store.open(tmp_path / "nowhere" / "state.db")


async def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "state.db").symlink_to(tmp_path / "elsewhere")
    store = await Store.open(tmp_path / "state.db")
    assert "is no database (state.db is no file)" in store.damage
    await store.save(State("web", "b"))
    await store.close()
    assert not (tmp_path / "elsewhere").exists()


async def test_a_closed_store_says_so_and_closes_twice(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "state.db")
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="the store is closed"):
        await store.save(State("web", "b"))


def test_a_full_disk_is_named_with_its_way_out(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "x")
    connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    error = explain(caught.value, tmp_path / "x", "save the state")
    assert error.message == "cannot save the state: the disk is full"
    assert error.hint == f"free some space: df -h {tmp_path}"


# A file size limit makes the kernel refuse the write: a real I/O error without a broken disk.
_LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from reld.core.model import State
from reld.errors import StoreError
from reld.store.database import Store
async def main():
    store = await Store.open(Path(sys.argv[1]))
    await store.save(State("web", "first"))
    size = Path(sys.argv[1] + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 3000, resource.RLIM_INFINITY))
    try:
        await store.save(State("web", "x" * 100_000))
    except StoreError as error:
        print(error.message)
    state = await store.load_state()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await store.save(State("web", "later"))
    print(state.boot, (await store.load_state()).boot)
    await store.close()
asyncio.run(main())
"""


def test_a_write_that_the_disk_refuses_changes_nothing_and_the_next_one_works(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", _LIMITED, str(tmp_path / "state.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    said, states = done.stdout.splitlines()
    assert said.startswith("cannot save the state: the disk ")
    assert states == "first later"
