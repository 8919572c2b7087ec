"""What a release says, followed over everything that happens to its file."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import aclosing

from reld import log_lines
from reld.processes import logs
from reld.processes.journal import Journal

NOBODY = Journal("no-such-app")


async def said(directory, lines):
    return [e async for e in log_lines.of(directory, NOBODY, "v1", lines, follow=False)]


async def collected(directory, count, do):
    """The log's last line, then `count` lines of what comes while `do` happens."""
    found: list[str] = []
    source = log_lines.of(directory, NOBODY, "v1", 1, follow=True)
    async with asyncio.timeout(30), aclosing(source) as entries:
        found.append((await anext(entries)).line)  # it has begun
        doing = asyncio.create_task(asyncio.to_thread(do))
        while len(found) <= count:
            found.append((await anext(entries)).line)
        await doing
    return found


async def test_a_release_that_said_nothing_has_no_lines(tmp_path):
    assert await said(tmp_path, 10) == []


async def test_the_last_lines_of_the_app_and_its_hooks_are_in_the_order_of_their_files(tmp_path):
    (tmp_path / "v1.hooks.log").write_text("migrated\n")
    (tmp_path / "v1.log").write_text("one\ntwo\n")
    os.utime(tmp_path / "v1.hooks.log", (1000, 1000))
    found = await said(tmp_path, 10)
    assert [(e.line, e.hook) for e in found] == [("migrated", True), ("one", False), ("two", False)]
    assert [e.line for e in await said(tmp_path, 1)] == ["two"]
    assert await said(tmp_path, 0) == []


async def test_following_gives_each_line_once_over_many_trims(tmp_path):
    path = tmp_path / "v1.log"
    path.write_text("begun\n")
    total = 20_000

    def write():
        with path.open("ab", buffering=0) as log:
            for n in range(total):
                log.write(b"%08d\n" % n)
                if n % 4000 == 2999:
                    # A trim keeps half of it all: who is behind by less than that misses nothing.
                    time.sleep(3 * log_lines.FOLLOW_EVERY)
                if n % 4000 == 3999:
                    assert logs.trim(path, 40_000 + n % 7)

    assert await collected(tmp_path, total, write) == ["begun", *(f"{n:08}" for n in range(total))]


async def test_a_line_that_is_half_written_when_following_begins_comes_whole(tmp_path):
    path = tmp_path / "v1.log"
    path.write_text("before\nhalf of ")

    def write():
        with path.open("a") as log:
            log.write("a line\n")

    assert await collected(tmp_path, 1, write) == ["before", "half of a line"]


async def test_hooks_are_followed_too_also_where_their_log_appears_later(tmp_path):
    (tmp_path / "v1.log").write_text("begun\n")
    found = await collected(tmp_path, 1, lambda: (tmp_path / "v1.hooks.log").write_text("hello\n"))
    assert found == ["begun", "hello"]


async def test_a_log_that_a_person_emptied_goes_on(tmp_path):
    path = tmp_path / "v1.log"
    path.write_text("a long line that was there\n")
    found = await collected(tmp_path, 1, lambda: path.write_text("new\n"))
    assert found == ["a long line that was there", "new"]
