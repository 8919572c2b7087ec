"""What the instances of an app wrote, read from the systemd journal.

Any user of the machine may send journald an entry with whatever fields. The fields with an underscore
are journald's own word (it asks the kernel who sent it), so an entry counts only if it comes from a
unit of this app in relctl's slice.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reld.processes.logs import printable

SLICE = "relctl.slice"
_AT_ONCE = 1000  # entries that are read without looking up
_MOST = 100_000  # entries that are looked through for the last lines of somebody who says little
_VARLINK = "/run/systemd/journal/io.systemd.journal"
_MESSAGE_BYTES = 16384  # of one entry: a line is cut long before


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `at`: when it was written, in seconds since 1970. `hook`: by a hook, not by the app."""

    at: float
    line: str
    hook: bool = False


class Journal:
    """Entries of the units of one app. Where there is no journal, or no right to read it: none."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._unit = re.compile(rf"relctl-{re.escape(app)}-r\d+-(?:blue|green)-\d+\.service")

    def tail(self, fields: Mapping[str, str], lines: int, since: float = 0.0) -> list[str]:
        """The last lines of the entries with exactly these fields; oldest first, printable.

        `since`: seconds since 1970; what was written before does not count. Blocks for as long as
        the journal's files take to read: call it in a thread.
        """
        return [entry.line for entry in self.entries(fields, lines, since)]

    def entries(self, fields: Mapping[str, str], lines: int, since: float = 0.0) -> list[Entry]:
        """The same with what is known of each line."""
        reader = self.open(fields)
        if reader is None:
            return []
        try:
            return self.last(reader, lines, since)[0]
        except OSError:  # a journal that is damaged, or replaced while it is read
            return []
        finally:
            reader.close()

    def open(self, fields: Mapping[str, str]) -> Any | None:
        """A reader of the library's, with all that has to match. None: there is nothing to read."""
        # Imported here: most relds never read a journal, and it is not small.
        try:
            from systemd import journal
        except ImportError:
            return None
        try:
            reader = journal.Reader(journal.LOCAL_ONLY)
        except OSError:
            return None
        reader.data_threshold = _MESSAGE_BYTES
        for name, value in {**fields, "RELCTL_APP": self._app, "_SYSTEMD_SLICE": SLICE}.items():
            reader.add_match(f"{name}={value}")
        return reader

    def last(self, reader: Any, lines: int, since: float = 0.0) -> tuple[list[Entry], str]:
        """The last lines, and the cursor of the newest entry; "": there is none. Raises OSError."""
        reader.seek_tail()
        found: deque[Entry] = deque()
        newest = ""
        for _ in range(_MOST):
            entry = reader.get_previous()
            if not entry:
                break
            newest = newest or entry["__CURSOR"]
            if len(found) >= lines or entry["__REALTIME_TIMESTAMP"].timestamp() < since:
                break
            found.extendleft(reversed(list(self.lines(entry))))
        return list(found)[-lines:] if lines > 0 else [], newest

    def lines(self, entry: Mapping[str, Any]) -> Iterator[Entry]:
        """What an entry says; nothing where a stranger sent it."""
        unit = entry.get("_SYSTEMD_UNIT")
        if not (isinstance(unit, str) and self._unit.fullmatch(unit)):
            return
        at = entry["__REALTIME_TIMESTAMP"].timestamp()
        said = entry.get("MESSAGE", b"")
        for message in said if isinstance(said, list) else [said]:
            raw = message if isinstance(message, bytes) else str(message).encode("utf-8", "replace")
            for line in raw.split(b"\n"):
                text = printable(line)
                if text:
                    yield Entry(at, text)


class Following:
    """A journal that is read on and on. Everything blocks: call it in one thread at a time.

    Rotated and vacuumed files are its library's to follow; each entry comes once.
    """

    def __init__(self, journal: Journal, fields: Mapping[str, str]) -> None:
        self._journal = journal
        self._fields = fields
        self._reader: Any | None = None

    def begin(self, lines: int) -> list[Entry]:
        """The last lines; from here `more` goes on."""
        self._reader = self._journal.open(self._fields)
        if self._reader is None:
            return []
        try:
            self._reader.fileno()  # from now on the library watches for new files
            told, newest = self._journal.last(self._reader, lines)
            if not newest:
                self._reader.seek_head()
                return told
            self._reader.seek_cursor(newest)
            entry = self._reader.get_next()
            if entry and entry["__CURSOR"] != newest:  # it was vacuumed meanwhile
                told += self._journal.lines(entry)
        except OSError:
            return []
        return told

    def more(self) -> list[Entry]:
        """What came since; a journal that was not there is looked for again."""
        if self._reader is None:
            return self.begin(_AT_ONCE)
        found: list[Entry] = []
        with contextlib.suppress(OSError):
            self._reader.process()
            for _ in range(_AT_ONCE):
                entry = self._reader.get_next()
                if not entry:
                    break
                found += self._journal.lines(entry)
        return found

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def settle(patience: float = 1.0) -> bool:
    """Wait until journald has written what was sent to it so far; False: not within `patience` s.

    The last words of a process that just ended may still be in its pipe. journald answers this call
    when it has nothing else to do. Blocks: call it in a thread.
    """
    until = time.monotonic() + patience
    call = json.dumps({"method": "io.systemd.Journal.Synchronize", "parameters": {}})
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as journald:
        journald.settimeout(patience)
        journald.connect(_VARLINK)
        journald.sendall(call.encode() + b"\0")
        said = b""
        while not said.endswith(b"\0"):
            journald.settimeout(max(until - time.monotonic(), 0.001))
            data = journald.recv(4096)
            if not data:
                return False
            said += data
        return b'"error"' not in said
    return False
