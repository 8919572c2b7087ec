"""Where reld's own messages go: into the journal with fields under systemd, elsewhere to stderr as text.

Nothing here may wait for journald, and under systemd stderr is journald, too. `systemd.journal.send`
holds the interpreter's lock while journald takes nothing (measured: all threads stand still), so this speaks
journald's native protocol itself (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram a message,
sent by a thread that takes them from a bounded queue.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

JOURNALD = "/run/systemd/journal/socket"
WAITING_MESSAGES = 1000
"""More are dropped while journald takes nothing; how many is told when it does again."""
LAST_WORDS = 1.0
"""Seconds that the end of reld waits for journald."""
_AGAIN = 0.2  # seconds until a message that journald refused is sent again
_LONGEST = 32768  # bytes of a message; a datagram has to fit the kernel's send buffer
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
NOTICE = 25
"""Between INFO and WARNING, as in syslog: normal, and worth to be told."""


@dataclass(frozen=True, slots=True)
class About:
    """What a message is about: `log.info("…", extra=about(rollout=7))`."""

    rollout: int | None = None
    slot: str = ""
    release: str = ""
    message_id: str = ""

    def fields(self) -> dict[str, str]:
        found = {
            "RELCTL_ROLLOUT": "" if self.rollout is None else str(self.rollout),
            "RELCTL_SLOT": self.slot,
            "RELCTL_RELEASE": self.release,
            "MESSAGE_ID": self.message_id,
        }
        return {name: value for name, value in found.items() if value}


def about(
    rollout: int | None = None, slot: str = "", release: str = "", message_id: str = ""
) -> dict[str, About]:
    """For `extra=` of a logger's call."""
    return {"about": About(rollout, slot, release, message_id)}


class JournalHandler(logging.Handler):
    """Never blocks and never raises, whatever journald does."""

    def __init__(self, app: str, path: str) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))  # the fields say the rest
        self._always = {"RELCTL_APP": app, "SYSLOG_IDENTIFIER": "reld"}
        self._path = path
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._dropped = 0
        self._closed = False
        self._thread = threading.Thread(target=self._send_all, name="journal", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            datagram = self._datagram(record)
        except Exception:  # a broken format string; stderr is journald, too
            datagram = encoded({**self._always, "PRIORITY": "3", "MESSAGE": repr(record.msg)})
        with self._changed:
            if len(self._waiting) >= WAITING_MESSAGES:
                self._dropped += 1
                return
            self._waiting.append(datagram)
            self._changed.notify_all()

    def close(self) -> None:
        """Waits LAST_WORDS at most."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(LAST_WORDS)
        super().close()

    def _datagram(self, record: logging.LogRecord) -> bytes:
        said = getattr(record, "about", None)
        return encoded(
            {
                **self._always,
                "PRIORITY": str(priority(record.levelno)),
                "LOGGER": record.name,
                "CODE_FILE": record.pathname,
                "CODE_LINE": str(record.lineno),
                "CODE_FUNC": record.funcName or "",
                **(said.fields() if isinstance(said, About) else {}),
                "MESSAGE": self.format(record),
            }
        )

    def _send_all(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
            journald.settimeout(LAST_WORDS / 2)
            while True:
                with self._changed:
                    while not self._waiting and not self._closed:
                        self._changed.wait()
                    if not self._waiting:
                        return
                    datagram = self._waiting[0]
                if not self._send(journald, datagram):
                    if self._closed:
                        return
                    with self._changed:
                        if not self._closed:
                            self._changed.wait_for(lambda: self._closed, _AGAIN)
                    continue
                with self._changed:
                    self._waiting.popleft()
                    if self._dropped:
                        self._waiting.append(self._lost(self._dropped))
                        self._dropped = 0

    def _send(self, journald: socket.socket, datagram: bytes) -> bool:
        try:
            journald.sendto(datagram, self._path)
        except TimeoutError:
            return False
        except (ConnectionError, FileNotFoundError):  # journald restarts
            return False
        except OSError:
            return True  # too large, or forbidden: neither this one nor word of it goes through
        return True

    def _lost(self, messages: int) -> bytes:
        text = f"{messages} messages of reld are not in the journal: journald did not take them"
        return encoded({**self._always, "PRIORITY": "4", "MESSAGE": text})


def encoded(fields: Mapping[str, str]) -> bytes:
    """One datagram of the native protocol; a value with a line break has its length before it."""
    parts = []
    for name, value in fields.items():
        raw = value.encode("utf-8", "replace")[:_LONGEST]
        if b"\n" in raw:
            parts.append(name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n")
        else:
            parts.append(name.encode() + b"=" + raw + b"\n")
    return b"".join(parts)


def priority(level: int) -> int:
    """Syslog's number: 2 critical … 7 debug."""
    if NOTICE <= level < logging.WARNING:
        return 5
    return next((number for least, number in _PRIORITIES if level >= least), 7)


def is_stderr(journal_stream: str) -> bool:
    """Whether stderr is a stream to journald: it gives our service its device and inode.

    A reld that a person starts in a shell under systemd inherits the variable, but not the stream.
    """
    try:
        stderr = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return journal_stream == f"{stderr.st_dev}:{stderr.st_ino}"


def set_up(app: str, environment: Mapping[str, str]) -> bool:
    """The root logger's only handler, once, before anything is said. True: it is the journal."""
    logging.addLevelName(NOTICE, "NOTICE")
    handler: logging.Handler
    structured = is_stderr(environment.get("JOURNAL_STREAM", "")) and Path(JOURNALD).exists()
    if structured:
        handler = JournalHandler(app, JOURNALD)
        logging.raiseExceptions = False  # a complaint about a message would go to stderr
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    return structured
