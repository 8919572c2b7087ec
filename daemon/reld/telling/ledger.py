"""Which end of a rollout each target was told last: kept, so that none is lost with a reld that was killed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from reld import durable

log = logging.getLogger("reld.telling")

FILE = "told.json"


class Ledger:
    """Blocks: for a thread, and one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = _read(path)
        self._kept_well = True

    def last(self, key: str) -> int | None:
        """The number of a rollout; None: this target is new."""
        return self._told.get(key)

    def note(self, key: str, rollout: int) -> None:
        """It was told. A disk that takes nothing means that it is told once more."""
        if rollout > self._told.get(key, -1):
            self._told[key] = rollout
            self._write()

    def keep(self, keys: Iterable[str], newest: int) -> None:
        """These are the targets; a new one is not told what was before it."""
        told = {key: self._told.get(key, newest) for key in keys}
        if told != self._told:
            self._told = told
            self._write()

    def _write(self) -> None:
        try:
            durable.replace(self._path, json.dumps(self._told).encode())
        except OSError as error:
            if self._kept_well:
                log.warning("cannot keep who was told what: %s", error)
            self._kept_well = False
        else:
            self._kept_well = True


def _read(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_bytes()[:65536])
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(key): value for key, value in found.items() if type(value) is int}
