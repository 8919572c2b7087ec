"""Lines of a screen: text in pieces, each with a style, measured in the cells that it takes."""

from __future__ import annotations

from unicodedata import combining, east_asian_width

from relctl.look import Look

Piece = tuple[str, str]
"""Text, and a style of `look`."""
Line = tuple[Piece, ...]


def plain(text: str) -> Line:
    return ((text, ""),)


def cells(text: str) -> int:
    """Columns that a terminal needs for it."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def fit(text: str, columns: int, look: Look) -> str:
    """At most `columns` wide; an ellipsis says that there was more."""
    if cells(text) <= columns:
        return text
    more = look.text("…")
    if columns <= len(more):
        return "." * max(0, columns)
    return _head(text, columns - len(more)) + more


def padded(text: str, columns: int, look: Look) -> str:
    """Exactly `columns` wide."""
    shown = fit(text, columns, look)
    return shown + " " * (columns - cells(shown))


def fitted(line: Line, columns: int, look: Look) -> Line:
    """What has room; the piece that has not is cut."""
    kept: list[Piece] = []
    left = columns
    for text, style in line:
        shown = fit(text, left, look)
        kept.append((shown, style))
        left -= cells(shown)
        if shown != text:
            break
    return tuple(kept)


def wrapped(text: str, columns: int) -> list[str]:
    """Words in lines of at most `columns`; a word that is longer has a line of its own, and is cut."""
    rows: list[str] = []
    for word in text.split():
        if rows and cells(rows[-1]) + 1 + cells(word) <= columns:
            rows[-1] += f" {word}"
        else:
            rows.append(word)
    return rows


def rendered(line: Line, look: Look) -> str:
    return "".join(look.styled(text, style) for text, style in line).rstrip(" ")


def _head(text: str, columns: int) -> str:
    used = 0
    for position, character in enumerate(text):
        used += _cells(character)
        if used > columns:
            return text[:position]
    return text


def _cells(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1
