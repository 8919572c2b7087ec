"""A block of lines at the foot of a terminal, rewritten in place; what is printed above it stays.

Between two frames the cursor waits, hidden, at the first cell of the block. Whatever the terminal does to
its lines when it is resized (some wrap them anew, some cut them), the cursor stays with that cell, and all
that is older is below it: no rows have to be counted. The other way round, with the cursor at the end,
a narrower terminal leaves remains of every old frame. (One that wraps a block of more rows than it then
has, tmux for one, keeps the first of them in its history: nobody is asked before that happens.)

No alternate screen: what was told stays in the scrollback, also when the connection is lost.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from relctl.look import Look
from relctl.screen.pieces import Line, rendered

_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
"""All at once, where a terminal knows how."""
_CUT, _WRAP = "\x1b[?7l", "\x1b[?7h"
"""No line of the block wraps, should the terminal be resized just now."""
_WIPE = "\r\x1b[C\x1b[J\r\x1b[K"
"""From the second cell first: tmux takes a wipe from the first one of all for the wish to keep what was
there, and puts it into its history.
"""
USUAL = (80, 24)


class Painter:
    """Owns what is below the cursor. While it is in the background it does nothing.

    Descriptors: `out` of the terminal, `keys` of the one that is typed at, None = nobody types.
    """

    def __init__(self, look: Look, out: int, keys: int | None = None) -> None:
        self._look = look
        self._out = out
        self._in = keys
        self._there = False  # the cursor is at the first cell of the block
        self._touched = False  # the terminal is not as it was found
        self._busy = False
        self._stop_wanted = False
        self._shown: list[str] = []
        self._untold: list[str] = []  # while somebody else has the terminal
        self._size = USUAL
        self._echo: list[Any] | None = None
        self._handlers: dict[int, Any] = {}

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows of now."""
        try:
            columns, rows = os.get_terminal_size(self._out)
        except OSError:
            return USUAL
        return columns or USUAL[0], rows or USUAL[1]

    def draw(
        self, lines: list[Line], above: Sequence[str] = (), size: tuple[int, int] = USUAL
    ) -> None:
        """The block is these lines now, and `above` stays above it; only what differs is sent.

        `size` is what the lines were made for.
        """
        if not self._foreground():
            self._there = False  # whoever has the terminal now did not leave it as it was
            self._untold += above
            return
        above, self._untold = [*self._untold, *above], []
        wanted = [rendered(line, self._look) for line in lines]
        if above or not self._there:
            told, hide = _text(above, self._look), "" if self._there else _HIDE
            self._enter()
            self._write(_WIPE + told + hide, _block(wanted))
        elif size != self._size or len(wanted) != len(self._shown):
            self._write("", _block(wanted))
        elif wanted != self._shown:
            self._write("", _changes(self._shown, wanted))
        self._shown, self._size = wanted, size

    def say(self, lines: Sequence[str]) -> None:
        """These stay; the block has gone until it is drawn again."""
        lines, self._untold = [*self._untold, *lines], []
        if lines:
            self._write((_WIPE if self._there else "") + _text(lines, self._look))
            self._shown = []

    def close(self) -> None:
        """Takes the block away, and leaves the terminal as it was found."""
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _enter(self) -> None:
        """What is typed must not move the cursor."""
        self._there = self._touched = True
        if not self._handlers and signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL:
            self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._suspended)
            self._handlers[signal.SIGCONT] = signal.signal(signal.SIGCONT, self._continued)
        if self._in is not None:
            with suppress(termios.error):
                if self._echo is None:
                    self._echo = termios.tcgetattr(self._in)
                quiet = [*self._echo]
                quiet[3] &= ~termios.ECHO
                termios.tcsetattr(self._in, termios.TCSANOW, quiet)

    def _give_back(self) -> None:
        there, touched = self._there, self._touched
        self._there = self._touched = False
        if not touched:
            return
        with suppress(OSError):  # the terminal may be what was lost
            self._write((_WIPE if there else "") + _SHOW)
        before, self._echo = self._echo, None
        if before is not None and self._in is not None and self._foreground():
            with suppress(termios.error):
                termios.tcsetattr(self._in, termios.TCSANOW, before)

    def _suspended(self, number: int, _: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its terminal as it was."""
        if self._busy:
            self._stop_wanted = True
            return
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, self._suspended)

    def _continued(self, _: int, __: FrameType | None) -> None:
        """Also after a SIGSTOP, of which nobody was told: begin anew where the cursor is now."""
        self._there = False

    def _foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._out) == os.getpgrp()
        except OSError:  # not our controlling terminal: nobody can take it from us
            return True

    def _write(self, text: str, block: str = "") -> None:
        """In one piece; a signal that ends us comes before it or after it. `text` may wrap."""
        whole = f"{_BEGIN}{text}{_CUT}{block}{_WRAP}{_END}" if block else text
        data = whole.encode("utf-8" if self._look.unicode else "ascii", "replace")
        self._busy = True
        try:
            while data:
                data = data[os.write(self._out, data) :]
        finally:
            self._busy = False
        if self._stop_wanted:
            self._stop_wanted = False
            self._suspended(signal.SIGTSTP, None)


def usable() -> bool:
    """Whether stdout is a terminal that can rewrite lines, and is ours to write to."""
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return False
    try:
        return os.tcgetpgrp(sys.stdout.fileno()) == os.getpgrp()
    except OSError:
        return True


def _text(lines: Sequence[str], look: Look) -> str:
    return "".join(f"{look.text(line)}\n" for line in lines)


def _block(lines: list[str]) -> str:
    """From the first cell of the block and back to it."""
    up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
    return _WIPE + "\n".join(lines) + f"\r{up}"


def _changes(before: list[str], wanted: list[str]) -> str:
    """The same for as many lines, of which some differ."""
    said, at = "", 0
    for row, (old, new) in enumerate(zip(before, wanted, strict=True)):
        if old != new:
            down = f"\x1b[{row - at}B" if row > at else ""
            said += f"{down}\r{new}\x1b[K"
            at = row
    return said + "\r" + (f"\x1b[{at}A" if at else "")
