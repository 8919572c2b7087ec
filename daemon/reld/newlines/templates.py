"""Kinds of lines: templates that grow as lines are seen, in bounded memory.

The method is that of Drain (He, Zhu, Zheng, Lyu: "Drain: an online log parsing approach with fixed
depth tree", ICWS 2017): lines of as many words and with the same first word are compared word by word,
and nearly equal ones become one template, with a gap where they differ. Different from it, a line is
known only if it fits a template as that is, gaps and all: an unknown word is news here, not noise.
"""

from __future__ import annotations

from dataclasses import dataclass

from reld.newlines.masking import Level, Line

GAP = "<*>"
SIMILAR = 0.6
"""The part of the words that two lines of one kind have in common, at least."""
_FEWEST_WORDS = 3
"""Shorter lines are of one kind only if they are equal."""
_CROWDED = 64
"""Templates with one length and first word, after which no new one is made where any is like it.

What is like none of them is known by all its words alone from then on: nobody searches thousands.
"""
_LIKE_AT_ALL = 0.3
_REMEMBERED = 1000
"""Lines that are remembered by all their words, to be found at once."""


@dataclass(slots=True)
class Template:
    keys: list[str]
    shown: list[str]
    level: Level
    depth: int
    order: int
    count: int = 0

    def fits(self, keys: tuple[str, ...] | list[str]) -> bool:
        """Gaps on both sides fit everything."""
        pairs = zip(self.keys, keys, strict=True)
        return all(mine == other or GAP in (mine, other) for mine, other in pairs)

    def widen(self, line: Line) -> None:
        """A gap wherever the line is different, and a mask where only what is shown is."""
        for at, (key, shown) in enumerate(zip(line.keys, line.shown, strict=True)):
            if self.keys[at] != key:
                self.keys[at] = self.shown[at] = GAP
            elif self.shown[at] != shown:
                self.shown[at] = key

    @property
    def text(self) -> str:
        frames = f" (traceback, {self.depth} deep)" if self.depth else ""
        return " ".join(self.shown) + frames


class Templates:
    """At most `most` of them. `lost`: lines for which there was no room any more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._buckets: dict[tuple[int, str], list[Template]] = {}
        self._quick: dict[tuple[str, ...], Template] = {}
        self._alone: dict[tuple[str, ...], Template] = {}
        self.all: list[Template] = []
        self.lines = 0
        self.lost = 0

    def find(self, keys: tuple[str, ...] | list[str]) -> Template | None:
        """The template that it fits as it is."""
        whole = tuple(keys)
        known = self._quick.get(whole) or self._alone.get(whole)
        if known is not None:
            return known
        return next((t for t in self._buckets.get(_bucket(keys), ()) if t.fits(keys)), None)

    def learn(self, line: Line, depth: int = 0) -> Template | None:
        """Counts it, with the like of it or as the first of its kind; None: there is no room."""
        self.lines += 1
        found = self.find(line.keys) or self._like(line) or self._new(line, depth)
        if found is None:
            self.lost += 1
            return None
        found.widen(line)
        found.depth = max(found.depth, depth)
        found.count += 1
        if len(self._quick) >= _REMEMBERED:
            self._quick.clear()
        self._quick[line.keys] = found
        return found

    def _like(self, line: Line) -> Template | None:
        bucket = self._buckets.get(_bucket(line.keys), [])
        if len(line.keys) < _FEWEST_WORDS or not bucket:
            return None
        likeness, at = max((_likeness(t.keys, line.keys), -at) for at, t in enumerate(bucket))
        least = _LIKE_AT_ALL if len(bucket) >= _CROWDED else SIMILAR
        return bucket[-at] if likeness >= least else None

    def _new(self, line: Line, depth: int) -> Template | None:
        if len(self.all) >= self._most:
            return None
        made = Template(list(line.keys), list(line.shown), line.level, depth, len(self.all))
        self.all.append(made)
        bucket = self._buckets.setdefault(_bucket(line.keys), [])
        if len(bucket) < _CROWDED:
            bucket.append(made)
        else:
            self._alone[line.keys] = made
        return made


def _bucket(keys: tuple[str, ...] | list[str]) -> tuple[int, str]:
    # Gaps are never made at the first place of a bucket that is named by it.
    return len(keys), keys[0] if _firm(keys[0]) else ""


def _firm(word: str) -> bool:
    """It is a word, and not a name, a path or a number that may be another one in the next line."""
    return word.strip("[]():,").isalpha() or word.startswith("<")


def _likeness(keys: list[str], other: tuple[str, ...]) -> float:
    """The part of the words that are equal; none if one differs that says what kind a line is."""
    equal = 0
    for mine, theirs in zip(keys, other, strict=True):
        if mine == theirs:
            equal += 1
        elif _telling(mine) or _telling(theirs):
            return 0.0
    return equal / len(keys)


def _telling(word: str) -> bool:
    bare = word.strip("[]():,")
    return (
        bare in _LEVEL_WORDS
        or bare.endswith(("Error", "Exception", "Warning"))
        or (word.startswith("HTTP/") and len(word) == len("HTTP/500"))
    )


_LEVEL_WORDS = {
    *("DEBUG", "INFO", "NOTICE", "WARN", "WARNING", "ERROR", "FATAL", "CRITICAL", "SEVERE"),
    *("PANIC", "ALERT", "EMERG", "level=error", "level=warn", "level=info", "level=debug"),
    *("level=ERROR", "level=WARN", "level=INFO", "level=DEBUG", "GET", "POST", "PUT", "DELETE"),
}
