"""What an archive is packed with, told by its first bytes."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import zlib
from typing import IO, Any, Protocol, cast

XZ_MEMORY = 256 << 20
"""Bytes; `xz -9` needs 65 MiB to be read."""


class ArchiveError(Exception):
    """It is not taken, and this is why."""


TROUBLE = (
    ArchiveError,
    EOFError,
    ValueError,
    OverflowError,
    MemoryError,
    zlib.error,
    lzma.LZMAError,
)
"""What unpacking can lead to, besides the OSError of a bad gzip."""


class Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


def unpacked(packed: Source) -> Source:
    """By its first bytes: tar, or tar in gzip, bzip2, xz; zstd where Python has it (3.14)."""
    source = _Ahead(packed)
    first = source.peek(6)
    if first[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=cast("IO[bytes]", source))
    if first[:3] == b"BZh":
        return bz2.BZ2File(cast("IO[bytes]", source))
    if first == b"\xfd7zXZ\0":
        return _Xz(source)
    if first[:4] == b"\x28\xb5\x2f\xfd":
        return _zstd(source)
    return source


def _zstd(source: _Ahead) -> Source:
    try:
        zstd: Any = importlib.import_module("compression.zstd")
    except ImportError:
        raise ArchiveError(
            "it is packed with zstd, which this machine's Python cannot read"
        ) from None
    opened: Source = zstd.ZstdFile(source)
    return opened


class _Ahead:
    """Gives back what was looked at. Reads like a file that is read to its end."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._seen = b""

    def peek(self, size: int) -> bytes:
        while len(self._seen) < size and (more := self._source.read(size - len(self._seen))):
            self._seen += more
        return self._seen

    def read(self, size: int = -1) -> bytes:
        if self._seen:
            data, self._seen = self._seen[:size], self._seen[size:]
            return data
        return self._source.read(size if size > 0 else 1 << 16)


class _Xz:
    """lzma's own file object knows no limit to the memory that an archive may ask for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._inside = self._fresh()
        self._left = b""

    def read(self, size: int) -> bytes:
        while True:
            if self._inside.eof:
                self._left = self._inside.unused_data or self._source.read(1 << 16)
                if not self._left:
                    return b""
                self._inside = self._fresh()
            elif self._inside.needs_input:
                self._left = self._left or self._source.read(1 << 16)
                if not self._left:
                    raise ArchiveError("it is cut")
            data = self._inside.decompress(self._left, size)
            self._left = b""
            if data:
                return data

    def _fresh(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=XZ_MEMORY)
