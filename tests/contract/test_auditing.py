"""The audit on its way to a disk that works, hangs, or takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from reld import auditing
from reld.auditing import Audit
from reld.errors import StoreError
from reld.store.database import Store
from reld.store.rows import AuditRow

ROW = AuditRow("t", 0, "root", None, "", 1, "switch", "v2", "{}", "why", "accepted", "", "", 7)


class Disk:
    """What a store does with audit rows, as a test wants it."""

    def __init__(self) -> None:
        self.rows: list[AuditRow] = []
        self.writes = 0
        self.full = False
        self.works = asyncio.Event()
        self.works.set()

    async def audit(self, *rows: AuditRow) -> None:
        self.writes += 1
        await self.works.wait()
        if self.full:
            raise StoreError("cannot write the audit: the disk is full")
        self.rows += rows


@pytest.fixture
async def disk() -> Disk:
    return Disk()


@pytest.fixture
async def audit(disk: Disk) -> AsyncIterator[Audit]:
    made = Audit(disk)  # type: ignore[arg-type]
    yield made
    await made.finish()


def row(number: int) -> AuditRow:
    return replace(ROW, rollout=number)


async def test_a_row_is_on_disk_before_its_command_is_answered(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "state.db")
    try:
        await Audit(store).write(ROW)
        assert await store.audits(5) == [ROW]
    finally:
        await store.close()


async def test_rows_that_come_together_are_written_together_and_in_order(
    disk: Disk, audit: Audit
) -> None:
    await asyncio.gather(*(audit.write(row(number)) for number in range(50)))
    assert [found.rollout for found in disk.rows] == list(range(50))
    assert disk.writes <= 3


async def test_nobody_waits_for_a_disk_that_hangs(
    disk: Disk, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "PATIENCE", 0.05)
    disk.works.clear()
    async with asyncio.timeout(1):
        await audit.write(row(1))
    assert disk.rows == []
    disk.works.set()
    await audit.write(row(2))
    assert [found.rollout for found in disk.rows] == [1, 2]


async def test_nobody_waits_for_a_full_disk_and_its_rows_come_later(
    disk: Disk, audit: Audit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auditing, "AGAIN_AFTER", 0.05)
    disk.full = True
    async with asyncio.timeout(0.5):
        for number in range(20):
            await audit.write(row(number))
    assert "the disk is full" in caplog.text
    assert "the audit is behind" in caplog.text  # the log has them at least
    disk.full = False
    async with asyncio.timeout(5):
        while len(disk.rows) < 20:
            await asyncio.sleep(0.01)
    assert [found.rollout for found in disk.rows] == list(range(20))


async def test_what_waits_is_written_when_reld_ends(disk: Disk, audit: Audit) -> None:
    disk.full = True
    await audit.write(row(1))
    disk.full = False
    await audit.finish()
    assert [found.rollout for found in disk.rows] == [1]


async def test_what_waits_is_bounded_and_what_is_lost_is_said(
    disk: Disk,
    audit: Audit,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(auditing, "_MOST", 3)
    disk.full = True
    for number in range(5):
        await audit.write(row(number))
    assert caplog.text.count("cannot keep this row") == 2
    await audit.finish()
    assert caplog.text.count("the audit is lost") == 3
