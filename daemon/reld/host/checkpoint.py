"""How far the log was read, with what that says: one record, so no line counts twice or never.

On tmpfs beside the log itself: both are gone after a reboot. Renamed without fsync, because what
ends reld does not end the kernel.
"""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from reld.errors import StoreError
from reld.host.watching import Kept
from reld.nginx.requests import Position
from reld.store import codec

log = logging.getLogger("reld.sensor")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`times`: (bucket, count) of the live slot's lately; `watch` None: no rollout is watched."""

    position: Position = Position()
    times: tuple[tuple[int, int], ...] = ()
    watch: Kept | None = None


def _private(path: str, flags: int) -> int:
    # The directory is everybody's to look into, for the lanes.
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


class Checkpoints:
    """Raises OSError where the directory cannot be written."""

    def __init__(self, runtime: Path) -> None:
        self._runtime = runtime
        self._path = runtime / "watch.json"

    def load(self) -> Checkpoint:
        """A damaged one is as good as none: the log is read again from its beginning."""
        try:
            return codec.loads(Checkpoint, self._path.read_text())
        except FileNotFoundError:
            return Checkpoint()
        except (OSError, ValueError, StoreError) as error:
            log.warning("cannot go on with the evidence, it is gathered anew: %s", error)
            return Checkpoint()

    def save(self, checkpoint: Checkpoint) -> None:
        made = self._path.with_suffix(".new")
        with open(made, "w", encoding="utf-8", opener=_private) as file:
            file.write(codec.dumps(checkpoint))
        os.rename(made, self._path)

    def append(self, rollout: int, lines: list[str], at: int) -> int:
        """Rows behind the first `at` bytes, which are what belongs to the checkpoint; the new length."""
        data = "".join(f"{line}\n" for line in lines).encode()
        with open(self._rows(rollout), "r+b" if at else "wb", opener=_private) as file:
            file.truncate(at)
            file.seek(at)
            file.write(data)
        return at + len(data)

    def rows(self, rollout: int) -> bytes | None:
        """The per-second counts of a rollout; None: there are none."""
        try:
            return self._rows(rollout).read_bytes() or None
        except OSError:
            return None

    def forget(self, but: int | None) -> None:
        """Removes the rows of rollouts that are over."""
        for path in self._runtime.glob("watch-*.rows"):
            if but is None or path != self._rows(but):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _rows(self, rollout: int) -> Path:
        return self._runtime / f"watch-{rollout}.rows"
