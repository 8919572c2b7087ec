"""A tar archive of a stranger's, unpacked below one directory and nowhere else.

Every step is taken from a descriptor of the directory above (openat, never through a link); symbolic
links are made last, so nothing is ever written through one of them. Of modes only the x bit of the owner
counts, owners do not count at all, times do.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, cast

from reld.unpack import packing
from reld.unpack.packing import ArchiveError, Source

MOST_ENTRIES = 500_000
LONGEST_NAME, LONGEST_PART, DEEPEST = 1024, 255, 64
LARGEST_HEADER = 64 * 1024
OURS = (".relctl", ".relctl-incomplete")
"""Names at the top of a release that mean something to reld: what an archive says there is left out."""
PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
TAKEN = (*PLAIN, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)
HEADERS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip


TROUBLE = (*packing.TROUBLE, RecursionError, tarfile.TarError)
"""What an archive can lead to, besides the OSError of a bad gzip or a full disk."""


@dataclass(frozen=True, slots=True)
class Taken:
    """`size`: bytes of the archive when it is not packed."""

    entries: int
    size: int


class _Limited:
    """Reads on until more than `most` bytes have come: also where a small archive gets large."""

    def __init__(self, source: Source, most: int) -> None:
        self._source = source
        self._most = most
        self.size = 0

    def read(self, size: int) -> bytes:
        data = self._source.read(size)
        self.size += len(data)
        if self.size > self._most:
            raise ArchiveError(f"it is larger than {self._most >> 20} MiB")
        return data


class _Entry(tarfile.TarInfo):
    """tarfile takes an archive that was cut, or whose rest is nonsense, for one that ends there."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _Entry:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise ArchiveError(f"it is cut or no tar archive ({error})") from None

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size < 0 or (self.type in HEADERS and self.size > LARGEST_HEADER):
            raise ArchiveError("an entry of it has a header that is too large")
        if self.type not in (*TAKEN, *HEADERS):
            raise ArchiveError(f"{shown(self.name)} is neither a file, a directory nor a link")
        return cast("tarfile.TarInfo", super()._proc_member(tar))  # type: ignore[misc]


def unpack(source: Source, root: int, most: int, most_entries: int = MOST_ENTRIES) -> Taken:
    """Unpack into the directory whose descriptor is `root`; `most`: bytes that it may unpack to.

    Raises:
        TROUBLE, OSError: it is not taken; what was unpacked so far is the caller's to remove.
    """
    data = _Limited(packing.unpacked(source), most)
    links: dict[tuple[str, ...], str] = {}
    entries, made = 0, False
    with tarfile.open(fileobj=cast("IO[bytes]", data), mode="r|", tarinfo=_Entry) as archive:
        for entry in archive:
            entries += 1
            if entries > most_entries:
                raise ArchiveError(f"it has more than {most_entries} entries")
            path = parts(entry.name)
            if entry.sparse is not None or entry.type not in TAKEN:
                raise ArchiveError(f"{shown(entry.name)} is neither a file, a directory nor a link")
            if not path or path[0] not in OURS:
                _place(archive, entry, root, path, links)
                made = made or bool(path)
            archive.members = []  # type: ignore[attr-defined]  # else it remembers all of them
    while data.read(1 << 16):  # what pads it; and whoever sends it is not cut off
        pass
    if not made:
        raise ArchiveError("there is nothing in it")
    for where, to in links.items():
        parent = directory(root, where[:-1])
        try:
            os.symlink(to, where[-1], dir_fd=parent)
        finally:
            os.close(parent)
    return Taken(entries, data.size)


def _place(
    archive: tarfile.TarFile,
    entry: tarfile.TarInfo,
    root: int,
    path: tuple[str, ...],
    links: dict[tuple[str, ...], str],
) -> None:
    if entry.issym():
        links[path] = inside(entry.linkname, path)
    elif entry.islnk():
        _same_file(root, path, parts(entry.linkname), links)
    elif entry.isdir():
        os.close(directory(root, path))
    else:
        content = archive.extractfile(entry)
        assert content is not None
        _write(root, path, content, entry)


def parts(name: str) -> tuple[str, ...]:
    """The way to an entry, below the release. Raises ArchiveError."""
    found = tuple(part for part in name.split("/") if part not in ("", "."))
    bad = name.startswith("/") or ".." in found or not name.isprintable()
    if bad or len(name) > LONGEST_NAME or len(found) > DEEPEST:
        raise ArchiveError(f"{shown(name)} is no path inside a release")
    if any(len(os.fsencode(part)) > LONGEST_PART for part in found):
        raise ArchiveError(f"{shown(name)} has a name that is too long")
    return found


def inside(to: str, path: tuple[str, ...]) -> str:
    """Where a link leads. First up, at most to the release itself, then down: so no other link on
    the way can turn a later `..` into one that leaves it. Raises ArchiveError.
    """
    way = [part for part in to.split("/") if part not in ("", ".")]
    up = len(way) - len([part for part in way if part != ".."])
    climbs_late = ".." in way[up:]
    if to.startswith("/") or not to or not path or climbs_late or up > len(path) - 1:
        raise ArchiveError(f"the link {shown('/'.join(path))} leads out of the release")
    if not to.isprintable() or len(to) > LONGEST_NAME:
        raise ArchiveError(f"the link {shown('/'.join(path))} leads to no path")
    return to


def directory(root: int, path: tuple[str, ...]) -> int:
    """Opens a directory below `root`, and makes what is missing of it. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    here = os.dup(root)
    for part in path:
        try:
            try:
                there = os.open(part, flags, dir_fd=here)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=here)
                there = os.open(part, flags, dir_fd=here)
        finally:
            os.close(here)
        here = there
    return here


def _same_file(
    root: int,
    path: tuple[str, ...],
    first: tuple[str, ...],
    links: dict[tuple[str, ...], str],
) -> None:
    """A hard link: only to what this archive unpacked before."""
    if not path or not first or first == path:
        raise ArchiveError("a hard link of it has no name")
    if first in links:
        links[path] = inside(links[first], path)
        return
    there = directory(root, first[:-1])
    here = directory(root, path[:-1])
    try:
        os.link(first[-1], path[-1], src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:
        names = shown("/".join(path)), shown("/".join(first))
        raise ArchiveError(
            f"the hard link {names[0]} leads to {names[1]}, which is not in it"
        ) from None
    finally:
        os.close(there)
        os.close(here)


def _write(root: int, path: tuple[str, ...], content: IO[bytes], entry: tarfile.TarInfo) -> None:
    if not path:
        raise ArchiveError("an entry has no name")
    parent = directory(root, path[:-1])
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        target = os.open(path[-1], flags, 0o755 if entry.mode & 0o100 else 0o644, dir_fd=parent)
    finally:
        os.close(parent)
    with open(target, "wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
        file.flush()
        with suppress(OSError, OverflowError, ValueError):  # a time that cannot be
            os.utime(file.fileno(), (entry.mtime, entry.mtime))


def shown(text: str, most: int = 80) -> str:
    """A stranger's text, safe on a terminal and in a log."""
    return "".join(c if " " <= c <= "~" else "?" for c in text[:most])
