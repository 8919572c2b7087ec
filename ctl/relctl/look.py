"""What a terminal can show: colour or none, UTF-8 or ASCII, and bars of either.

A style is a word: bold, dim, red, green, yellow; "" is none.
"""

from __future__ import annotations

import codecs
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

_NAME = "relctl"
_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_ASCII = {
    "→": "->",
    "…": "...",
    "·": "/",
    "–": "-",
    "—": "-",
    "×": "x",
    "÷": "/",
    "≤": "<=",
    "≥": ">=",
    "█": "#",
    "░": ".",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
}
_TABLE = {ord(character): plain for character, plain in _ASCII.items()}


class Look:
    """One terminal, or what is none: `colour` False, and every text goes out as it is read."""

    __slots__ = ("colour", "unicode")

    def __init__(self, *, colour: bool = False, unicode: bool = True) -> None:
        self.colour = colour
        self.unicode = unicode

    def text(self, text: str) -> str:
        """What this terminal can show of it. May be longer: do this before anything is aligned."""
        if self.unicode or text.isascii():
            return text
        return text.translate(_TABLE).encode("ascii", "replace").decode()

    def styled(self, text: str, style: str) -> str:
        """With the codes for colour around it, where there is colour."""
        code = _STYLES.get(style)
        return f"\x1b[{code}m{text}\x1b[0m" if code and self.colour and text else text

    def bar(self, fraction: float, width: int) -> str:
        """`fraction` of `width` cells are full; all of them only when it is really 1."""
        full = int(min(1.0, max(0.0, fraction)) * width)
        return ("█" if self.unicode else "#") * full + ("░" if self.unicode else ".") * (
            width - full
        )


def look_of(stream: TextIO, environment: Mapping[str, str] | None = None) -> Look:
    """What `stream` can show; `environment` is os.environ unless told otherwise."""
    around = os.environ if environment is None else environment
    tty = stream.isatty()
    colour = tty and not around.get("NO_COLOR") and around.get("TERM", "dumb") not in ("", "dumb")
    return Look(colour=colour, unicode=_utf8(stream, around))


def prepare(stream: TextIO) -> None:
    """What the stream cannot show becomes what it can: an arrow is no reason to fail.

    A terminal that is none of UTF-8 gets ASCII; a file or a pipe what Python would write there.
    """
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is None:
        return
    codecs.register_error(_NAME, _replaced)
    if stream.isatty() and not look_of(stream).unicode:
        reconfigure(encoding="ascii", errors=_NAME)
    else:
        reconfigure(errors=_NAME)


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return Look(unicode=False).text(error.object[error.start : error.end]), error.end


def _utf8(stream: TextIO, environment: Mapping[str, str]) -> bool:
    if (stream.encoding or "").lower().replace("-", "").replace("_", "") != "utf8":
        return False
    named = environment.get("LC_ALL") or environment.get("LC_CTYPE") or ""
    if named in ("", "C.UTF-8") and not environment.get("LC_ALL"):
        # Python itself puts that LC_CTYPE there in place of a C locale: LANG says what was meant.
        named = environment.get("LANG") or named
    return named not in ("C", "POSIX")
