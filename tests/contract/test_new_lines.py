"""Both logs of a rollout read by files and by a journal: learned, followed, thinned, given up."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reld.core.model import Color, Kind, Phase, Rollout, Slot, State
from reld.core.policy import Policy, SlotPolicy
from reld.host import log_voices
from reld.host.log_look import MOST_NEW, Look
from reld.host.log_voices import Ears, FileVoice, JournalVoice, Marks
from reld.host.new_lines import NewLines
from reld.processes import logs
from reld.processes.journal import Journal

ROLLOUT = Rollout(
    id=7,
    kind=Kind.SWITCH,
    phase=Phase.STARTING,
    since=0.0,
    began=0.0,
    policy=Policy(),
    from_="v1",
    to="v2",
    old=Color.BLUE,
    candidate=Color.GREEN,
)
V1 = Slot(Color.BLUE, "v1", 3, SlotPolicy(), ())
STATE = State("web", "boot", blue=V1, rollout=ROLLOUT)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "v1.log").write_text("starting\n" + "INFO order 1 saved\n" * 30)
    (tmp_path / "v2.log").write_text("ERROR of last week\n")
    return tmp_path


def ears(place: Path) -> Ears:
    return Ears(place, place, "web", units=False)


def begun(place: Path, state: State = STATE) -> Look:
    assert state.rollout is not None
    look = Look(state.rollout, ears(place))
    look.begin(state)
    while look.step():
        pass
    return look


def said(path: Path, text: str) -> None:
    with path.open("a") as log:
        log.write(text)


def silence(look: Look) -> None:
    """For so long that what was said is over."""
    look.step()
    look.step()


def told(look: Look) -> list[tuple[str, int]] | None:
    return None if look.news is None else [(kind.text, kind.count) for kind in look.news.top]


def test_only_what_the_candidate_writes_in_this_rollout_is_looked_at(place: Path):
    look = begun(place)
    assert told(look) == []
    said(place / "v2.log", "starting\nINFO order 9 saved\nERROR no phone\nERROR no ph")
    look.step()
    said(place / "v2.log", "one\n")
    look.step()
    silence(look)
    assert told(look) == [("ERROR no phone", 2)]


def test_a_reld_that_comes_back_counts_from_where_the_candidate_began(place: Path):
    begun(place)
    said(place / "v2.log", "ERROR no phone\n")
    again = begun(place)
    silence(again)
    assert told(again) == [("ERROR no phone", 1)]
    other = begun(place, replace(STATE, rollout=replace(ROLLOUT, id=8)))
    assert told(other) == []


@pytest.mark.parametrize(
    "damaged", ["", "{", "[]", '{"rollout": 7}', '{"rollout": 7, "offset": "x"}']
)
def test_a_damaged_mark_is_made_anew(place: Path, damaged: str):
    (place / "new-lines.json").write_text(damaged)
    size = (place / "v2.log").stat().st_size
    assert Marks(place).of(7, place / "v2.log") == logs.Place(0, size)
    assert Marks(place).of(7, place / "v1.log") == logs.Place(0, size)


def test_the_last_words_are_in_the_account(place: Path):
    look = begun(place)
    said(place / "v2.log", 'Traceback (most recent call last):\n  File "x", line 1\nKeyError: 1\n')
    look.finish(10.0)
    assert told(look) == [("KeyError: 1 (traceback, 1 deep)", 1)]
    look.finish(10.0)
    assert told(look) == [("KeyError: 1 (traceback, 1 deep)", 1)]


def test_the_end_comes_before_all_was_read_and_then_it_reads_on(place: Path):
    look = Look(ROLLOUT, ears(place))
    look.begin(STATE)
    said(place / "v2.log", "ERROR no phone\n")
    assert (look.news, look.why) == (None, "the old release's log is not read yet")
    look.finish(10.0)
    assert told(look) == [("ERROR no phone", 1)]


def test_a_traceback_that_comes_in_two_looks_is_one(place: Path):
    look = begun(place)
    said(place / "v2.log", 'Traceback (most recent call last):\n  File "x", line 1\n')
    look.step()
    look.step()
    said(place / "v2.log", '  File "x", line 2\nKeyError: 1\n')
    look.step()
    silence(look)
    assert told(look) == [("KeyError: 1 (traceback, 2 deep)", 1)]


def test_a_flood_is_thinned_and_said_to_be(place: Path):
    look = begun(place)
    said(place / "v2.log", "INFO order 9 saved\n" * (MOST_NEW + 50) + "ERROR is skipped\n")
    look.step()
    said(place / "v2.log", "ERROR comes after it\n")
    look.step()
    silence(look)
    assert told(look) == [("ERROR comes after it", 1)]
    assert look.news is not None
    assert look.news.thinned


def test_of_a_long_log_the_beginning_and_the_end_are_known(tmp_path: Path):
    lines = ["first words", *("INFO all is well",) * 20_000, "last words"]
    (tmp_path / "v1.log").write_text("\n".join(lines) + "\n")
    past = [line for batch in FileVoice(tmp_path / "v1.log").past() for line in batch]
    assert {"first words", "last words"} <= set(past)
    assert len(past) <= log_voices.FIRST + log_voices.LAST


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (replace(STATE, blue=None), "there is no old release to compare with"),
        (replace(STATE, blue=replace(V1, external=True)), "was not started by relctl"),
        (replace(STATE, blue=replace(V1, release="v2")), "both slots write to one log"),
    ],
)
def test_what_cannot_be_compared_says_why(place: Path, state: State, why: str):
    look = begun(place, state)
    assert look.news is None
    assert why in look.why


def test_an_old_release_that_wrote_nothing_is_nothing_to_compare_with(place: Path):
    (place / "v1.log").unlink()
    said(place / "v2.log", "ERROR no phone\n")
    look = begun(place)
    assert (look.news, look.why) == (None, "nothing is known of what v1 wrote")


def test_whatever_happens_to_a_log_is_only_told(place: Path):
    def broken(*_: object) -> Any:
        raise OSError("input/output error")

    look = Look(ROLLOUT, broken)
    look.begin(STATE)
    assert look.step() is False
    look.finish(10.0)
    assert (look.news, look.why) == (None, "the logs cannot be read")


async def test_a_log_that_cannot_be_read_to_its_end_keeps_no_receipt_waiting(place: Path):
    never = threading.Event()

    class Hangs(FileVoice):
        def more(self, most: int) -> tuple[list[str], bool]:
            never.wait(60.0)
            return [], False

    world = World(STATE)
    voices = (FileVoice(place / "v1.log"), Hangs(place / "v2.log"))
    news = NewLines(lambda: world.state, world.until, lambda *_: voices)
    keeping = asyncio.create_task(news.keep())
    try:
        await holds(lambda: news.why_unknown(7) != "the logs of this rollout are not compared")
        async with asyncio.timeout(30):
            assert await asyncio.to_thread(news.at_the_end, 7) is None
    finally:
        never.set()
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


class FakeReader:
    """As much of systemd's reader as is used."""

    def __init__(self, entries: list[str]) -> None:
        self.entries = entries
        self.at = 0
        self.closed = False

    def _entry(self, at: int) -> dict[str, Any]:
        return {
            "MESSAGE": self.entries[at],
            "_SYSTEMD_UNIT": "relctl-web-r7-green-1.service",
            "__REALTIME_TIMESTAMP": dt.datetime.now(dt.UTC),
        }

    def seek_head(self) -> None:
        self.at = 0

    def seek_tail(self) -> None:
        self.at = len(self.entries)

    def get_previous(self, skip: int = 1) -> dict[str, Any]:
        if self.at == 0:
            return {}
        self.at = max(0, self.at - skip) + 1
        return self._entry(self.at - 1)

    def get_next(self) -> dict[str, Any]:
        if self.at >= len(self.entries):
            return {}
        self.at += 1
        return self._entry(self.at - 1)

    def process(self) -> None: ...

    def fileno(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True


class FakeJournal(Journal):
    def __init__(self, entries: list[str] | None) -> None:
        super().__init__("web")
        self.held = entries
        self.readers: list[FakeReader] = []

    def open(self, fields: Any) -> Any | None:
        if self.held is None:
            return None
        self.readers.append(FakeReader(self.held))
        return self.readers[-1]


def past(journal: Journal) -> list[str]:
    voice = JournalVoice(journal, {}, new=False)
    return [line for batch in voice.past() for line in batch]


def test_of_a_short_journal_all_is_read_once_and_of_a_long_one_both_ends():
    assert past(FakeJournal(["a", "b", "c"])) == ["a", "b", "c"]
    assert past(FakeJournal([])) == []
    assert past(FakeJournal(None)) == []
    long = [f"line {n}" for n in range(log_voices.LAST + 2 * log_voices.FIRST)]
    assert past(FakeJournal(long)) == [*long[-log_voices.LAST :], *long[: log_voices.FIRST]]


def test_of_a_journal_the_old_release_is_followed_from_now_and_the_candidate_from_its_beginning():
    journal = FakeJournal(["one", "two"])
    old, new = JournalVoice(journal, {}, new=False), JournalVoice(journal, {}, new=True)
    assert (old.more(9), new.more(9)) == (([], False), (["one", "two"], False))
    journal.readers[0].entries = journal.readers[1].entries = [*"abcdefgh"]
    assert (old.more(3), new.more(9)) == ((["c", "d", "e"], True), ([*"cdefgh"], False))
    journal.readers[0].entries = [*"abcdefgh", "after"]
    assert old.more(3) == (["after"], False)
    old.close()
    assert journal.readers[0].closed


def test_a_journal_that_comes_later_is_found():
    journal = FakeJournal(None)
    voice = JournalVoice(journal, {}, new=True)
    assert voice.more(9) == ([], False)
    voice.close()
    journal.held = ["hello"]
    assert voice.more(9) == (["hello"], False)


async def test_what_a_candidate_says_on_its_way_out_is_no_news(place: Path):
    world = World(STATE)
    news = NewLines(lambda: world.state, world.until, ears(place))
    keeping = asyncio.create_task(news.keep())
    try:
        await holds(lambda: news.of(7) is not None)
        said(place / "v2.log", "ERROR no phone\n")
        leaving = replace(ROLLOUT, phase=Phase.DRAINING, leaving=Color.GREEN)
        await world.becomes(rollout=leaving)
        await holds(lambda: (found := news.of(7)) is not None and found.kinds == 1)
        said(place / "v2.log", "got SIGTERM\n")
        found = await asyncio.to_thread(news.at_the_end, 7)
        assert found is not None
        assert [kind.text for kind in found.top] == ["ERROR no phone"]
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


class World:
    """A state that somebody else changes."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._moved = asyncio.Condition()

    async def until(self, condition: Any) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: condition(self.state))

    async def becomes(self, **changed: Any) -> None:
        async with self._moved:
            self.state = replace(self.state, **changed)
            self._moved.notify_all()


async def holds(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def test_each_rollout_is_listened_to_and_its_account_stays_until_the_next(place: Path):
    world = World(replace(STATE, rollout=None))
    news = NewLines(lambda: world.state, world.until, ears(place))
    keeping = asyncio.create_task(news.keep())
    try:
        assert news.of(7) is None
        await world.becomes(rollout=ROLLOUT)
        await holds(lambda: news.of(7) is not None)
        assert news.why_unknown(7) == ""
        assert news.why_unknown(6) == "the logs of this rollout are not compared"
        said(place / "v2.log", "ERROR no phone\n")
        found = await asyncio.to_thread(news.at_the_end, 7)
        assert found is not None
        assert found.lines == 1
        assert news.at_the_end(6) is None
        await world.becomes(rollout=None)
        await world.becomes(rollout=replace(ROLLOUT, id=8, kind=Kind.STOP))
        assert news.of(7) == found
        await world.becomes(rollout=replace(ROLLOUT, id=9))
        await holds(lambda: news.of(9) is not None)
        assert news.of(7) is None
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
