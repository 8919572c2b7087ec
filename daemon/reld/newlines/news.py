"""What is told of the lines that are new."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """Lines of one kind. `level`: "error", "warning", or empty."""

    text: str
    count: int
    level: str = ""


@dataclass(frozen=True, slots=True)
class News:
    """`top`: errors first, then the most frequent. `known`: lines of the old release that were read.

    `thinned`: so much was written that not every line was looked at.
    """

    kinds: int
    lines: int
    top: tuple[Kind, ...]
    known: int
    thinned: bool = False
