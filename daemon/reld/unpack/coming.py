"""A release on its way: hidden first, under its own name while it is built, complete at the end."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import replace

from reld.unpack import claim, trees
from reld.unpack.claim import INCOMPLETE, Claim, Moved

MARKER = ".relctl"


class Failed(Exception):
    """`hint`: what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Coming:
    """A new hidden directory. `lock` keeps it from being swept; builders get it, too, so that it holds
    while any of them lives.
    """

    def __init__(self, parent: str, name: str) -> None:
        """Raises Failed: the name is taken; OSError."""
        self._parent = parent
        self._name = name
        claim.sweep(parent)
        self._refuse_taken()
        while True:
            self.top = os.path.join(parent, trees.hidden(name))
            os.mkdir(self.top, 0o755)
            self.lock = os.open(self.top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            fcntl.flock(self.lock, fcntl.LOCK_EX)
            if os.path.isdir(self.top):  # nobody swept it in between
                break
            os.close(self.lock)
        self._claim = Claim(name, os.fstat(self.lock).st_ino)

    def note(self, moved: Moved) -> None:
        """Before something is moved: from now on a sweep takes it back. Raises OSError."""
        self._claim = replace(self._claim, moved=(*self._claim.moved, moved))
        self._claim.write(self.top)

    def appear(self) -> None:
        """Under its own name, and yet not complete. Raises Failed, OSError."""
        self._refuse_taken()
        self._claim.write(self.top)
        self._sync()
        self._rename(self._name)

    def hold(self) -> None:
        """Builds that remove what git does not know do not make it complete. Raises OSError."""
        if not os.path.lexists(os.path.join(self.top, INCOMPLETE)) and self._is_ours():
            self._claim.write(self.top)

    def finish(self, release: str) -> None:
        """All that it is gets to the disk, then it is marked as one that may be pruned one day.

        Raises Failed, OSError.
        """
        if not self._is_ours():
            raise Failed(
                f"{self.top} was moved or replaced while it was built", "relctl unpack again"
            )
        if not self._has_appeared:
            self._refuse_taken()
        self._sync()
        path = os.path.join(self.top, MARKER)
        with suppress(FileNotFoundError):
            os.unlink(path)  # of a build that copied an older release
        marker = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with open(marker, "w", encoding="ascii") as file:
            json.dump({"release": release, "unpacked": round(time.time(), 3)}, file)
            file.flush()
            os.fsync(file.fileno())
        os.fsync(self.lock)

    def complete(self) -> None:
        """Raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.top, INCOMPLETE))
            os.fsync(self.lock)
        if not self._has_appeared:
            # An empty directory that somebody makes in this moment is all that this could replace.
            self._rename(self._name)

    def discard(self) -> None:
        """Nothing of it is left. Raises nothing: it is called when something else has failed."""
        with suppress(OSError):
            if not self._is_ours():
                return
            claim.take_back(self._claim, self._parent, self.top)
            if self._has_appeared:
                self._rename(trees.hidden(self._name))
        if not self._has_appeared:
            trees.remove(self.top)

    @property
    def _has_appeared(self) -> bool:
        return os.path.basename(self.top) == self._name

    def _is_ours(self) -> bool:
        with suppress(OSError):
            return os.path.samestat(os.lstat(self.top), os.fstat(self.lock))
        return False

    def _rename(self, name: str) -> None:
        there = os.path.join(self._parent, name)
        os.rename(self.top, there)
        self.top = there
        trees.sync_directory(self._parent)

    def _sync(self) -> None:
        trees.sync(self.lock, self.top)
        for moved in self._claim.moved:
            with suppress(FileNotFoundError), trees.opened(moved.path) as found:
                trees.sync(found, moved.path)
                trees.sync_directory(os.path.dirname(moved.path))

    def _refuse_taken(self) -> None:
        there = os.path.join(self._parent, self._name)
        if os.path.lexists(there):
            raise Failed(f"{there} is there already", "releases are never changed")
