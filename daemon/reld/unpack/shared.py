"""Directories that all releases share: in each of them a link to the one beside the releases."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable

from reld.unpack import archive, trees
from reld.unpack.claim import Moved

KEEPERS = frozenset({".keep", ".gitkeep", ".gitignore", ".empty"})
"""A directory with nothing but these is there because git keeps no empty ones."""


class SharedError(Exception):
    """The release and what is shared do not fit together; `hint`: what to type."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Shared:
    """`release`: where it is now. `inside`: the way there from its top. `at`: where shared things live.
    `note` is told what is about to be moved there, so that it can be taken back.
    """

    def __init__(self, release: str, inside: str, at: str, note: Callable[[Moved], None]) -> None:
        self._release = release
        self._inside = inside
        self._at = at
        self._note = note

    def link(self, names: tuple[str, ...]) -> None:
        """Raises SharedError, OSError."""
        for name in names:
            self._link(tuple(name.split("/")), name)

    def _link(self, parts: tuple[str, ...], name: str) -> None:
        ours, theirs = os.path.join(self._at, name), os.path.join(self._release, name)
        root = os.open(self._release, os.O_RDONLY | os.O_DIRECTORY)
        try:
            parent = archive.directory(root, parts[:-1])
        except OSError as error:
            raise SharedError(
                f"shared {name} is in the way of what the release has there: {error.strerror}",
                "take it out of releases.shared, or out of the release",
            ) from None
        finally:
            os.close(root)
        try:
            self._make_room(ours, theirs, parts[-1], parent, name)
            if not os.path.lexists(ours):
                os.makedirs(ours, 0o755)
            os.symlink(ours, parts[-1], dir_fd=parent)
        finally:
            os.close(parent)

    def _make_room(self, ours: str, theirs: str, last: str, parent: int, name: str) -> None:
        try:
            shipped = os.stat(last, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISLNK(shipped.st_mode):
            os.unlink(last, dir_fd=parent)
        elif stat.S_ISDIR(shipped.st_mode) and KEEPERS.issuperset(os.listdir(theirs)):
            trees.remove(theirs)
        elif os.path.lexists(ours):
            raise SharedError(
                f"the release brings {name} along, which is shared and at {ours} already",
                f"leave it out: tar --exclude=./{name} …",
            )
        else:
            self._move(ours, theirs, os.path.join(self._inside, name))

    def _move(self, ours: str, theirs: str, link: str) -> None:
        os.makedirs(os.path.dirname(ours), 0o755, exist_ok=True)
        self._note(Moved(ours, os.lstat(theirs).st_ino, link))
        try:
            os.rename(theirs, ours)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        aside = os.path.join(os.path.dirname(ours), trees.hidden(os.path.basename(ours)))
        os.mkdir(aside, 0o700)
        self._note(Moved(aside, os.lstat(aside).st_ino, link))
        copy = os.path.join(aside, "copy")
        shutil.move(theirs, copy)
        self._note(Moved(ours, os.lstat(copy).st_ino, link))
        os.rename(copy, ours)
        os.rmdir(aside)
