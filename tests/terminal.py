"""A terminal: a pty, and what a person would see on it."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import time
from collections.abc import Callable
from typing import Self

import pyte

Size = tuple[int, int]
"""Columns and rows."""


class Screen(pyte.HistoryScreen):
    """Resized as xterm does it: what gets no room at the foot goes, and the cursor stays in its line."""

    def resize_to(self, size: Size) -> None:
        columns, rows = size
        while self.cursor.y >= rows:  # what is above the cursor goes up, into the history
            at = self.cursor.y
            self.cursor.y = self.lines - 1
            self.index()
            self.cursor.y = at - 1
        for y in [y for y in self.buffer if y >= rows]:
            del self.buffer[y]
        for line in self.buffer.values():
            for x in [x for x in line if x >= columns]:
                del line[x]
        self.lines, self.columns = rows, columns
        self.cursor.x = min(self.cursor.x, columns - 1)
        self.set_margins()
        self.dirty.update(range(rows))


class Terminal:
    """`theirs` is what a program has as its stdin and stdout."""

    def __init__(self, size: Size) -> None:
        self.ours, self.theirs = os.openpty()
        self.screen = Screen(*size, history=5000, ratio=0.001)
        self._stream = pyte.ByteStream(self.screen)
        self.said = b""
        self._echoed = True
        self.resize(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.given_away()
        if self.ours >= 0:
            self._echoed = self.echoes
            os.close(self.ours)
            self.ours = -1

    def given_away(self) -> None:
        """The program has it; when that ends, reading ends."""
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1

    def resize(self, size: Size) -> None:
        self.screen.resize_to(size)
        columns, rows = size
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def read(self, within: float = 10.0) -> bytes:
        """What was written meanwhile; b"" = nothing came within so many seconds, or nobody is there."""
        ready, _, _ = select.select([self.ours], [], [], within)
        if not ready:
            return b""
        try:
            data = os.read(self.ours, 1 << 16)
        except OSError:  # the other end is closed
            return b""
        self.said += data
        self._stream.feed(data)
        return data

    def all_written(self, within: float = 30.0) -> bytes:
        """All that was written to `theirs` before: the kernel may hand it over piece by piece."""
        os.write(self.theirs, b"\0")
        deadline, said = time.monotonic() + within, b""
        while not said.endswith(b"\0"):
            assert time.monotonic() < deadline, said
            said += self.read()
        return said[:-1]

    def until(self, seen: Callable[[list[str]], object], within: float = 30.0) -> list[str]:
        """Reads until the lines on the screen are so, and nothing more comes for a moment."""
        deadline = time.monotonic() + within
        while not seen(self.lines) or self._more(0.05):
            assert time.monotonic() < deadline, "\n".join(["never so:", *self.lines])
            self.read(0.2)
        return self.lines

    def _more(self, within: float) -> bool:
        return bool(select.select([self.ours], [], [], within)[0])

    def to_the_end(self, within: float = 30.0) -> None:
        """Reads until nobody has the other end open any more."""
        deadline = time.monotonic() + within
        self.given_away()
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.ours], [], [], 0.5)
            if ready and not self.read():
                return
        raise AssertionError("the program still has its terminal")

    @property
    def echoes(self) -> bool:
        """What is typed is seen."""
        return (
            bool(termios.tcgetattr(self.ours)[3] & termios.ECHO) if self.ours >= 0 else self._echoed
        )

    @property
    def lines(self) -> list[str]:
        """On the screen, without the empty ones at its end."""
        found = [line.rstrip() for line in self.screen.display]
        while found and not found[-1]:
            found.pop()
        return found

    @property
    def all_lines(self) -> list[str]:
        """What went out at the top, and what is there."""
        gone = [
            "".join(line[x].data for x in range(max(line, default=-1) + 1)).rstrip()
            for line in self.screen.history.top
        ]
        return [*gone, *self.lines]
