"""Cut and flipped at every page: it opens as it was, or says that it is damaged and goes on."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sqlite3
import stat
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reld.core.model import Good, State
from reld.errors import StoreError
from reld.store.database import Store
from reld.store.rows import AuditRow, RolloutRow

AUDIT = AuditRow(
    "t", 0, "root", None, "", 1, "switch", "v2", '{"bake":0}', "why", "accepted", "", "", 7
)
LAST = 12
PAGE = 4096


def state(n: int) -> State:
    good = tuple(Good(f"v{n}-{g}", n) for g in range(40))
    return State("web", "b", good=good, next_rollout=n)


def receipt(n: int) -> RolloutRow:
    told = {"id": n, "evidence": "x" * 700}
    return RolloutRow(n, "switch", "a", "b", "x", "s", None, None, "", told)


@pytest.fixture
def room() -> Iterator[Path]:
    """On tmpfs where there is one: hundreds of databases are opened."""
    shm = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="relctl-damage-", dir=shm if shm.is_dir() else None))
    yield made
    shutil.rmtree(made)


async def whole(directory: Path, *, closed: bool = True) -> Path:
    """A database with some pages of everything. Not closed: most of it is in its log."""
    directory.mkdir()
    path = directory / "state.db"
    store = await Store.open(path)
    for n in range(1, LAST + 1):
        await store.save(state(n), [receipt(n)])
        await store.put_snapshot(n, f"v{n}", {"env": "y" * 500, "n": n})
        await store.audit(AUDIT)
    if not closed:
        snapped = directory.with_name(f"{directory.name}-killed")
        shutil.copytree(directory, snapped)
        (snapped / "state.db-shm").unlink()
        path = snapped / "state.db"
    await store.close()
    return path


async def opened(directory: Path) -> str:
    """How it came up, after checking that nothing is lost in silence."""
    store = await Store.open(directory / "state.db")
    try:
        assert await store.load_state() == state(LAST), store.damage
        for n in range(1, LAST + 1):
            assert await store.snapshot(n) == {"env": "y" * 500, "n": n}
        if store.damage:
            (backup,) = directory.glob("state.db.damaged-*Z")
            assert str(backup) in store.damage
            assert store.damage.endswith("relctl mend")
            return "from the copy"
        assert [await store.rollout(n) for n in range(1, LAST + 1)] == [
            dict(receipt(n).receipt) for n in range(1, LAST + 1)
        ]
        return "as it was"
    finally:
        await store.close()


async def every(
    room: Path, source: Path, name: str, spoil: Callable[[bytes], Iterator[bytes]], seconds: float
) -> Counter[str]:
    """Opens the database again for every way in which `spoil` leaves one of its files."""
    data = (source.parent / name).read_bytes()
    outcomes: Counter[str] = Counter()
    until = time.monotonic() + seconds
    for number, spoiled in enumerate(spoil(data)):
        directory = room / f"{name}-{number}"
        shutil.copytree(source.parent, directory)
        (directory / name).write_bytes(spoiled)
        outcomes[await opened(directory)] += 1
        shutil.rmtree(directory)
        if time.monotonic() > until:
            break
    return outcomes


def cut(data: bytes) -> Iterator[bytes]:
    """At every page, and inside it."""
    for page in range(0, len(data), PAGE):
        yield data[:page]
        yield data[: page + 1 + page // PAGE * 97 % (PAGE - 1)]


def flipped(data: bytes, each: int) -> Iterator[bytes]:
    """`each` bits of every page, and every byte of the header."""
    chance = random.Random(4)
    places = list(range(100))
    for page in range(0, len(data), PAGE):
        size = min(PAGE, len(data) - page)
        # The first bytes of a page say what the rest means.
        places += [page + chance.randrange(min(12, size))]
        places += [page + chance.randrange(size) for _ in range(each)]
    for place in places:
        spoiled = bytearray(data)
        spoiled[place] ^= 1 << chance.randrange(8)
        yield bytes(spoiled)


async def test_a_database_that_is_cut_at_any_page(room: Path) -> None:
    source = await whole(room / "source")
    outcomes = await every(room, source, "state.db", cut, 15)
    assert set(outcomes) == {"from the copy"}
    assert outcomes.total() == 2 * (source.stat().st_size // PAGE)


async def test_a_database_with_one_bit_flipped_anywhere(room: Path) -> None:
    source = await whole(room / "source")
    outcomes = await every(room, source, "state.db", lambda data: flipped(data, 30), 15)
    assert outcomes["from the copy"] > 100, outcomes
    assert outcomes["as it was"] > 40, outcomes


async def test_a_log_that_is_cut_anywhere_is_no_earlier_state(room: Path) -> None:
    """SQLite takes a log whose end is damaged for one that ends earlier, and says nothing."""
    source = await whole(room / "source", closed=False)

    def thinned(data: bytes) -> Iterator[bytes]:
        yield from itertools.islice(cut(data), 0, None, 3)

    outcomes = await every(room, source, "state.db-wal", thinned, 8)
    assert outcomes["from the copy"] > 10, outcomes


async def test_a_log_with_one_bit_flipped_anywhere_is_no_earlier_state(room: Path) -> None:
    source = await whole(room / "source", closed=False)
    outcomes = await every(room, source, "state.db-wal", lambda data: flipped(data, 1), 8)
    assert outcomes["from the copy"] > 10, outcomes


async def test_a_copy_that_is_damaged_is_written_anew(room: Path) -> None:
    source = await whole(room / "source")
    good = (source.parent / "state.json").read_bytes()
    for spoiled in (b"", b"{}\n", good[:-9], good[:200], b"\xff" + good, b"[" * 100_000):
        (source.parent / "state.json").write_bytes(spoiled)
        assert await opened(source.parent) == "as it was"
        assert (source.parent / "state.json").read_bytes() == good


FOREIGN: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello " * 1000),
    "noise": lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 8192),
    "a directory": lambda path: (path.unlink(), path.mkdir(), (path / "x").touch()),
    "a link": lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
    "a link to nowhere": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "somebody's": lambda path: (path.unlink(), cats(path)),
    "a log that is a directory": lambda path: path.with_name("state.db-wal").mkdir(),
    "of a schema that never was": lambda path: sql(path, "UPDATE meta SET schema = 77"),
    "without tables": lambda path: sql(path, "DROP TABLE state"),
    "without its number": lambda path: sql(path, "DELETE FROM meta"),
    "an older one": lambda path: sql(path, "UPDATE meta SET sequence = 3"),
    "with another state": lambda path: sql(path, "UPDATE state SET json = replace(json,'b','c')"),
    "with another snapshot": lambda path: sql(path, "DELETE FROM snapshots WHERE id = 3"),
    "with another receipt": lambda path: sql(path, "UPDATE rollouts SET actor = 'y' WHERE id = 3"),
    "not text": lambda path: sql(path, "UPDATE state SET json = x'ff00'"),
}


def sql(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def cats(path: Path) -> None:
    sql(path, "CREATE TABLE cats (name)")


@pytest.mark.parametrize("what", FOREIGN)
async def test_what_is_no_state_of_ours_is_kept_and_the_copy_takes_its_place(
    room: Path, what: str
) -> None:
    source = await whole(room / "source")
    FOREIGN[what](source)
    assert await opened(source.parent) == "from the copy"
    assert await opened(source.parent) == "from the copy"  # it is told until it is mended


async def test_a_database_that_was_removed_is_made_again_from_the_copy(room: Path) -> None:
    source = await whole(room / "source")
    source.unlink()
    store = await Store.open(source)
    assert await store.load_state() == state(LAST)
    assert store.damage.startswith(f"{source} is missing; reld went on with the copy")
    await store.close()


async def test_without_a_copy_what_still_reads_is_trusted_only_where_its_sum_fits(
    room: Path,
) -> None:
    source = await whole(room / "source")
    (source.parent / "state.json").unlink()
    sql(source, "UPDATE rollouts SET actor = 'y' WHERE id = 3")
    store = await Store.open(source)
    assert await store.load_state() == state(LAST)
    assert "what could still be read" in store.damage
    await store.close()
    (source.parent / "state.json").unlink()
    sql(source, "UPDATE state SET json = replace(json, '12', '13')")
    store = await Store.open(source)
    assert await store.load_state() is None
    assert "reld knows nothing" in store.damage
    assert await store.newest_rollout() == LAST
    await store.close()


async def test_mending_brings_back_the_history_and_ends_the_trouble(room: Path) -> None:
    source = await whole(room / "source")
    sql(source, "UPDATE rollouts SET actor = 'y' WHERE id = 3")
    store = await Store.open(source)
    await store.audit(replace(AUDIT, time="later", command="mend"))
    assert await store.rollouts(99) == []
    found = await store.mend()
    assert (found.rollouts, found.audit) == (LAST - 1, 1)  # equal lines of the audit are one
    assert [row["id"] for row in await store.rollouts(99)] == [
        n for n in range(LAST, 0, -1) if n != 3
    ]
    assert [row.time for row in await store.audits(9)] == ["later", "t"]
    assert store.damage == ""
    assert (await store.mend()).backups == ()
    await store.close()
    store = await Store.open(source)
    assert (store.damage, await store.load_state()) == ("", state(LAST))
    await store.close()


async def test_what_lies_on_both_sides_of_a_damaged_page_comes_back(room: Path) -> None:
    source = await whole(room / "source")
    data = bytearray(source.read_bytes())
    place = data.index(b'"id":6,"evidence"') // PAGE * PAGE
    data[place : place + PAGE] = os.urandom(PAGE)
    source.write_bytes(data)
    store = await Store.open(source)
    found = await store.mend()
    ids = [row["id"] for row in await store.rollouts(99)]
    assert 4 <= found.rollouts == len(ids) < LAST
    assert {1, LAST} <= set(ids)
    await store.close()


async def test_a_database_that_goes_bad_under_a_running_reld_is_replaced_at_the_next_save(
    room: Path,
) -> None:
    source = await whole(room / "source")
    store = await Store.open(source)
    with source.open("r+b") as file:
        file.write(b"\xff" * PAGE * 4)
    await store._writer.run(lambda c: c.execute("PRAGMA shrink_memory"), "forget its pages")
    with pytest.raises(StoreError, match="is damaged") as caught:
        await store.audit(AUDIT)
    assert "relctl mend" in caught.value.hint
    await store.save(state(LAST + 1), [receipt(LAST + 1)])
    assert "is kept as" in store.damage
    assert [row["id"] for row in await store.rollouts(9)] == [LAST + 1]
    await store.close()
    store = await Store.open(source)
    assert await store.load_state() == state(LAST + 1)
    await store.close()


async def test_at_most_five_damaged_ones_are_kept_and_the_first_is_one_of_them(room: Path) -> None:
    source = await whole(room / "source")
    first = ""
    for _ in range(8):
        source.write_text("not a database")
        await (await Store.open(source)).close()
        first = first or min(p.name for p in source.parent.glob("state.db.damaged-*"))
    kept = [p.name for p in source.parent.glob("state.db.damaged-*")]
    assert len(kept) == 5
    assert first in kept


async def test_everything_that_is_kept_is_for_its_owner_only(room: Path) -> None:
    source = await whole(room / "source")
    source.write_text("not a database")
    source.chmod(0o644)
    before = os.umask(0)
    try:
        await (await Store.open(source)).close()
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in source.parent.iterdir()}
    assert {name for name, mode in modes.items() if mode != 0o600} <= {
        p.name for p in source.parent.glob("*.damaged-*")
    }


async def test_a_copy_of_a_newer_reld_is_never_replaced_by_less(room: Path) -> None:
    source = await whole(room / "source")
    copy = source.parent / "state.json"
    from reld.store import schema, second
    from reld.store.content import Content

    known = second.read(copy)
    assert known is not None
    was = schema.VERSION
    try:
        schema.VERSION = was + 1  # type: ignore[misc]
        second.write(copy, known.content or Content())
    finally:
        schema.VERSION = was  # type: ignore[misc]
    source.unlink()
    with pytest.raises(StoreError, match=f"schema {was + 1}, this reld knows {was}"):
        await Store.open(source)
    assert [p.name for p in source.parent.iterdir()] == ["state.json"]
