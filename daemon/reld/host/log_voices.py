"""A log to be looked at in small pieces: what was written so far, and then what comes, thinned if need be."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from reld.core.model import Rollout, State
from reld.processes import logs
from reld.processes.journal import Journal

FIRST = 1000
LAST = 5000
"""Lines of the old release's log that are read: how it starts, and what it says now."""
BATCH = 100
_FIRST_BYTES = 256 << 10


class Voice(Protocol):
    """Of one release. Everything blocks: call it in one thread at a time."""

    def past(self) -> Iterator[list[str]]:
        """What was written before, in batches; not in order. Raises OSError."""
        ...

    def more(self, most: int) -> tuple[list[str], bool]:
        """What was written since, some `most` lines; True: there was more, and it is skipped.

        Raises OSError.
        """
        ...

    def close(self) -> None: ...


class Ears:
    """Finds the logs of a rollout's two releases. `units`: instances write to the journal."""

    def __init__(self, logs_at: Path, runtime: Path, app: str, *, units: bool) -> None:
        self._logs_at = logs_at
        self._marks = Marks(runtime)
        self._app = app
        self._units = units

    def __call__(self, state: State, rollout: Rollout) -> tuple[Voice, Voice] | str:
        """The old release's and the candidate's, or why they cannot be compared. Raises OSError."""
        old = state.slot(rollout.old)
        if old is None or rollout.candidate is None:
            return "there is no old release to compare with"
        if old.external:
            return "the app that runs was not started by relctl: its log is not known"
        if self._units:
            slot = {"RELCTL_SLOT": str(old.color)} if old.release == rollout.to else {}
            number = {"RELCTL_ROLLOUT": str(rollout.id)}
            journal = Journal(self._app)
            return (
                JournalVoice(journal, {"RELCTL_RELEASE": old.release, **slot}, new=False),
                JournalVoice(journal, {"RELCTL_RELEASE": rollout.to, **number}, new=True),
            )
        if old.release == rollout.to:
            return "both slots write to one log"
        path = self._logs_at / f"{rollout.to}.log"
        place = self._marks.of(rollout.id, path)
        return FileVoice(self._logs_at / f"{old.release}.log"), FileVoice(path, place)


class FileVoice:
    """Of the direct launcher's instances. `place`: where it begins; None: at the end."""

    def __init__(self, path: Path, place: logs.Place | None = None) -> None:
        self._path = path
        self._place = place or logs.begin(path, 0)[1]
        self._rest = b""

    def past(self) -> Iterator[list[str]]:
        before = logs.older(self._path)
        start = before if before.exists() else self._path
        with suppress(FileNotFoundError), start.open("rb") as file:
            yield from _batches(
                list(map(logs.printable, file.read(_FIRST_BYTES).split(b"\n")[:FIRST]))
            )
        yield from _batches(logs.tail(self._path, LAST))

    def more(self, most: int) -> tuple[list[str], bool]:
        data, self._place = logs.read_on(self._path, self._place)
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > logs.LONGEST:  # a line without an end
            whole, self._rest = [*whole, self._rest], b""
        thinned = len(whole) > most
        if thinned:
            self._place, self._rest = logs.begin(self._path, 0)[1], b""
        return [logs.printable(raw) for raw in whole[:most]], thinned

    def close(self) -> None:
        """Nothing is open."""


class JournalVoice:
    """Of transient units. `new`: all that matches belongs to this rollout."""

    def __init__(self, journal: Journal, fields: dict[str, str], *, new: bool) -> None:
        self._journal = journal
        self._fields = fields
        self._new = new
        self._reader: Any | None = None
        self._begin()

    def past(self) -> Iterator[list[str]]:
        reader = self._journal.open(self._fields)
        if reader is None:
            return
        try:
            reader.seek_tail()
            read, entry = 0, reader.get_previous(LAST)
            while entry and read < LAST:
                batch: list[str] = []
                while entry and len(batch) < BATCH:
                    batch += self._lines(entry)
                    read, entry = read + 1, reader.get_next()
                yield batch
            if read < LAST:
                return
            reader.seek_head()
            for _ in range(FIRST // BATCH):
                yield [line for _ in range(BATCH) for line in self._lines(reader.get_next())]
        finally:
            reader.close()

    def more(self, most: int) -> tuple[list[str], bool]:
        if self._reader is None:
            self._begin()
        if self._reader is None:
            return [], False
        self._reader.process()  # files come and go
        found: list[str] = []
        while len(found) < most:
            entry = self._reader.get_next()
            if not entry:
                return found, False
            found += self._lines(entry)
        self._to_the_end(self._reader)
        return found, True

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _begin(self) -> None:
        self._reader = self._journal.open(self._fields)
        if self._reader is None:
            return
        self._reader.fileno()  # from now on the library watches for new files
        if self._new:
            self._reader.seek_head()
        else:
            self._to_the_end(self._reader)

    def _to_the_end(self, reader: Any) -> None:
        reader.seek_tail()
        if not reader.get_previous():
            reader.seek_head()

    def _lines(self, entry: Any) -> list[str]:
        return [said.line for said in self._journal.lines(entry)] if entry else []


class Marks:
    """Where in its file a candidate began to write: the same file may hold what it wrote last week.

    On tmpfs, for a reld that comes back: a reboot ends the rollout's candidate, too.
    """

    def __init__(self, runtime: Path) -> None:
        self._path = runtime / "new-lines.json"

    def of(self, rollout: int, log: Path) -> logs.Place:
        """As it was when it was asked for first. Raises OSError."""
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            kept = json.loads(self._path.read_text("utf-8"))
            if kept["rollout"] == rollout:
                return logs.Place(0, int(kept["offset"]))
        place = logs.begin(log, 0)[1]
        made = self._path.with_suffix(".new")
        made.write_text(json.dumps({"rollout": rollout, "offset": place.offset}), "utf-8")
        os.rename(made, self._path)
        return place


def _batches(lines: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(lines), BATCH):
        yield lines[start : start + BATCH]
