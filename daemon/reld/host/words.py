"""What an instance said last: the best clue to why it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from reld.core.model import Identity
from reld.processes import journal, logs
from reld.processes.journal import Journal

SHOWN = 20
"""Lines."""


class Words(Protocol):
    """Both read files: call them in a thread."""

    def so_far(self, release: str, number: int, identity: Identity | None) -> list[str]:
        """The last lines of an instance that runs."""

    def last(self, release: str, number: int, identity: Identity | None) -> list[str]:
        """The last lines of one that has ended, the very last ones too."""


class FileWords:
    """Of the direct launcher's instances, which share a file for each release."""

    def __init__(self, logs_at: Path) -> None:
        self._logs_at = logs_at

    def so_far(self, release: str, number: int, identity: Identity | None) -> list[str]:  # noqa: ARG002
        return logs.tail(self._logs_at / f"{release}.log", SHOWN)

    last = so_far


class JournalWords:
    """Of transient units."""

    def __init__(self, app: str) -> None:
        self._journal = Journal(app)

    def so_far(self, release: str, number: int, identity: Identity | None) -> list[str]:
        if identity is None:
            return []
        boot = identity.boot_id.replace("-", "")
        fields = {"RELCTL_INSTANCE": str(number), "RELCTL_RELEASE": release, "_BOOT_ID": boot}
        return self._journal.tail(fields, SHOWN)

    def last(self, release: str, number: int, identity: Identity | None) -> list[str]:
        journal.settle()
        return self.so_far(release, number, identity)
